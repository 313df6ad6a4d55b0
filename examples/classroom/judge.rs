//! The judge of the exercises: shows what the server saw of the exhibit and of your code, and says what is still wrong.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{process, thread};

use parking_lot::Mutex;

use super::strip::{Seen, strip};
use super::{Behaviour, Classroom, INTERVAL, SECOND};

/// No exercise takes this long, in real time: something waits for ever.
const STANDSTILL: Duration = Duration::from_secs(20);

/// What most exercises ask you to write.
pub(crate) trait Limiter: Sync {
    /// Returns when the calling thread may make one call.
    fn wait(&self);

    /// A call was answered 429: lets nobody through for `time` from now.
    fn pause(&self, time: Duration);
}

pub(crate) struct Exercise {
    pub(crate) number: u32,
    pub(crate) behaviour: Behaviour,
    /// What is wrong with what the server saw.
    pub(crate) rules: fn(&[Seen]) -> Vec<String>,
    pub(crate) hint: &'static str,
}

impl Exercise {
    /// Runs the exhibit, then your code; succeeds if yours breaks no rule.
    pub(crate) fn run(&self, exhibit: impl Fn(&Classroom), yours: impl Fn(&Classroom)) -> ExitCode {
        stop_when_nothing_happens();
        let room = Classroom::with(self.behaviour.clone());
        exhibit(&room);
        println!("The exhibit, as the server saw it:\n\n{}", shown(&room));
        let complaints = (self.rules)(&room.seen());
        assert!(
            !complaints.is_empty(),
            "there is something wrong with the exhibit"
        );
        println!("What is wrong with it:\n{}", list(&complaints));
        let room = Classroom::with(self.behaviour.clone());
        let Err(panic) = catch(|| yours(&room)) else {
            return self.judge(&room);
        };
        println!("{panic}");
        self.try_again()
    }

    fn judge(&self, room: &Classroom) -> ExitCode {
        println!("Yours, as the server saw it:\n\n{}", shown(room));
        let complaints = (self.rules)(&room.seen());
        if complaints.is_empty() {
            println!("Right: exercise {} is solved.", self.number);
            return ExitCode::SUCCESS;
        }
        println!("What is still wrong:\n{}", list(&complaints));
        self.try_again()
    }

    fn try_again(&self) -> ExitCode {
        println!("Hint: {}", self.hint);
        println!("Try again: cargo run --example exercise_{}", self.number);
        ExitCode::FAILURE
    }
}

fn shown(room: &Classroom) -> String {
    let seen = room.seen();
    let first = seen.iter().find(|call| call.mark != '.');
    // Where the trouble begins late, the strip begins there.
    let late = first.map_or(0, |call| call.at.as_secs().saturating_sub(10) / 10 * 10);
    let from = if late > 50 { late } else { 0 };
    strip(&seen, Duration::from_secs(from))
}

fn list(complaints: &[String]) -> String {
    let lines = complaints
        .iter()
        .map(|complaint| format!("- {complaint}\n"));
    lines.collect()
}

/// Runs your code. A panic becomes a message.
fn catch(yours: impl FnOnce()) -> Result<(), String> {
    let place = Arc::new(Mutex::new(None));
    let noted = place.clone();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string);
        noted.lock().get_or_insert(location.unwrap_or_default());
    }));
    let ended = panic::catch_unwind(AssertUnwindSafe(yours));
    panic::set_hook(usual);
    let place = place.lock().take().unwrap_or_default();
    ended.map_err(|panic| match message(&*panic) {
        message if message.starts_with("not yet implemented") => {
            format!("Yours is not there yet: write it at {place}, instead of todo!().")
        }
        message => format!("Yours panicked at {place}: {message}"),
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

fn stop_when_nothing_happens() {
    thread::spawn(|| {
        thread::sleep(STANDSTILL);
        println!("Simulated time stands still: does yours loop without a call or a sleep?");
        process::exit(1);
    });
}

// ---- Rules ----------------------------------------------------------------------------------------------------------

pub(crate) fn count(seen: &[Seen], mark: char) -> usize {
    seen.iter().filter(|call| call.mark == mark).count()
}

/// All articles are there.
pub(crate) fn answers_all(seen: &[Seen], articles: usize) -> Option<String> {
    let got = count(seen, '.');
    (got != articles).then(|| format!("{got} articles came, of {articles}."))
}

/// Few calls are refused.
pub(crate) fn refused_at_most(seen: &[Seen], most: usize) -> Option<String> {
    let refused = count(seen, '#');
    let complaint = format!("{refused} calls were refused (#), and {most} would do.");
    (refused > most).then_some(complaint)
}

/// Calls are an interval apart.
pub(crate) fn keeps_the_interval(seen: &[Seen]) -> Option<String> {
    let close = |pair: &&[Seen]| pair[1].at - pair[0].at < INTERVAL - SECOND / 10;
    let pairs = seen.windows(2).filter(close).count();
    let first = seen.windows(2).find(close)?[1].at.as_secs();
    Some(format!(
        "{pairs} calls came less than 6 s after the call before, the first of them after {first} s."
    ))
}

/// No time is wasted.
pub(crate) fn last_call_by(seen: &[Seen], minutes: f64) -> Option<String> {
    let last = seen.last()?.at.as_secs_f64() / 60.0;
    let complaint = format!("the last call came after {last:.1} min; {minutes:.1} min are enough.");
    (last > minutes).then_some(complaint)
}

/// While the server said "wait", and afterwards.
pub(crate) fn pause_lasts(seen: &[Seen], from: Duration, to: Duration) -> Vec<String> {
    let early = seen
        .iter()
        .filter(|call| call.at > from && call.at < to)
        .count();
    let next = seen.iter().find(|call| call.at >= to).map(|call| call.at);
    let late = next.filter(|next| *next > to + INTERVAL);
    let (from, to) = (from.as_secs(), to.as_secs());
    let early = (early > 0).then(|| {
        format!("everyone should have paused from {from} s to {to} s, and {early} calls came.")
    });
    let late = late.map(|next| {
        format!(
            "the pause ends at {to} s, and the next call came only at {} s.",
            next.as_secs()
        )
    });
    early.into_iter().chain(late).collect()
}
