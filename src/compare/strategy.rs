//! The strategies: how many threads, how long they wait after a refusal, and whether they take turns.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Options;
use super::course::Course;
use super::server::{Refused, Server};
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::clock::SimClock;
use crate::limiter::{Rate, RateLimiter};
use crate::pool::{self, Size};
use crate::retry::{Retry, Verdict};

/// A way of living with a limit: plain data.
#[derive(Clone, Debug)]
pub(super) struct Strategy {
    name: String,
    threads: NonZeroUsize,
    backoff: Backoff,
    /// The pace at which turns are taken; none: everyone calls at will.
    pace: Option<Rate>,
}

impl Strategy {
    /// The story in order: from the first naive loop to the paced pool.
    pub(super) fn all(options: &Options) -> Vec<Strategy> {
        let threads = options.workers;
        let crew = if threads.get() == 1 {
            "1 thread".to_owned()
        } else {
            format!("{threads} threads")
        };
        let at_will = |name: String, threads, backoff| Strategy {
            name,
            threads,
            backoff,
            pace: None,
        };
        let plain = Backoff {
            jitter: Jitter::None,
            ..Backoff::default()
        };
        vec![
            at_will(
                "1 thread, 5 s sleep".to_owned(),
                NonZeroUsize::MIN,
                sleep(5),
            ),
            at_will(format!("{crew}, 5 s sleep"), threads, sleep(5)),
            at_will(format!("{crew}, 30 s sleep"), threads, sleep(30)),
            at_will(format!("{crew}, backoff"), threads, plain),
            at_will(format!("{crew}, jitter"), threads, Backoff::default()),
            Strategy {
                name: "paced pool".to_owned(),
                threads,
                backoff: Backoff::default(),
                pace: Some(pace(options)),
            },
        ]
    }

    /// Runs the strategy until every prompt is answered. It does the same each time.
    pub(super) fn play(&self, options: &Options) -> Course {
        let clock = SimClock::new();
        let server = Server::new(options, clock.clone());
        let client = Client {
            server: &server,
            limiter: self
                .pace
                .map(|rate| RateLimiter::on(Arc::new(clock.clone()), rate)),
            retry: Retry {
                backoff: self.backoff,
                ..Retry::default()
            },
            cancel: CancelToken::on(clock.clone()),
            seed: options.seed,
        };
        thread::scope(|scope| {
            let ask = |prompt: &u32, _: &pool::Crew<'_>| client.ask(*prompt);
            let size = Size::fixed(self.threads);
            let clock = Arc::new(clock.clone());
            pool::run_on(clock, scope, size, 0..options.prompts.get(), ask).for_each(drop);
        });
        let time = clock.elapsed();
        Course {
            name: self.name.clone(),
            threads: self.threads,
            time,
            arrivals: server.into_arrivals(),
        }
    }
}

/// Always the same wait.
fn sleep(seconds: u64) -> Backoff {
    let wait = Duration::from_secs(seconds);
    Backoff {
        base: wait,
        max: wait,
        jitter: Jitter::None,
    }
}

/// What `paceline run` keeps to when it is told this limit: of a burst, one call is held in reserve.
fn pace(options: &Options) -> Rate {
    let rate = Rate::per_minute(options.rpm);
    match NonZeroU32::new(options.burst.get() - 1) {
        Some(at_once) => rate.with_burst(at_once).with_guard(Duration::ZERO),
        None => rate,
    }
}

/// What the threads of a strategy share.
struct Client<'a> {
    server: &'a Server,
    limiter: Option<RateLimiter>,
    retry: Retry,
    cancel: CancelToken,
    seed: u64,
}

impl Client<'_> {
    /// Asks until there is an answer: a refusal spends no retry, so that every strategy answers every prompt.
    fn ask(&self, prompt: u32) {
        let seed = self
            .seed
            .wrapping_add(u64::from(prompt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Only the paced pool listens to the server: the others sleep as their loop says.
        let judge =
            |refused: &Refused| Verdict::Throttled(self.limiter.as_ref().map(|_| refused.wait));
        let outcome = self
            .retry
            .trace(&self.cancel, seed, judge, |_| {}, |_| self.call(prompt));
        debug_assert!(
            outcome.result.is_ok(),
            "nobody cancels, and no refusal is final"
        );
    }

    fn call(&self, prompt: u32) -> Result<(), Refused> {
        let Some(limiter) = &self.limiter else {
            return self.server.call(prompt);
        };
        let turn = limiter.wait();
        let answer = self.server.call(prompt);
        match &answer {
            Ok(()) => limiter.answered(turn),
            Err(refused) => {
                limiter.refused(turn, Some(self.cancel.clock().now() + refused.wait));
            }
        }
        answer
    }
}
