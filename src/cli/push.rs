//! `paceline queue push`: prompts from a file or a pipe, into a queue.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::args::PushArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::input::{Input, PromptStream, in_a_thread};
use super::logging::inform;
use super::queue;
use super::signals::watch_for_interrupts;
use super::stop::{Destination, ended};
use crate::cancel::CancelToken;
use crate::queue::Push;
use crate::text::counted;

pub(super) fn run(args: &PushArgs) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = queue::at(&args.queue)?;
    let input = Input::of_push(args)?;
    let checked = input.check(|_| ())?;
    watch_for_interrupts(&cancel, Destination::Pushed)?;
    let prompts = input.check_first(input.prompts(&cancel)?)?;
    let mut push = queue::first(queue.push(), &cancel, Destination::Pushed)?;
    checked.notes.iter().for_each(inform);
    let count = checked.count;
    let count = count.map_or_else(|| "prompts".to_owned(), |count| counted(count, "prompt"));
    inform(format!("{count} to the queue {queue}"));
    let pushed = add_all(&mut push, prompts, &cancel);
    let ended = push.end(pushed.is_ok());
    let Push { added, known, .. } = push;
    inform(format!("{added} added, {known} were there already"));
    // If the end of a push that was broken off fails, too, it counts as that when its last heartbeat is old.
    pushed?;
    ended.map_err(queue::ends(Destination::Pushed))?;
    Ok(Exit::Answered)
}

/// Adds prompts as they come. A thread reads them, because a pipe may be silent while the queue wants to be told that
/// the push is alive.
fn add_all(
    push: &mut Push,
    prompts: PromptStream,
    cancel: &CancelToken,
) -> Result<(), CommandError> {
    /// How soon Ctrl-C is noticed, and a pause in the input.
    const LOOK: Duration = Duration::from_millis(50);
    /// Prompts that keep coming are sent at least this often.
    const LATEST: Duration = Duration::from_secs(1);
    let broken = queue::ends(Destination::Pushed);
    let receiver = in_a_thread(prompts);
    let mut flushed = cancel.clock().now();
    loop {
        let next = receiver.recv_timeout(LOOK);
        if cancel.is_cancelled() {
            return Err(ended("interrupted", "", Destination::Pushed));
        }
        let now = cancel.clock().now();
        let is_quiet = next.is_err();
        match next {
            Err(RecvTimeoutError::Disconnected) => return push.flush().map_err(broken),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Ok(prompt)) => push.add(&prompt).map_err(broken)?,
            Ok(Err(error)) => return Err(ended("input", error, Destination::Pushed)),
        }
        let period = match push.is_flushed() {
            true => Push::BEAT,
            false => LATEST,
        };
        if now >= flushed + period || is_quiet && !push.is_flushed() {
            push.flush().map_err(broken)?;
            flushed = now;
        }
    }
}
