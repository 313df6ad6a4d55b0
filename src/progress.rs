//! The display: how a batch stands, a few times a second on a terminal, and every ten seconds in a line elsewhere.
//!
//! What is said are pure functions of a [`Snapshot`](crate::batch::Snapshot) and a width. Around them is a thread that
//! waits for the end of the batch, and between whiles looks at the batch's view; the workers do nothing for it.

mod eta;
mod pane;
mod words;

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use crate::batch::{Event, Price, View, Watch, Why};
use crate::clock::Clock;

/// How a batch is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Look {
    /// Drawn anew a few times a second, on a terminal.
    Live,
    /// A line every ten seconds, and one for each long hold.
    Lines,
    /// A line every ten seconds: somebody else tells of holds.
    LinesOnly,
    /// Not at all.
    Never,
}

/// Standard error, on which something may be drawn that others must not write over. Clones are the same screen.
#[derive(Clone, Default)]
pub struct Screen(Arc<Mutex<Option<ProgressBar>>>);

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen")
    }
}

impl Screen {
    /// Takes away what is drawn, lets somebody write, and draws it again below.
    pub fn write<T>(&self, say: impl FnOnce() -> T) -> T {
        let drawn = self.0.lock().clone();
        match drawn {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    /// Takes away what is drawn, for good.
    pub fn clear(&self) {
        let drawn = self.0.lock().take();
        drawn.into_iter().for_each(|bar| bar.finish_and_clear());
    }

    fn draw_on(&self) -> ProgressBar {
        const HERTZ: u8 = 10;
        let bar = ProgressBar::with_draw_target(
            None,
            ProgressDrawTarget::term_like_with_hz(Box::new(pane::Pane::new()), HERTZ),
        );
        let plain = ProgressStyle::with_template("{msg}").expect("the template is right");
        bar.set_style(plain);
        *self.0.lock() = Some(bar.clone());
        bar
    }
}

/// What the thread that shows is told.
enum News {
    Held {
        key: usize,
        wait: Duration,
        until: SystemTime,
        why: Why,
    },
    End,
}

/// Shows a batch until it is dropped; then nothing is left of it.
#[derive(Debug)]
pub struct Display {
    news: Sender<News>,
    shows: Option<JoinHandle<()>>,
    screen: Screen,
}

/// Tells the display of holds; a bell that is rung already is not waited for.
struct Bell(Sender<News>);

impl Watch for Bell {
    fn see(&self, event: &Event<'_>) {
        /// Whoever looks at a log need not be told of less.
        const LONG: Duration = Duration::from_secs(5);
        if let Event::Held {
            key,
            wait,
            until,
            why,
        } = *event
            && wait >= LONG
        {
            let _ = self.0.try_send(News::Held {
                key,
                wait,
                until,
                why,
            });
        }
    }
}

impl Display {
    /// Begins to show the batch of this view; lines for people go to `say`. Without a thread nothing is shown.
    #[must_use]
    pub fn start(
        look: Look,
        price: Option<Price>,
        screen: &Screen,
        clock: Arc<dyn Clock>,
        view: Arc<View>,
        say: impl Fn(&str) + Send + 'static,
    ) -> Self {
        let (news, comes) = bounded(16);
        let shown = Shown { view, price, clock };
        let on = screen.clone();
        let body = move || match look {
            Look::Live => shown.draw(&on.draw_on(), &comes),
            Look::Lines => shown.tell(&comes, true, say),
            Look::LinesOnly => shown.tell(&comes, false, say),
            Look::Never => {}
        };
        let shows = thread::Builder::new()
            .name("display".into())
            .spawn(body)
            .ok();
        Display {
            news,
            shows,
            screen: screen.clone(),
        }
    }

    /// What is to watch the batch, so that long holds are told of at once.
    #[must_use]
    pub fn watch(&self) -> Arc<dyn Watch> {
        Arc::new(Bell(self.news.clone()))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.news.send(News::End);
        if let Some(shows) = self.shows.take() {
            let _ = shows.join();
        }
        self.screen.clear();
    }
}

/// What is shown.
struct Shown {
    view: Arc<View>,
    price: Option<Price>,
    clock: Arc<dyn Clock>,
}

impl Shown {
    fn draw(&self, bar: &ProgressBar, news: &Receiver<News>) {
        const FRAME: Duration = Duration::from_millis(250);
        loop {
            let lines = words::lines(&self.view.at(self.clock.now()), self.price, width());
            bar.set_message(lines.join("\n"));
            match news.recv_timeout(FRAME) {
                Ok(News::Held { .. }) | Err(RecvTimeoutError::Timeout) => {}
                Ok(News::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell(&self, news: &Receiver<News>, holds: bool, say: impl Fn(&str)) {
        const PAUSE: Duration = Duration::from_secs(10);
        let mut next = Instant::now() + PAUSE;
        loop {
            match news.recv_deadline(next) {
                Ok(News::Held {
                    key,
                    wait,
                    until,
                    why,
                }) if holds => {
                    let keys = self.view.at(self.clock.now()).keys;
                    say(&words::hold((keys > 1).then_some(key), why, wait, until));
                }
                Ok(News::Held { .. }) => {}
                Err(RecvTimeoutError::Timeout) => {
                    say(&words::line(&self.view.at(self.clock.now()), self.price));
                    next += PAUSE;
                }
                Ok(News::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// The columns of the terminal, whatever it is now.
fn width() -> usize {
    console::Term::stderr()
        .size_checked()
        .map_or(80, |(_, columns)| columns.into())
}
