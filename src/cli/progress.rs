//! The progress of a batch: drawn a few times a second on a terminal, elsewhere a line every ten seconds.
//!
//! The text is a pure function of a [`Snapshot`](crate::batch::Snapshot) and a width. Around it is a thread that takes a
//! snapshot now and then until the batch ends; the workers do nothing for it.

mod eta;
mod lines;
mod pane;

use std::env;
use std::fmt;
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::args::{CallArgs, LogFormat, ShowProgress};
use super::logging::{screen, tell};
use crate::batch::{Event, Price, Snapshot, View, Watch, Why};
use crate::clock::{Clock, SystemClock};

/// How the progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DisplayMode {
    /// Drawn on a terminal.
    Live,
    /// A line every ten seconds, and one for each long pause.
    Lines,
    /// A line every ten seconds; the log tells of pauses.
    LinesOnly,
    Never,
}

impl DisplayMode {
    fn choose(show: ShowProgress, log: LogFormat, quiet: bool, terminal: bool) -> Self {
        match (show, log) {
            (ShowProgress::Never, _) => DisplayMode::Never,
            (ShowProgress::Auto, _) if quiet => DisplayMode::Never,
            _ if terminal => DisplayMode::Live,
            (_, LogFormat::Json) if !quiet => DisplayMode::LinesOnly,
            _ => DisplayMode::Lines,
        }
    }
}

/// Shows a batch until it is dropped; then a terminal is as it was before.
#[derive(Debug)]
pub(super) struct ProgressDisplay {
    messages: Sender<DisplayMessage>,
    thread: Option<JoinHandle<()>>,
}

enum DisplayMessage {
    Paused {
        key: usize,
        wait: Duration,
        until: SystemTime,
        why: Why,
    },
    End,
}

impl ProgressDisplay {
    /// Starts to show the batch of this view. If there is no thread to be had, nothing is shown.
    pub(super) fn start(args: &CallArgs, quiet: bool, view: Arc<View>) -> Self {
        let is_dumb = env::var_os("TERM").is_some_and(|name| name == "dumb");
        let terminal = stderr().is_terminal() && !is_dumb;
        let mode = DisplayMode::choose(args.watch.progress, args.watch.log_format, quiet, terminal);
        let (messages, receiver) = bounded(16);
        let price = args.cost.price;
        let body = move || show(mode, &view, price, &receiver);
        let thread = thread::Builder::new().name("display".into()).spawn(body);
        ProgressDisplay {
            messages,
            thread: thread.ok(),
        }
    }

    /// What is to watch the batch, so that long pauses are told at once. A full channel drops the news: the workers
    /// never wait for the display.
    pub(super) fn watch(&self) -> Arc<dyn Watch> {
        /// A shorter pause is over before it is read.
        const LONG: Duration = Duration::from_secs(5);
        let messages = self.messages.clone();
        Arc::new(move |event: &Event<'_>| {
            if let Event::Held {
                key,
                wait,
                until,
                why,
            } = *event
                && wait >= LONG
            {
                let paused = DisplayMessage::Paused {
                    key,
                    wait,
                    until,
                    why,
                };
                let _ = messages.try_send(paused);
            }
        })
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        let _ = self.messages.send(DisplayMessage::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        screen().clear();
    }
}

fn show(mode: DisplayMode, view: &View, price: Option<Price>, messages: &Receiver<DisplayMessage>) {
    let now = || view.at(SystemClock.now());
    match mode {
        DisplayMode::Live => draw(&now, price, messages),
        DisplayMode::Lines => print_lines(&now, price, messages, true),
        DisplayMode::LinesOnly => print_lines(&now, price, messages, false),
        DisplayMode::Never => {}
    }
}

fn draw(now: &dyn Fn() -> Snapshot, price: Option<Price>, messages: &Receiver<DisplayMessage>) {
    /// Four frames a second: a countdown moves, and a slow connection to the terminal keeps up.
    const FRAME: Duration = Duration::from_millis(250);
    let bar = screen().draw();
    loop {
        bar.set_message(lines::screen(&now(), price, width()).join("\n"));
        match messages.recv_timeout(FRAME) {
            Ok(DisplayMessage::Paused { .. }) | Err(RecvTimeoutError::Timeout) => {}
            Ok(DisplayMessage::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn print_lines(
    now: &dyn Fn() -> Snapshot,
    price: Option<Price>,
    messages: &Receiver<DisplayMessage>,
    pauses: bool,
) {
    /// Six lines a minute: enough to see that it lives, few enough to keep in a log.
    const PERIOD: Duration = Duration::from_secs(10);
    let mut next = Instant::now() + PERIOD;
    loop {
        match messages.recv_deadline(next) {
            Ok(DisplayMessage::Paused {
                key,
                wait,
                until,
                why,
            }) => {
                let key = (now().keys > 1).then_some(key);
                if pauses {
                    tell(&lines::pause(key, why, wait, until));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                tell(&lines::one_line(&now(), price));
                next += PERIOD;
            }
            Ok(DisplayMessage::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The columns of the terminal as it is now.
fn width() -> usize {
    console::Term::stderr()
        .size_checked()
        .map_or(80, |(_, columns)| columns.into())
}

/// Standard error, on which something may be drawn that must not be written over.
#[derive(Default)]
pub(super) struct Screen(Mutex<Option<ProgressBar>>);

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen")
    }
}

impl Screen {
    /// Takes the drawing away, lets `write` write, and draws again below.
    pub(super) fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        let drawn = self.0.lock().clone();
        match drawn {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the drawing away for good.
    pub(super) fn clear(&self) {
        let drawn = self.0.lock().take();
        if let Some(bar) = drawn {
            bar.finish_and_clear();
        }
    }

    fn draw(&self) -> ProgressBar {
        const HERTZ: u8 = 10;
        let target =
            ProgressDrawTarget::term_like_with_hz(Box::new(pane::TerminalPane::new()), HERTZ);
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is right"));
        *self.0.lock() = Some(bar.clone());
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_on_a_terminal_printed_elsewhere_and_hidden_by_quiet_unless_asked_for() {
        let text =
            |show, quiet, terminal| DisplayMode::choose(show, LogFormat::Text, quiet, terminal);
        assert_eq!(text(ShowProgress::Auto, false, true), DisplayMode::Live);
        assert_eq!(text(ShowProgress::Auto, false, false), DisplayMode::Lines);
        assert_eq!(text(ShowProgress::Auto, true, true), DisplayMode::Never);
        assert_eq!(text(ShowProgress::Always, true, true), DisplayMode::Live);
        assert_eq!(text(ShowProgress::Always, true, false), DisplayMode::Lines);
        assert_eq!(text(ShowProgress::Never, false, true), DisplayMode::Never);
        let json = DisplayMode::choose(ShowProgress::Auto, LogFormat::Json, false, false);
        assert_eq!(json, DisplayMode::LinesOnly);
    }
}
