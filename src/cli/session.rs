//! What `run` and `queue work` have in common: a batch is set up, shown while it runs, and summed up.

use std::sync::Arc;

use log::Level;

use super::args::CallArgs;
use super::error::{Checks, CommandError};
use super::exit::Exit;
use super::logging::{is_quiet, say};
use super::progress::ProgressDisplay;
use super::stop::{self, Destination};
use super::summary::{self, EndLine};
use super::{endpoints, setup, share};
use crate::api::{Ask, Client, StreamMeter};
use crate::batch::{Batch, Settings, Summary};
use crate::cancel::CancelToken;
use crate::pacing::CallLimiter;
use crate::practice::Server;

/// A batch that is set up: whom it calls, and how.
pub(super) struct Session<'a> {
    pub(super) calls: &'a CallArgs,
    /// One for each key; they differ in nothing else.
    pub(super) clients: Vec<Client>,
    pub(super) settings: Settings,
    /// Prompts go through the provider's batch endpoint.
    pub(super) is_bulk: bool,
    /// Ends the batch from outside.
    pub(super) cancel: CancelToken,
    /// It serves as long as this lives.
    _practice: Option<Server>,
    /// Counts the tokens of streams.
    meter: Arc<StreamMeter>,
    /// The rate that is shared with other processes.
    limiter: Option<Arc<dyn CallLimiter>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(calls: &'a CallArgs) -> Result<Self, CommandError> {
        let mut checks = Checks::default();
        let settings = checks.of(setup::settings(calls));
        let practice = calls
            .practice
            .then(|| setup::start_practice(setup::rpm(calls), &calls.rate));
        let practice = practice.transpose()?;
        let endpoints = checks.of(endpoints::of(&calls.server, practice.as_ref(), true));
        let (Some(mut settings), Some(endpoints)) = (settings, endpoints) else {
            return Err(checks.error());
        };
        let connections = setup::limit_workers(&mut settings, calls, endpoints.len())?;
        let params = setup::params(calls);
        let clients = endpoints::clients(&calls.server, &endpoints, &params, connections)?;
        let meter = Arc::default();
        let clients = clients.into_iter();
        let clients = clients.map(|client| setup::completed(calls, client, &meter));
        let clients = clients.collect::<Result<Vec<_>, _>>()?;
        let cancel = CancelToken::new();
        let (wait, clock) = (calls.bounds.max_wait, cancel.clock().clone());
        let limiter = share::connect(&calls.rate, &clients, settings.rate, wait, clock)?;
        Ok(Session {
            calls,
            clients,
            settings,
            is_bulk: false,
            cancel,
            _practice: practice,
            meter,
            limiter,
        })
    }

    /// Runs the batch, which `prepare` completes and `run` runs, and shows it meanwhile.
    pub(super) fn carry_out<'b>(
        &'b self,
        prepare: impl FnOnce(Batch<'b>) -> Batch<'b>,
        run: impl FnOnce(Batch<'b>) -> Summary,
    ) -> Summary {
        let asks = self.clients.iter().map(|client| client as &dyn Ask);
        let (clock, cancel) = (self.cancel.clock().clone(), self.cancel.clone());
        let mut batch = prepare(Batch::new(self.settings, asks, clock, cancel));
        if let Some(limiter) = &self.limiter {
            batch = batch.limited_by(limiter.clone());
        }
        let meter = self.calls.streams.stream.then(|| self.meter.clone());
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
            let keys = self.clients.len() as u64;
            let limit = setup::rpm(self.calls).map(|rpm| u64::from(rpm.get()) * keys);
            let mut text = summary::end(self.calls, limit, summary, records);
            if let Some(more) = stop::explain(summary, self.calls, destination) {
                text += "\n";
                text += &more;
            }
            let fields = summary::fields(self.calls, summary);
            say(Level::Info, "ended", text, fields);
        }
        Ok(summary::exit(summary))
    }
}
