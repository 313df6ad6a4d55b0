//! `paceline queue push`: prompts from a file or a pipe, into a queue.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::args::PushArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::format::counted;
use super::input::{Input, PromptStream};
use super::logging::tell;
use super::{queue, run};
use crate::cancel::CancelToken;
use crate::prompts::{Prompt, PromptError};
use crate::queue::{Push, QueueError};

/// Why a push ends early.
enum PushStop {
    Input(PromptError),
    Queue(QueueError),
    Interrupted,
}

pub(super) fn run(args: &PushArgs, quiet: bool) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = queue::at(&args.queue)?;
    let input = Input::of_push(args)?;
    let count = input.check(|_| ())?;
    run::watch_for_interrupts(&cancel)?;
    let prompts = input.check_first(input.prompts(&cancel)?)?;
    let mut push = queue.push().map_err(queue::explain)?;
    if !quiet {
        let count = count.map_or_else(|| "prompts".to_owned(), |count| counted(count, "prompt"));
        tell(&format!("{count} to the queue {}", queue.named()));
    }
    let pushed = add_all(&mut push, prompts, &cancel)
        .and_then(|()| push.finish().map(drop).map_err(PushStop::Queue));
    if !quiet {
        let pushed = push.pushed();
        tell(&format!(
            "{} added, {} were there already",
            pushed.added, pushed.known
        ));
    }
    let Err(stop) = pushed else {
        return Ok(Exit::Answered);
    };
    let _ = push.break_off();
    match stop {
        PushStop::Queue(error @ (QueueError::Changed { .. } | QueueError::TooFar { .. })) => {
            Err(queue::explain(error))
        }
        stop => Ok(tell_why(&stop)),
    }
}

fn tell_why(stop: &PushStop) -> Exit {
    let why = match stop {
        PushStop::Input(error) => format!("{error}\nfix the input from that line on"),
        PushStop::Queue(error) => error.to_string(),
        PushStop::Interrupted => "interrupted".to_owned(),
    };
    tell(&format!(
        "stopped: {why}\nrun the same command again; it continues, and prompts in the queue stay there"
    ));
    match stop {
        PushStop::Interrupted => Exit::Interrupted,
        _ => Exit::Stopped,
    }
}

/// Adds prompts as they come. A thread reads them, because a pipe may be silent while the queue wants to be told that
/// the push is alive.
fn add_all(push: &mut Push, prompts: PromptStream, cancel: &CancelToken) -> Result<(), PushStop> {
    let (sender, receiver) = bounded(1000);
    thread::scope(|scope| {
        scope.spawn(move || {
            for prompt in prompts {
                if sender.send(prompt).is_err() {
                    return;
                }
            }
        });
        let added = add_received(push, &receiver, cancel);
        cancel.cancel(); // ends the thread, should it still read a pipe
        drop(receiver);
        added
    })
}

fn add_received(
    push: &mut Push,
    receiver: &Receiver<Result<Prompt, PromptError>>,
    cancel: &CancelToken,
) -> Result<(), PushStop> {
    /// How soon Ctrl-C is noticed, and a pause in the input.
    const LOOK: Duration = Duration::from_millis(50);
    /// Prompts that keep coming are sent at least this often.
    const LATEST: Duration = Duration::from_secs(1);
    let mut flushed = cancel.clock().now();
    loop {
        let next = receiver.recv_timeout(LOOK);
        if cancel.is_cancelled() {
            return Err(PushStop::Interrupted);
        }
        let now = cancel.clock().now();
        let is_quiet = next.is_err();
        match next {
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(prompt) => push
                .add(&prompt.map_err(PushStop::Input)?)
                .map_err(PushStop::Queue)?,
        }
        let period = if push.is_flushed() {
            Push::BEAT
        } else {
            LATEST
        };
        if now >= flushed + period || is_quiet && !push.is_flushed() {
            push.flush().map_err(PushStop::Queue)?;
            flushed = now;
        }
    }
}
