//! What `run` and `queue work` have in common: a batch is set up, shown while it runs, and summed up.

use std::sync::Arc;

use log::Level;

use super::args::CallArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::{is_quiet, say};
use super::progress::ProgressDisplay;
use super::setup::Setup;
use super::share;
use super::stop::{self, Destination};
use super::summary::{self, EndLine};
use crate::api::Ask;
use crate::batch::{Batch, Summary};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::pacing::CallLimiter;

/// A batch that is set up.
pub(super) struct Session<'a> {
    calls: &'a CallArgs,
    pub(super) setup: Setup,
    /// Ends the batch from outside.
    pub(super) cancel: CancelToken,
    clock: Arc<dyn Clock>,
    limiter: Option<Arc<dyn CallLimiter>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(calls: &'a CallArgs) -> Result<Self, CommandError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let setup = Setup::new(calls)?;
        let limiter = share::connect(
            &calls.rate,
            &setup.clients,
            setup.settings.rate,
            calls.bounds.max_wait,
            clock.clone(),
        )?;
        Ok(Session {
            calls,
            setup,
            cancel: CancelToken::on(clock.clone()),
            clock,
            limiter,
        })
    }

    /// Runs the batch, which `prepare` completes and `run` runs, and shows it meanwhile.
    pub(super) fn carry_out<'b>(
        &'b self,
        prepare: impl FnOnce(Batch<'b>) -> Batch<'b>,
        run: impl FnOnce(Batch<'b>) -> Summary,
    ) -> Summary {
        let asks = self.setup.clients.iter().map(|client| client as &dyn Ask);
        let (clock, cancel) = (self.clock.clone(), self.cancel.clone());
        let mut batch = prepare(Batch::new(self.setup.settings, asks, clock, cancel));
        if let Some(limiter) = &self.limiter {
            batch = batch.limited_by(limiter.clone());
        }
        let meter = self.setup.meter.clone();
        let display = ProgressDisplay::start(self.calls, batch.view(), meter);
        run(batch.watched_by(display.watch()))
    }

    /// Tells people what became of the prompts and where the records are; returns the exit status.
    pub(super) fn sum_up(
        &self,
        summary: &Summary,
        records: &[EndLine],
        destination: Destination,
    ) -> Result<Exit, CommandError> {
        if !is_quiet() || summary.stop.is_some() {
            let keys = self.setup.clients.len() as u64;
            let limit = self.setup.rpm.map(|rpm| u64::from(rpm.get()) * keys);
            let mut text = summary::end(self.calls, limit, summary, records)?;
            if let Some(more) = stop::explain(summary, self.calls, destination)? {
                text += "\n";
                text += &more;
            }
            let fields = summary::fields(self.calls, summary);
            say(Level::Info, "ended", text, fields);
        }
        Ok(summary::exit(summary))
    }
}
