//! What the arguments of `run` mean: everything that can be wrong with them is found here, before anything is sent.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{Calls, Rpm, Run, Workers};
use super::endpoints::{self, Endpoint};
use super::unusable::Unusable;
use crate::api::{ApiKind, Client, Params};
use crate::backoff::Backoff;
use crate::batch::{Price, Settings, workers_for};
use crate::http::{Http, HttpOptions};
use crate::limiter::{Rate, Tempo};
use crate::practice::{self, Latency, Limits, Server};
use crate::retry::Retry;

/// A batch with everything it needs.
#[derive(Debug)]
pub(super) struct Plan {
    /// One for each key; they differ in nothing else.
    pub(super) clients: Vec<Client>,
    pub(super) settings: Settings,
    /// The limit that was asked for, for people.
    pub(super) rpm: Option<u32>,
    /// Whether other processes take turns at the same pace, for people.
    pub(super) shared: bool,
    /// What tokens cost, for people.
    pub(super) price: Option<Price>,
    /// Where the results go; none is standard output.
    pub(super) output: Option<PathBuf>,
    /// Runs as long as the plan lives.
    pub(super) practice: Option<Server>,
}

impl Plan {
    /// The pace of the practice server if none is asked for.
    const PRACTICE_RPM: NonZeroU32 = NonZeroU32::new(600).expect("600 is not 0");

    pub(super) fn new(args: &Run) -> Result<Self, Unusable> {
        let output = Self::output(args);
        if output
            .as_deref()
            .is_some_and(|output| is_same_file(output, &args.prompts))
        {
            return Err(Unusable::Overwriting(args.prompts.clone()));
        }
        Ok(Plan {
            output,
            ..Plan::of_calls(&args.calls)?
        })
    }

    /// What is to be sent, wherever the prompts come from and the results go.
    pub(super) fn of_calls(args: &Calls) -> Result<Self, Unusable> {
        let (rpm, settings) = Self::settings(args)?;
        let practice = args
            .practice
            .then(|| start_practice(args, rpm))
            .transpose()?;
        let clients = clients(args, &settings, practice.as_ref())?;
        let (shared, price) = (args.share.share.is_some(), args.watching.price);
        Ok(Plan {
            clients,
            settings,
            rpm: rpm.map(Into::into),
            shared,
            price,
            output: None,
            practice,
        })
    }

    /// The calls a minute that are asked for, and how the batch is run.
    pub(super) fn settings(args: &Calls) -> Result<(Option<NonZeroU32>, Settings), Unusable> {
        if args.max_delay < args.base_delay {
            return Err(Unusable::Delays);
        }
        check(args)?;
        let rpm = Self::rpm(args);
        if rpm.is_none() && args.burst.get() > 1 {
            return Err(Unusable::BurstWithoutRate);
        }
        let pace = rpm.map_or(Tempo::Found, |rpm| Tempo::Kept(rate(rpm, args.burst)));
        Ok((rpm, settings(args, pace)))
    }

    /// The calls a minute that are asked for, by the arguments or for practice.
    pub(super) fn rpm(args: &Calls) -> Option<NonZeroU32> {
        match args.rpm {
            Some(Rpm::Told(rpm)) => Some(rpm),
            Some(Rpm::Auto) => None,
            None => args.practice.then_some(Self::PRACTICE_RPM),
        }
    }

    /// Where the results would go.
    pub(super) fn output(args: &Run) -> Option<PathBuf> {
        output(
            &args.prompts,
            args.output.as_deref(),
            is_pipe(&args.prompts),
        )
    }

    /// A client that makes the requests of a run and needs no key, because nothing is sent.
    pub(super) fn draft(args: &Calls) -> Result<Client, Unusable> {
        client(
            args,
            &Endpoint {
                base_url: None,
                key: None,
            },
            1,
        )
    }
}

/// Whether the API can be asked so.
fn check(args: &Calls) -> Result<(), Unusable> {
    let chatty = args.system.is_some() || args.max_tokens.is_some() || args.temperature.is_some();
    match args.spoken.api {
        ApiKind::Embeddings if chatty => Err(Unusable::NoChat),
        ApiKind::Gemini if args.model.is_none() && !args.practice => Err(Unusable::NoModel),
        _ => Ok(()),
    }
}

/// Where the server lets several calls through at once, one of them is kept in reserve: it does the guard's work, and a
/// call that the network brings too early is let in, too.
fn rate(rpm: NonZeroU32, burst: NonZeroU32) -> Rate {
    let rate = Rate::per_minute(rpm);
    match NonZeroU32::new(burst.get() - 1) {
        None => rate,
        Some(at_once) => rate.with_burst(at_once).with_guard(Duration::ZERO),
    }
}

fn settings(args: &Calls, pace: Tempo) -> Settings {
    let backoff = Backoff {
        base: args.base_delay,
        max: args.max_delay,
        jitter: args.jitter,
    };
    let retry = Retry {
        max_retries: args.max_retries,
        backoff,
        deadline: None,
    };
    let workers = match args.workers {
        Workers::Auto => None,
        Workers::Fixed(workers) => Some(workers),
    };
    Settings {
        pace,
        tokens: args.tpm,
        workers,
        retry,
        max_wait: args.max_wait,
        halt: args.halt,
        max_cost: args.watching.ceiling(),
        seed: rand::random(),
    }
}

/// How long the practice server takes.
pub(super) const PRACTICE_LATENCY: Latency = Latency::LogNormal(Duration::from_millis(400), 0.3);

/// A server that is strict about the pace, and about as slow as a small model.
fn start_practice(args: &Calls, rpm: Option<NonZeroU32>) -> Result<Server, Unusable> {
    let options = practice::Options {
        limits: Limits {
            rpm: rpm.or(Some(Plan::PRACTICE_RPM)),
            burst: args.burst,
            ..Limits::default()
        },
        latency: PRACTICE_LATENCY,
        ..practice::Options::default()
    };
    Server::start(options).map_err(Unusable::Practice)
}

fn clients(
    args: &Calls,
    settings: &Settings,
    practice: Option<&Server>,
) -> Result<Vec<Client>, Unusable> {
    let endpoints = match practice {
        Some(server) => vec![Endpoint {
            base_url: Some(format!("http://{}", server.addr())),
            key: None,
        }],
        None => endpoints::of(args, &*args.spoken.api.api())?,
    };
    let most = settings
        .workers
        .unwrap_or_else(|| workers_for(&settings.pace, endpoints.len()).most);
    endpoints
        .iter()
        .map(|endpoint| client(args, endpoint, most.get()))
        .collect()
}

fn client(args: &Calls, endpoint: &Endpoint, connections: usize) -> Result<Client, Unusable> {
    let options = HttpOptions {
        timeout: args.timeout,
        connections,
        ca_cert: args.ca_cert.clone(),
        proxy_from_env: !endpoint.is_near(),
        ..HttpOptions::default()
    };
    let Endpoint { base_url, key } = endpoint;
    let (http, api) = (Http::new(&options)?, args.spoken.api.api());
    Ok(Client::new(
        http,
        api,
        base_url.as_deref(),
        key.as_ref(),
        params(args),
    ))
}

/// Without a model, the prompts must bring their own bodies: [`input`](super::input) sees to it.
fn params(args: &Calls) -> Params {
    // Whatever -m says: a practice answer must never pass for one that was asked of a real model.
    let practice = args.practice.then(|| practice::MODEL.to_owned());
    let model = practice.or_else(|| args.model.clone()).unwrap_or_default();
    let extra = args
        .param
        .iter()
        .map(|param| (param.name.clone(), param.value.clone()))
        .collect();
    let Calls {
        max_tokens,
        temperature,
        ..
    } = *args;
    Params {
        model,
        system: args.system.clone(),
        max_tokens,
        temperature,
        extra,
    }
}

/// `None` is standard output: asked for with `-`, and the default when the prompts come through a pipe.
fn output(prompts: &Path, given: Option<&Path>, from_pipe: bool) -> Option<PathBuf> {
    match given {
        Some(path) => (path != Path::new("-")).then(|| path.to_owned()),
        None => (!from_pipe).then(|| prompts.with_extension("results.jsonl")),
    }
}

/// Standard input, or a pipe that has a name: beside that is no place for results.
fn is_pipe(prompts: &Path) -> bool {
    prompts == Path::new("-")
        || prompts
            .metadata()
            .is_ok_and(|prompts| !prompts.is_file() && !prompts.is_dir())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let both = one.canonicalize().ok().zip(other.canonicalize().ok());
    both.is_some_and(|(one, other)| one == other && one.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_go_beside_the_prompts_unless_told_otherwise() {
        let output = |prompts: &str, given: Option<&str>| {
            output(
                Path::new(prompts),
                given.map(Path::new),
                is_pipe(Path::new(prompts)),
            )
        };
        assert_eq!(
            output("dir/prompts.txt", None),
            Some("dir/prompts.results.jsonl".into())
        );
        assert_eq!(
            output("prompts", None),
            Some("prompts.results.jsonl".into())
        );
        assert_eq!(output("prompts.txt", Some("out")), Some("out".into()));
        assert_eq!(
            (output("prompts.txt", Some("-")), output("-", None)),
            (None, None)
        );
    }
}
