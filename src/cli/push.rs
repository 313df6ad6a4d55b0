//! `paceline push`: prompts in, from a file or a pipe, into a queue.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::args;
use super::unusable::Unusable;
use super::{Exit, input, queue, run, tell};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::prompts::{Prompt, PromptError};
use crate::queue::{Push, Pushed, QueueError};
use crate::report::counted;

/// Why a push ends before its end.
enum Stop {
    Input(PromptError),
    Queue(QueueError),
    Interrupted,
}

pub(super) fn run(args: &args::Push, quiet: bool) -> Result<Exit, Unusable> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cancel = CancelToken::on(clock);
    let queue = queue::at(&args.which)?;
    let (prompts, count) = input::to_push(args, &cancel)?;
    let mut push = queue.push()?;
    run::watch_for_interrupts(&cancel)?;
    if !quiet {
        let count = count.map_or_else(|| "prompts".to_owned(), |count| counted(count, "prompt"));
        tell(&format!("{count} to the queue {}", queue.named()));
    }
    let stop = put_in(&mut push, prompts, &cancel)
        .and_then(|()| push.finish().map_err(Stop::Queue))
        .err();
    let Pushed { added, known } = push.pushed();
    if !quiet {
        tell(&format!("{added} added, {known} were there already"));
    }
    match stop {
        None => Ok(Exit::Answered),
        // Of a mistake nothing should come, not even a push that others wait for.
        Some(Stop::Queue(error @ (QueueError::Changed { .. } | QueueError::TooFar { .. }))) => {
            let _ = push.break_off();
            Err(error.into())
        }
        Some(stop) => {
            let _ = push.break_off();
            Ok(say_why(&stop))
        }
    }
}

/// Puts in what comes, as soon as no more comes for a moment.
fn put_in(
    push: &mut Push,
    prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
    cancel: &CancelToken,
) -> Result<(), Stop> {
    let (to_us, come) = bounded(1000);
    thread::scope(|scope| {
        scope.spawn(move || {
            prompts
                .map_while(|prompt| to_us.send(prompt).ok())
                .for_each(drop)
        });
        let put_in = take_in(push, come, cancel);
        cancel.cancel(); // whoever still reads a pipe stops
        put_in
    })
}

fn take_in(
    push: &mut Push,
    come: Receiver<Result<Prompt, PromptError>>,
    cancel: &CancelToken,
) -> Result<(), Stop> {
    const LOOK: Duration = Duration::from_millis(50);
    const LATEST: Duration = Duration::from_secs(1);
    let mut flushed = cancel.clock().now();
    loop {
        let next = come.recv_timeout(LOOK);
        if cancel.is_cancelled() {
            return Err(Stop::Interrupted);
        }
        let (now, quiet) = (cancel.clock().now(), next.is_err());
        match next {
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(prompt) => push
                .add(&prompt.map_err(Stop::Input)?)
                .map_err(Stop::Queue)?,
        }
        let due = if push.is_flushed() {
            Push::BEAT
        } else {
            LATEST
        };
        if now >= flushed + due || quiet && !push.is_flushed() {
            push.flush().map_err(Stop::Queue)?;
            flushed = now;
        }
    }
}

fn say_why(stop: &Stop) -> Exit {
    let (why, exit) = match stop {
        Stop::Input(error) => (
            format!("{error}\nmend the input from that line on"),
            Exit::Stopped,
        ),
        Stop::Queue(error) => (error.to_string(), Exit::Stopped),
        Stop::Interrupted => ("interrupted".to_owned(), Exit::Interrupted),
    };
    tell(&format!(
        "stopped: {why}\npush the same again to go on: what is in the queue stays there"
    ));
    exit
}
