//! The prompts: from a file, which is checked before anything is sent, or from standard input or another pipe, whose first
//! prompt is.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, bounded};

#[cfg(feature = "redis")]
use super::args::PushArgs;
use super::args::{ReadingArgs, RunArgs};
use super::error::CommandError;
use crate::batch::PromptSource;
use crate::cancel::CancelToken;
use crate::prompts::{Prompt, PromptError, Prompts, Reading, Template, input_line, listed};
use crate::text::counted;
use crate::text::shortened;

pub(super) type PromptStream = Box<dyn Iterator<Item = Result<Prompt, PromptError>> + Send>;

/// Where prompts come from, and how they are read.
#[derive(Debug)]
pub(super) struct Input<'a> {
    path: &'a Path,
    /// The files, if each is one prompt.
    files: Option<Vec<PathBuf>>,
    reading: Reading,
    limit: usize,
    /// How often each prompt is asked.
    repeat: u32,
    /// Where the prompts of a pipe come out.
    pipe: OnceLock<Receiver<Result<Prompt, PromptError>>>,
}

impl PromptSource for Input<'_> {
    fn is_coming(&self, by: Instant) -> bool {
        self.pipe.get().is_none_or(|pipe| {
            let mut select = Select::new();
            select.recv(pipe);
            select.ready_deadline(by).is_ok()
        })
    }
}

/// What a look at all prompts found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The number of prompts; `None` for a pipe, which is not read.
    pub(super) count: Option<u64>,
    /// What people should know about them.
    pub(super) notes: Vec<String>,
}

impl<'a> Input<'a> {
    /// The prompts of a run, for the API at this path. Without a model they must bring their own bodies.
    pub(super) fn of_run(args: &'a RunArgs, api_path: &str) -> Result<Self, CommandError> {
        let mut input = Input::new(&args.prompts, &args.reading)?;
        input.repeat = args.repeat.get();
        input.reading.one_model = args.calls.practice;
        input.reading.bodies_only = !args.calls.has_model();
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
        let files = listed(path).transpose();
        Ok(Input {
            path,
            files: files.map_err(CommandError::file("cannot read prompts from", path))?,
            reading: Reading {
                format: args.format,
                path: path.to_owned(),
                template,
                attached: args.attach_column.clone(),
                ..Reading::default()
            },
            limit: args.limit.unwrap_or(usize::MAX),
            repeat: 1,
            pipe: OnceLock::new(),
        })
    }

    /// Whether it can be read more than once.
    pub(super) fn is_file(&self) -> bool {
        let is_file = |path: &Path| path.metadata().is_ok_and(|found| found.is_file());
        self.files.is_some() || self.path != Path::new("-") && is_file(self.path)
    }

    /// Reads a file to its end, before the first call is paid for, and shows each prompt to `look`. A pipe is not read.
    pub(super) fn check(&self, mut look: impl FnMut(&Prompt)) -> Result<Checked, CommandError> {
        if !self.is_file() {
            // A pipe is not opened yet, but it must be there.
            if self.path != Path::new("-") {
                self.path.metadata().map_err(self.unreadable())?;
            }
            return Ok(Checked::default());
        }
        let mut seen = SeenRows::default();
        for prompt in self.checked_prompts()? {
            let prompt = prompt?;
            look(&prompt);
            seen.look(&prompt);
        }
        self.check_count(seen.count)?;
        Ok(Checked {
            count: Some(seen.count),
            notes: seen.notes(self.reading.template.is_some()),
        })
    }

    /// An input without prompts is a mistake.
    pub(super) fn check_count(&self, count: u64) -> Result<(), CommandError> {
        if count > 0 || self.limit == 0 {
            return Ok(());
        }
        let path = self.path.display();
        let problem = format!("{path} holds no prompt: write one a line, or one a row of CSV");
        Err(CommandError::usage(problem))
    }

    /// The prompts, from the first, with errors that name the file.
    pub(super) fn checked_prompts(
        &self,
    ) -> Result<impl Iterator<Item = Result<Prompt, CommandError>>, CommandError> {
        let prompts = self.prompts(&CancelToken::new())?;
        Ok(prompts.map(move |prompt| prompt.map_err(CommandError::file("", self.path))))
    }

    /// The prompts, from the first.
    pub(super) fn prompts(&self, cancel: &CancelToken) -> Result<PromptStream, CommandError> {
        let prompts = self.read()?.take(self.limit);
        let repeat = self.repeat;
        let prompts = prompts.flat_map(move |prompt| repeated(prompt, repeat));
        Ok(match self.is_file() {
            true => Box::new(prompts),
            false => {
                let pipe = self.pipe.get_or_init(|| in_a_thread(prompts));
                Box::new(as_they_come(pipe.clone(), cancel.clone()))
            }
        })
    }

    /// Waits for the first prompt of a pipe: what is wrong with it, is wrong with the command.
    pub(super) fn check_first(
        &self,
        mut prompts: PromptStream,
    ) -> Result<PromptStream, CommandError> {
        if self.is_file() {
            return Ok(prompts);
        }
        let first = prompts.next().transpose();
        let first = first.map_err(CommandError::file("", self.path))?;
        Ok(Box::new(first.into_iter().map(Ok).chain(prompts)))
    }

    fn unreadable(&self) -> impl FnOnce(io::Error) -> CommandError {
        let told = CommandError::file("cannot read prompts from", self.path);
        |error| told(error).help("is the path right? - reads standard input")
    }

    fn read(&self) -> Result<Prompts<Box<dyn BufRead + Send>>, CommandError> {
        if let Some(files) = &self.files {
            return Ok(Prompts::in_files(files.clone(), self.reading.clone()));
        }
        let source: Box<dyn BufRead + Send> = match self.path {
            path if path == Path::new("-") => Box::new(BufReader::new(io::stdin())),
            path => {
                let file = File::open(path).map_err(self.unreadable())?;
                Box::new(BufReader::with_capacity(64 << 10, file))
            }
        };
        Ok(Prompts::new(source, self.reading.clone()))
    }
}

/// A prompt as often as it is asked.
fn repeated(
    prompt: Result<Prompt, PromptError>,
    times: u32,
) -> impl Iterator<Item = Result<Prompt, PromptError>> {
    let again = prompt.as_ref().ok().filter(|_| times > 1).cloned();
    let again = again
        .into_iter()
        .flat_map(move |prompt| (2..=times).map(move |n| Ok(prompt.again(n))));
    std::iter::once(prompt).chain(again)
}

/// Finds rows that share an id, by which their results could not be told apart, texts that are all the same, and rows with
/// parameters of their own. It takes about 16 bytes a prompt.
#[derive(Default)]
struct SeenRows {
    ids: HashSet<u64>,
    texts: HashSet<u64>,
    hasher: RandomState,
    count: u64,
    shared: u64,
    /// The first id that comes again, and its line.
    first: Option<(String, u64)>,
    /// How many rows have each parameter, or files.
    own: BTreeMap<String, u64>,
}

impl SeenRows {
    fn look(&mut self, prompt: &Prompt) {
        self.count += 1;
        if self.texts.len() < 2 {
            self.texts.insert(self.hasher.hash_one(&prompt.text));
        }
        if !self.ids.insert(self.hasher.hash_one(&prompt.custom_id)) {
            self.shared += 1;
            self.first
                .get_or_insert_with(|| (prompt.custom_id.clone(), prompt.line));
        }
        let files = (!prompt.row.files.is_empty()).then(|| "files".to_owned());
        for name in prompt.row.settings.keys().cloned().chain(files) {
            *self.own.entry(name).or_default() += 1;
        }
    }

    fn notes(&self, has_template: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some((id, line)) = &self.first {
            let (id, line, rows) = (
                shortened(id, 40),
                input_line(*line),
                counted(self.shared, "row"),
            );
            notes.push(format!(
                "warning: the id \"{id}\" of line {line} is that of an earlier row ({rows} in all): the results of both will have it"
            ));
        }
        if has_template && self.count > 1 && self.texts.len() == 1 {
            notes.push(format!(
                "warning: the template makes the same text of all {} prompts",
                self.count
            ));
        }
        let own = self.own.iter();
        let own: Vec<_> = own
            .map(|(name, rows)| format!("{name} ({})", counted(*rows, "row")))
            .collect();
        if !own.is_empty() {
            notes.push(format!("rows have their own {}", own.join(", ")));
        }
        notes
    }
}

fn template(path: &Path) -> Result<Template, CommandError> {
    let source = fs::read_to_string(path)
        .map_err(CommandError::file("cannot read the template from", path))?;
    Ok(Template::new(&source, &path.display().to_string())?)
}

/// Prompts of a pipe: a batch that stops does not wait for the next line.
fn as_they_come(
    pipe: Receiver<Result<Prompt, PromptError>>,
    cancel: CancelToken,
) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
    /// How soon a cancelled batch notices: no person sees 50 ms.
    const LOOK: Duration = Duration::from_millis(50);
    std::iter::from_fn(move || {
        while !cancel.is_cancelled() {
            match pipe.recv_timeout(LOOK) {
                Ok(prompt) => return Some(prompt),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    })
}

/// Reads prompts in a thread that nobody waits for; it ends with the receiver.
pub(super) fn in_a_thread(
    prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send + 'static,
) -> Receiver<Result<Prompt, PromptError>> {
    /// Enough to keep a reader busy; a prompt of a pipe should not lie here for long.
    const AHEAD: usize = 16;
    let (sender, receiver) = bounded(AHEAD);
    thread::spawn(move || {
        for prompt in prompts {
            if sender.send(prompt).is_err() {
                return;
            }
        }
    });
    receiver
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
            let count = input.check(|_| ())?.count;
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
        assert_eq!(opened("a.txt", csv, &["-mm", "--format=text"]), Ok((3, 3)));
        let refused = opened("a.txt", csv, &["-mm"]).unwrap_err();
        assert!(refused.starts_with("a.txt: line 1: this looks like the header of a table"));
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
        for (name, content) in [("a.txt", "why\n"), ("a.csv", "prompt\nwhy\n")] {
            let error = opened(name, content, &[]).unwrap_err();
            assert!(
                error.ends_with("say which model to ask, with -m NAME"),
                "{error}"
            );
        }
        assert_eq!(opened("a.txt", "why\n", &["--practice"]), Ok((1, 1)));
    }
}
