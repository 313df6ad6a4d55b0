//! The prompts: from a file, which is checked before anything is sent, or from standard input or another pipe.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

#[cfg(feature = "redis")]
use super::args::PushArgs;
use super::args::{ReadingArgs, RunArgs};
use super::error::CommandError;
use super::setup::NO_MODEL;
use crate::cancel::CancelToken;
use crate::prompts::{Format, Prompt, PromptError, Prompts, Reading, Template, gunzip};

pub(super) type PromptStream = Box<dyn Iterator<Item = Result<Prompt, PromptError>> + Send>;

/// Where prompts come from, and how they are read.
pub(super) struct Input<'a> {
    path: &'a Path,
    reading: Reading,
    limit: usize,
}

impl<'a> Input<'a> {
    /// The prompts of a run. Only JSON lines can bring their own bodies, for the API at this path; others need a model.
    pub(super) fn of_run(args: &'a RunArgs, api_path: &str) -> Result<Self, CommandError> {
        let mut input = Input::new(&args.prompts, &args.reading)?;
        let bodies_only = args.calls.request.model.is_none() && !args.calls.practice;
        if bodies_only && input.reading.format != Format::Jsonl {
            return Err(CommandError::usage(NO_MODEL));
        }
        input.reading.bodies_only = bodies_only;
        input.reading.api_path = api_path.to_owned();
        Ok(input)
    }

    /// The prompts for a queue; the workers check what they ask.
    #[cfg(feature = "redis")]
    pub(super) fn of_push(args: &'a PushArgs) -> Result<Self, CommandError> {
        Input::new(&args.prompts, &args.reading)
    }

    fn new(path: &'a Path, args: &ReadingArgs) -> Result<Self, CommandError> {
        let template = args.template.as_deref().map(template).transpose()?;
        Ok(Input {
            path,
            reading: Reading {
                format: args.format.unwrap_or_else(|| Format::of(path).0),
                template,
                ..Reading::default()
            },
            limit: args.limit.unwrap_or(usize::MAX),
        })
    }

    /// Whether it can be read more than once.
    pub(super) fn is_file(&self) -> bool {
        let is_file = |path: &Path| path.metadata().is_ok_and(|found| found.is_file());
        self.path != Path::new("-") && is_file(self.path)
    }

    /// Reads a file to its end, before the first call is paid for, and shows each prompt to `look`. It returns the number
    /// of prompts; `None` for a pipe, which is not read.
    pub(super) fn check(&self, mut look: impl FnMut(&Prompt)) -> Result<Option<u64>, CommandError> {
        if !self.is_file() {
            return Ok(None);
        }
        let mut count = 0;
        for prompt in self.checked_prompts()? {
            look(&prompt?);
            count += 1;
        }
        self.check_count(count).map(Some)
    }

    /// An input without prompts is a mistake.
    pub(super) fn check_count(&self, count: u64) -> Result<u64, CommandError> {
        match count {
            0 if self.limit > 0 => Err(CommandError::usage(format!(
                "{} holds no prompt: write one a line, or one a row of CSV",
                self.path.display()
            ))),
            _ => Ok(count),
        }
    }

    /// The prompts, from the first, with errors that name the file.
    pub(super) fn checked_prompts(
        &self,
    ) -> Result<impl Iterator<Item = Result<Prompt, CommandError>>, CommandError> {
        let prompts = self.prompts(&CancelToken::new())?;
        let named = |error| CommandError::file("", self.path)(with_option(&error));
        Ok(prompts.map(move |prompt| prompt.map_err(named)))
    }

    /// The prompts, from the first.
    pub(super) fn prompts(&self, cancel: &CancelToken) -> Result<PromptStream, CommandError> {
        let prompts = self.read()?;
        Ok(match self.is_file() {
            true => Box::new(prompts.take(self.limit)),
            false => Box::new(as_they_come(prompts, cancel.clone()).take(self.limit)),
        })
    }

    fn read(&self) -> Result<Prompts<Box<dyn BufRead + Send>>, CommandError> {
        let source: Box<dyn BufRead + Send> = match self.path {
            path if path == Path::new("-") => Box::new(BufReader::new(io::stdin())),
            path => {
                let file = open(path);
                let file = file.map_err(CommandError::file("cannot read prompts from", path))?;
                match Format::of(path) {
                    (_, true) => Box::new(gunzip(file)),
                    (_, false) => Box::new(file),
                }
            }
        };
        Ok(Prompts::with(source, self.reading.clone()))
    }
}

/// The error, with the option that helps.
pub(super) fn with_option(error: &PromptError) -> String {
    match error {
        PromptError::NoBody { .. } => format!("{error}, with -m NAME"),
        PromptError::OtherApi { .. } => format!("{error} (or choose another --api)"),
        _ => error.to_string(),
    }
}

fn open(path: &Path) -> io::Result<BufReader<File>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(BufReader::with_capacity(64 << 10, file))
}

fn template(path: &Path) -> Result<Template, CommandError> {
    let source = fs::read_to_string(path)
        .map_err(CommandError::file("cannot read the template from", path))?;
    Ok(Template::new(&source, &path.display().to_string())?)
}

/// Prompts of a pipe, read by a thread that nobody waits for: a batch that stops does not wait for the next line.
fn as_they_come(
    prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send + 'static,
    cancel: CancelToken,
) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
    /// How soon a cancelled batch notices: no person sees 50 ms.
    const LOOK: Duration = Duration::from_millis(50);
    let (sender, receiver) = bounded(16);
    thread::spawn(move || {
        for prompt in prompts {
            if sender.send(prompt).is_err() {
                return;
            }
        }
    });
    std::iter::from_fn(move || {
        while !cancel.is_cancelled() {
            match receiver.recv_timeout(LOOK) {
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

    use super::super::args::{Command, CommandLine};
    use super::*;

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
        let Command::Run(args) = CommandLine::parse_from(words).command else {
            unreachable!()
        };
        let cancel = CancelToken::new();
        let open = || {
            let input = Input::of_run(&args, "/chat/completions")?;
            let count = input.check(|_| ())?;
            Ok((count, input.prompts(&cancel)?.filter(Result::is_ok).count()))
        };
        let opened: Result<_, CommandError> = open();
        opened
            .map(|(count, read)| (count.unwrap(), read))
            .map_err(|error| error.to_string().replace(path.to_str().unwrap(), name))
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
            assert_eq!(opened(name, "prompt\nwhy\n", &[]).unwrap_err(), NO_MODEL);
        }
        assert_eq!(opened("a.txt", "why\n", &["--practice"]), Ok((1, 1)));
    }
}
