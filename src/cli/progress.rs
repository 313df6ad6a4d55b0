//! The progress of a batch: drawn a few times a second on a terminal, elsewhere a line every ten seconds.
//!
//! The text is a pure function of a [`Snapshot`](crate::batch::Snapshot) and a width. Around it is a thread that takes a
//! snapshot now and then until the batch ends; the workers do nothing for it.

mod eta;
mod lines;

use std::collections::VecDeque;
use std::env;
use std::io::{self, IsTerminal, stderr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::{Term, truncate_str};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{Level, log_enabled};
use parking_lot::Mutex;

use super::args::{CallArgs, ShowProgress};
use super::logging::{is_quiet, screen, tell};
use super::template::TextLook;
use crate::api::StreamMeter;
use crate::batch::{Event, View};
use crate::clock::{Clock, SystemClock};

/// Four frames a second: a countdown moves, and a slow connection to the terminal keeps up.
const FRAME: Duration = Duration::from_millis(250);

/// Six lines a minute: enough to see that it lives, few enough to keep in a log.
const PERIOD: Duration = Duration::from_secs(10);

/// How the progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DisplayMode {
    /// Drawn on a terminal.
    Live,
    /// A line every ten seconds, and one for each long pause unless the log tells of it.
    Lines,
    Never,
}

impl DisplayMode {
    fn choose(show: ShowProgress, quiet: bool, terminal: bool) -> Self {
        match show {
            ShowProgress::Never => DisplayMode::Never,
            ShowProgress::Auto if quiet => DisplayMode::Never,
            _ if terminal => DisplayMode::Live,
            _ => DisplayMode::Lines,
        }
    }
}

/// Shows a batch until it is dropped; then a terminal is as it was before.
#[derive(Debug)]
pub(super) struct ProgressDisplay {
    messages: Sender<DisplayMessage>,
    view: Arc<View>,
    /// Whether long pauses are told.
    pauses: bool,
    thread: Option<JoinHandle<()>>,
}

enum DisplayMessage {
    /// A pause has begun, in words.
    Paused(String),
    End,
}

impl ProgressDisplay {
    /// Starts to show the batch of this view, whose streams the meter counts. If the system has no thread for it, nothing is
    /// shown.
    pub(super) fn start(args: &CallArgs, view: Arc<View>, meter: Option<Arc<StreamMeter>>) -> Self {
        let mode = DisplayMode::choose(args.watch.progress, is_quiet(), can_draw());
        let (messages, receiver) = bounded(16);
        let (shown, cost) = (view.clone(), args.cost.clone());
        let now = move || shown.at(SystemClock.now());
        let mut rate = StreamRate::default();
        let mut streamed = move || Some(rate.a_second(meter.as_ref()?.so_far(), Instant::now()));
        let show = move || match mode {
            DisplayMode::Live => {
                let mut draw = || screen().draw(lines::screen(&now(), &cost, streamed(), look()));
                screen().start();
                draw();
                follow(&receiver, FRAME, draw);
            }
            DisplayMode::Lines => follow(&receiver, PERIOD, || {
                tell(lines::one_line(&now(), &cost, streamed()));
            }),
            DisplayMode::Never => {}
        };
        let thread = thread::Builder::new().name("display".into()).spawn(show);
        ProgressDisplay {
            messages,
            view,
            pauses: mode == DisplayMode::Lines
                && !log_enabled!(target: "paceline::batch", Level::Info),
            thread: thread.ok(),
        }
    }

    /// What is to watch the batch, so that long pauses are told at once. A full channel drops the news: the workers
    /// never wait for the display.
    pub(super) fn watch(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        /// A shorter pause is over before it is read.
        const LONG: Duration = Duration::from_secs(5);
        let (messages, view) = (self.messages.clone(), self.view.clone());
        let pauses = self.pauses;
        move |event: &Event<'_>| match *event {
            Event::Paused { key, wait, why, .. } if pauses && wait >= LONG => {
                let key = (view.at(SystemClock.now()).keys > 1).then_some(key);
                let pause = lines::pause(key, why, wait);
                let _ = messages.try_send(DisplayMessage::Paused(pause));
            }
            _ => {}
        }
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

/// Whether standard error is a terminal that can be drawn on.
pub(super) fn can_draw() -> bool {
    let is_dumb = env::var_os("TERM").is_some_and(|name| name == "dumb");
    stderr().is_terminal() && !is_dumb
}

/// Shows the batch now and then, until it ends, and tells of pauses at once.
fn follow(messages: &Receiver<DisplayMessage>, period: Duration, mut show: impl FnMut()) {
    let mut next = Instant::now() + period;
    loop {
        match messages.recv_deadline(next) {
            Ok(DisplayMessage::Paused(pause)) => tell(pause),
            Err(RecvTimeoutError::Timeout) => {
                show();
                next += period;
            }
            Ok(DisplayMessage::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// How fast a number grows, over the last seconds.
#[derive(Debug, Default)]
struct StreamRate(VecDeque<(Instant, f64)>);

impl StreamRate {
    /// Long enough that the pieces of a few streams make a steady number, short enough to see a change.
    const WINDOW: Duration = Duration::from_secs(5);

    /// The rate now that the number is `count`.
    fn a_second(&mut self, count: f64, now: Instant) -> f64 {
        self.0.push_back((now, count));
        // The second one may be the oldest: then the first is not needed.
        while self
            .0
            .get(1)
            .is_some_and(|(at, _)| now - *at >= Self::WINDOW)
        {
            self.0.pop_front();
        }
        let (since, before) = self.0[0];
        let seconds = (now - since).as_secs_f64();
        if seconds > 0.0 {
            (count - before) / seconds
        } else {
            0.0
        }
    }
}

/// The terminal as it is now.
fn look() -> TextLook {
    let size = Term::stderr().size_checked();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| env::var(name).unwrap_or_default());
    let locale = locale.into_iter().find(|locale| !locale.is_empty());
    let is_utf8 = |locale: String| locale.to_lowercase().replace('-', "").contains("utf8");
    TextLook {
        width: size.map_or(80, |(_, columns)| columns.into()),
        unicode: locale.is_some_and(is_utf8),
        colour: console::colors_enabled_stderr(),
    }
}

/// Standard error, with a few lines drawn at its end that must not be written over.
///
/// The cursor stands at the beginning of the last line, and no line is filled up to the edge of the terminal, because
/// there the terminal would add a typed `^C` and break the line: the drawing could not be taken away any more. That is
/// why this does not use `indicatif`, which does both.
#[derive(Debug, Default)]
pub(super) struct Screen(Mutex<Option<Vec<String>>>);

impl Screen {
    /// Takes the drawing away, lets `write` write, and draws again below.
    pub(super) fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        let drawn = self.0.lock();
        around(drawn.as_deref().unwrap_or_default(), write)
    }

    /// The same, also if the thread that writes now does not come to an end.
    pub(super) fn write_soon(&self, write: impl FnOnce()) {
        const SOON: Duration = Duration::from_millis(200);
        let drawn = self.0.try_lock_for(SOON);
        let lines = drawn.as_ref().and_then(|drawn| drawn.as_deref());
        around(lines.unwrap_or_default(), write);
    }

    /// From now on something may be drawn.
    pub(super) fn start(&self) {
        *self.0.lock() = Some(Vec::new());
        let _ = Term::stderr().hide_cursor();
    }

    /// Draws these lines in place of the last ones. They must be narrower than the terminal.
    pub(super) fn draw(&self, lines: Vec<String>) {
        if let Some(drawn) = &mut *self.0.lock() {
            let _ = redraw(drawn, &lines);
            *drawn = lines;
        }
    }

    /// Draws as much of a text as the terminal has room for.
    pub(super) fn draw_text(&self, text: &str) {
        let (rows, columns) = Term::stderr().size();
        let width = usize::from(columns).saturating_sub(1);
        let lines = text.lines().take(usize::from(rows).saturating_sub(1));
        self.draw(
            lines
                .map(|line| truncate_str(line, width, "…").into())
                .collect(),
        );
    }

    /// Takes the drawing away for good.
    pub(super) fn clear(&self) {
        if let Some(drawn) = self.0.lock().take() {
            let _ = redraw(&drawn, &[]);
            let _ = Term::stderr().show_cursor();
        }
    }
}

/// Takes lines away, writes, and draws them again below.
fn around<T>(lines: &[String], write: impl FnOnce() -> T) -> T {
    let _ = redraw(lines, &[]);
    let written = write();
    let _ = redraw(&[], lines);
    written
}

/// Draws new lines in place of old ones, in one write.
fn redraw(old: &[String], new: &[String]) -> io::Result<()> {
    if old.is_empty() && new.is_empty() {
        return Ok(());
    }
    let term = Term::buffered_stderr();
    term.move_cursor_up(old.len().saturating_sub(1))?;
    // A terminal that has become narrower has broken old lines into more: they stand below.
    term.clear_to_end_of_screen()?;
    term.write_str(&new.join("\r\n"))?;
    term.write_str("\r")?;
    term.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_on_a_terminal_printed_elsewhere_and_hidden_by_quiet_unless_asked_for() {
        let choose = DisplayMode::choose;
        assert_eq!(choose(ShowProgress::Auto, false, true), DisplayMode::Live);
        assert_eq!(choose(ShowProgress::Auto, false, false), DisplayMode::Lines);
        assert_eq!(choose(ShowProgress::Auto, true, true), DisplayMode::Never);
        assert_eq!(choose(ShowProgress::Always, true, true), DisplayMode::Live);
        assert_eq!(
            choose(ShowProgress::Always, true, false),
            DisplayMode::Lines
        );
        assert_eq!(choose(ShowProgress::Never, false, true), DisplayMode::Never);
    }

    #[test]
    fn the_rate_of_streams_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut rate = StreamRate::default();
        let mut at = |ms: u64, count: f64| {
            rate.a_second(count, start + Duration::from_millis(ms))
                .round()
        };
        assert_eq!(at(0, 0.0), 0.0, "nothing is known yet");
        assert_eq!(at(500, 50.0), 100.0);
        assert_eq!(at(5_000, 500.0), 100.0);
        let steady: Vec<_> = (21..80)
            .map(|n| at(n * 250, 500.0 + (n - 20) as f64 * 10.0))
            .collect();
        assert_eq!(
            steady.last(),
            Some(&40.0),
            "the first seconds are forgotten"
        );
        assert_eq!(at(60_000, 1_100.0), 0.0, "nothing comes any more");
    }
}
