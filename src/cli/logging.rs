//! Everything on standard error: the log, one line an event, as `RUST_LOG` or `-v` ask; and sentences for people.
//!
//! Both go above what is drawn on the screen, and with `--log-format json` both are one JSON object a line. `ureq` does
//! not redact what it logs at its finest level, so no setting lets that level through: a key is never logged.

mod json;
mod people;

use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use console::{Term, measure_text_width};
use env_logger::{Builder, Env, Target, WriteStyle};
use jiff::Timestamp;
use log::{Level, LevelFilter, Record};
use serde::Serialize;

pub(super) use self::json::Fields;
use super::args::LogFormat;
use super::progress::Screen;
use super::template::{self, TextLook};
use crate::text::cleaned;

/// Standard error, shared by the whole program.
static SCREEN: LazyLock<Screen> = LazyLock::new(Screen::default);
/// Whether only errors are told.
static QUIET: AtomicBool = AtomicBool::new(false);
/// Whether every line is a JSON object.
static IN_JSON: AtomicBool = AtomicBool::new(false);

/// Writes above what is drawn. A line comes in one piece, so that the output of other programs does not get between.
struct AboveTheDrawing;

impl Write for AboveTheDrawing {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        SCREEN.write(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the log of this process, if none is running.
pub(super) fn start(verbose: u8, quiet: bool, format: LogFormat) {
    let in_json = format == LogFormat::Json;
    IN_JSON.store(in_json, Ordering::Relaxed);
    QUIET.store(quiet, Ordering::Relaxed);
    let level = match (quiet, verbose.max(in_json.into())) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut builder = Builder::from_env(
        Env::default().default_filter_or(format!("{level},ureq=warn,ureq_proto=warn")),
    );
    let line = match format {
        LogFormat::Json => |record: &Record<'_>| json::line(record, Timestamp::now()),
        LogFormat::Text => |record: &Record<'_>| for_terminal(people::line(record)),
    };
    builder.format(move |to, record| writeln!(to, "{}", line(record)));
    // Colours are chosen with the text.
    builder.write_style(WriteStyle::Always);
    builder.target(Target::Pipe(Box::new(AboveTheDrawing)));
    if builder.try_init().is_ok() {
        log::set_max_level(log::max_level().min(LevelFilter::Debug));
    }
}

/// Standard error, to draw on it.
pub(super) fn screen() -> &'static Screen {
    &SCREEN
}

/// Whether texts for people have colours now.
pub(super) fn has_colour() -> bool {
    !IN_JSON.load(Ordering::Relaxed) && console::colors_enabled_stderr()
}

/// A text for people, whose lines may be of any length.
///
/// # Errors
/// Those of [`template::text`].
pub(super) fn render(template: &str, values: &impl Serialize) -> io::Result<String> {
    let look = TextLook {
        width: usize::MAX,
        colour: has_colour(),
    };
    template::text(template, values, look)
}

/// Tells people something.
pub(super) fn tell(text: impl AsRef<str>) {
    let text = cleaned(text.as_ref()).into_owned();
    say(Level::Info, "said", text, Fields::new());
}

/// Whether people asked for nothing but errors.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Tells people something, unless they asked for nothing but errors.
pub(super) fn inform(text: impl AsRef<str>) {
    if !is_quiet() {
        tell(text);
    }
}

/// Tells people something, whatever the log's level is; in JSON, as an event with fields. The text is clean, and has its
/// colours. A closed standard error is no reason to stop.
pub(super) fn say(level: Level, event: &str, text: String, fields: Fields) {
    let line = if IN_JSON.load(Ordering::Relaxed) {
        let mut all = Fields::from_iter([("event".to_owned(), event.into())]);
        all.extend(fields);
        json::object(level, all, text, Timestamp::now())
    } else {
        for_terminal(text)
    };
    let _ = AboveTheDrawing.write_all(format!("{line}\n").as_bytes());
}

/// The text as standard error shows it: on a terminal, lines end between words.
fn for_terminal(text: String) -> String {
    match Term::stderr().size_checked() {
        Some((_, columns)) => folded(&text, columns.into()),
        None => text,
    }
}

/// Lines broken at spaces, but for commands, which people paste. What follows is indented.
pub(super) fn folded(text: &str, width: usize) -> String {
    const INDENT: usize = 2;
    let mut folded = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len() + INDENT;
        let mut rest = line.to_owned();
        while measure_text_width(&rest) >= width && !line.contains("paceline ") {
            let begin = rest.len() - rest.trim_start().len();
            let spaces = rest.match_indices(' ').map(|(at, _)| at);
            let fits = |at: &usize| measure_text_width(&rest[..*at]) < width;
            let Some(space) = spaces.filter(|at| *at > begin).take_while(fits).last() else {
                break;
            };
            let next = format!("{:indent$}{}", "", rest[space..].trim_start());
            rest.truncate(space);
            folded.push(rest.trim_end().to_owned());
            rest = next;
        }
        folded.push(rest);
    }
    folded.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_ends_between_words_and_a_command_stays_whole() {
        let text = "error: the first 20 prompts all failed\n  help: is -m gpt-9 right, really?\n  next  paceline export a.jsonl -o b.csv";
        let expected = "error: the first 20\n  prompts all failed\n  help: is -m gpt-9\n    right, really?\n  next  paceline export a.jsonl -o b.csv";
        assert_eq!(folded(text, 21), expected);
        assert_eq!(folded(text, 200), text);
        let coloured = "\u{1b}[32m✓ 1 answered\u{1b}[0m, \u{1b}[31m✗ 2 failed\u{1b}[0m";
        let expected = "\u{1b}[32m✓ 1 answered\u{1b}[0m, \u{1b}[31m✗ 2\n  failed\u{1b}[0m";
        assert_eq!(folded(coloured, 18), expected);
        let whole = "a".repeat(30);
        assert_eq!(folded(&format!("  {whole} b"), 20), format!("  {whole} b"));
    }
}
