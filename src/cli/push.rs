//! `paceline queue push`: prompts from a file or a pipe, into a queue.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::args::PushArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::format::counted;
use super::input::{Input, PromptStream, in_a_thread};
use super::logging::inform;
use super::queue::{self, QueueStop};
use super::signals::watch_for_interrupts;
use super::stop::Destination;
use crate::cancel::CancelToken;
use crate::queue::Push;

pub(super) fn run(args: &PushArgs) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = queue::at(&args.queue)?;
    let input = Input::of_push(args)?;
    let checked = input.check(|_| ())?;
    watch_for_interrupts(&cancel, Destination::Pushed)?;
    let prompts = input.check_first(input.prompts(&cancel)?)?;
    let mut push = match queue::first(queue.push(), &cancel) {
        Ok(push) => push,
        Err(stop) => return queue::end(stop, Destination::Pushed),
    };
    checked.notes.iter().for_each(inform);
    let count = checked.count;
    let count = count.map_or_else(|| "prompts".to_owned(), |count| counted(count, "prompt"));
    inform(format!("{count} to the queue {queue}"));
    let pushed = add_all(&mut push, prompts, &cancel).and_then(|()| Ok(push.end(true)?));
    let Push { added, known, .. } = push;
    inform(format!("{added} added, {known} were there already"));
    let Err(stop) = pushed else {
        return Ok(Exit::Answered);
    };
    // If this fails, too, the push counts as broken off when its last heartbeat is old.
    let _ = push.end(false);
    queue::end(stop, Destination::Pushed)
}

/// Adds prompts as they come. A thread reads them, because a pipe may be silent while the queue wants to be told that
/// the push is alive.
fn add_all(push: &mut Push, prompts: PromptStream, cancel: &CancelToken) -> Result<(), QueueStop> {
    /// How soon Ctrl-C is noticed, and a pause in the input.
    const LOOK: Duration = Duration::from_millis(50);
    /// Prompts that keep coming are sent at least this often.
    const LATEST: Duration = Duration::from_secs(1);
    let receiver = in_a_thread(prompts);
    let mut flushed = cancel.clock().now();
    loop {
        let next = receiver.recv_timeout(LOOK);
        if cancel.is_cancelled() {
            return Err(QueueStop::interrupted());
        }
        let now = cancel.clock().now();
        let is_quiet = next.is_err();
        match next {
            Err(RecvTimeoutError::Disconnected) => return Ok(push.flush()?),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(prompt) => push.add(&prompt?)?,
        }
        let period = match push.is_flushed() {
            true => Push::BEAT,
            false => LATEST,
        };
        if now >= flushed + period || is_quiet && !push.is_flushed() {
            push.flush()?;
            flushed = now;
        }
    }
}
