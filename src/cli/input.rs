//! Where the prompts come from: a file, looked through before anything is sent, or standard input or another pipe.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

#[cfg(feature = "redis")]
use super::args::Push;
use super::args::Run;
use super::unusable::Unusable;
use crate::cancel::CancelToken;
use crate::prompts::{Format, Prompt, PromptError, Prompts, Reading, Template, gunzip};

type Stream = Box<dyn Iterator<Item = Result<Prompt, PromptError>> + Send>;

/// The prompts, and how many they are where that is known: in a file, each has been looked at. The path is that of the
/// API.
pub(super) fn open(
    args: &Run,
    api_path: &str,
    cancel: &CancelToken,
    look: impl FnMut(&Prompt),
) -> Result<(Stream, Option<u64>), Unusable> {
    stream(
        &args.prompts,
        reading(args, api_path)?,
        args.limit,
        cancel,
        look,
    )
}

/// The same, to be put aside for whoever knows how to ask.
#[cfg(feature = "redis")]
pub(super) fn to_push(
    args: &Push,
    cancel: &CancelToken,
) -> Result<(Stream, Option<u64>), Unusable> {
    let format = args.format.unwrap_or_else(|| Format::of(&args.prompts).0);
    let template = args.template.as_deref().map(template).transpose()?;
    let reading = Reading {
        format,
        template,
        ..Reading::default()
    };
    stream(&args.prompts, reading, args.limit, cancel, |_| ())
}

fn stream(
    path: &Path,
    reading: Reading,
    limit: Option<usize>,
    cancel: &CancelToken,
    look: impl FnMut(&Prompt),
) -> Result<(Stream, Option<u64>), Unusable> {
    let limit = limit.unwrap_or(usize::MAX);
    if path == Path::new("-") {
        let prompts = Prompts::with(BufReader::new(io::stdin()), reading);
        return Ok((
            Box::new(as_they_come(prompts, cancel.clone()).take(limit)),
            None,
        ));
    }
    if !is_file(path) {
        return Ok((
            Box::new(as_they_come(read(path, reading)?, cancel.clone()).take(limit)),
            None,
        ));
    }
    let count = look_through(path, &reading, limit, look)?;
    Ok((Box::new(read(path, reading)?.take(limit)), Some(count)))
}

/// The prompts of a file, once more; none if they are not in a file.
pub(super) fn read_again(
    args: &Run,
    api_path: &str,
) -> Result<Option<impl Iterator<Item = Result<Prompt, PromptError>>>, Unusable> {
    if !is_file(&args.prompts) {
        return Ok(None);
    }
    let prompts = read(&args.prompts, reading(args, api_path)?)?;
    Ok(Some(prompts.take(args.limit.unwrap_or(usize::MAX))))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// How the prompts are to be read. Only JSON lines can bring their own bodies; the rest needs a model to ask.
fn reading(args: &Run, api_path: &str) -> Result<Reading, Unusable> {
    let format = args.format.unwrap_or_else(|| Format::of(&args.prompts).0);
    let bodies_only = args.model.is_none() && !args.practice;
    if bodies_only && format != Format::Jsonl {
        return Err(Unusable::NoModel);
    }
    let template = args.template.as_deref().map(template).transpose()?;
    Ok(Reading {
        format,
        template,
        api_path: api_path.to_owned(),
        bodies_only,
    })
}

fn template(path: &Path) -> Result<Template, Unusable> {
    let source = fs::read_to_string(path);
    let source = source.map_err(|source| Unusable::OpenTemplate {
        path: path.to_owned(),
        source,
    })?;
    Ok(Template::new(&source, &path.display().to_string())?)
}

fn read(path: &Path, reading: Reading) -> Result<Prompts<Box<dyn BufRead + Send>>, Unusable> {
    let open = |path| {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Ok(file)
        }
    };
    let file = open(path).map_err(|source| Unusable::Open {
        path: path.to_owned(),
        source,
    })?;
    let file = BufReader::with_capacity(64 << 10, file);
    let (_, is_gzip) = Format::of(path);
    Ok(Prompts::with(
        if is_gzip {
            Box::new(gunzip(file))
        } else {
            Box::new(file)
        },
        reading,
    ))
}

/// Finds what is wrong with a file before the first call is paid for.
fn look_through(
    path: &Path,
    reading: &Reading,
    limit: usize,
    mut look: impl FnMut(&Prompt),
) -> Result<u64, Unusable> {
    let mut count = 0;
    for prompt in read(path, reading.clone())?.take(limit) {
        look(&prompt.map_err(|source| Unusable::Input {
            path: path.to_owned(),
            source,
        })?);
        count += 1;
    }
    if count == 0 && limit > 0 {
        Err(Unusable::Empty(path.to_owned()))
    } else {
        Ok(count)
    }
}

/// Prompts of standard input or another pipe, read by a thread that nobody waits for: a batch that stops does not wait
/// for the next line.
fn as_they_come(
    prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send + 'static,
    cancel: CancelToken,
) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
    const LOOK: Duration = Duration::from_millis(50);
    let (to_us, come) = bounded(16);
    thread::spawn(move || {
        for prompt in prompts {
            if to_us.send(prompt).is_err() {
                return;
            }
        }
    });
    std::iter::from_fn(move || {
        while !cancel.is_cancelled() {
            match come.recv_timeout(LOOK) {
                Ok(prompt) => return Some(prompt),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {

    use clap::Parser;

    use super::super::args::{Args, Command};
    use super::*;
    use crate::clock::SystemClock;

    const BATCH_LINE: &str =
        r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}"#;

    /// Opens a file with this name and content, and reads it: how many prompts there are, or what is wrong.
    fn opened(name: &str, content: &str, options: &[&str]) -> Result<(u64, usize), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let words = ["paceline", "run", path.to_str().unwrap()]
            .into_iter()
            .chain(options.iter().copied());
        let Command::Run(args) = Args::parse_from(words).command else {
            unreachable!()
        };
        let cancel = CancelToken::on(SystemClock);
        match open(&args, "/chat/completions", &cancel, |_| ()) {
            Ok((prompts, count)) => Ok((count.unwrap(), prompts.filter(Result::is_ok).count())),
            Err(error) => Err(error.to_string().replace(path.to_str().unwrap(), name)),
        }
    }

    #[test]
    fn the_extension_says_how_a_file_is_read_unless_the_user_does() {
        let csv = "prompt\none\ntwo\n";
        assert_eq!(opened("a.csv", csv, &["-mm"]), Ok((2, 2)));
        assert_eq!(opened("a.txt", csv, &["-mm"]), Ok((3, 3)));
        assert_eq!(
            opened("a.txt", csv, &["-mm", "--format=csv", "--limit=1"]),
            Ok((1, 1))
        );
    }

    #[test]
    fn a_file_is_looked_through_before_anything_is_sent() {
        let lines = format!("{BATCH_LINE}\n{}\n", BATCH_LINE.replace("POST", "GET"));
        let expected = "a.jsonl: line 2, column 27: expected \"method\" to be POST, found \"GET\"";
        assert_eq!(opened("a.jsonl", &lines, &["-mm"]).unwrap_err(), expected);
        let expected =
            "a.gz: line 1: the gzip data is damaged, or no gzip data (invalid gzip header)";
        assert_eq!(
            opened("a.gz", "some plain text", &["-mm"]).unwrap_err(),
            expected
        );
    }

    #[test]
    fn a_model_is_needed_unless_every_prompt_brings_its_body() {
        assert_eq!(opened("a.jsonl", BATCH_LINE, &[]), Ok((1, 1)));
        let expected = "a.jsonl: line 2: this prompt has no body of its own, so say which model to ask, with -m NAME";
        assert_eq!(
            opened("a.jsonl", &format!("{BATCH_LINE}\n\"why\"\n"), &[]).unwrap_err(),
            expected
        );
        for name in ["a.txt", "a.csv"] {
            assert_eq!(
                opened(name, "prompt\nwhy\n", &[]).unwrap_err(),
                "say which model to ask, with -m NAME"
            );
        }
        assert_eq!(opened("a.txt", "why\n", &["--practice"]), Ok((1, 1)));
    }
}
