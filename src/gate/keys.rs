//! Whose key a call is made with, and which limiter grants its permit: the gate's own keys, or each client's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::GateOptions;
use crate::api::{ExtraHeader, Key, Secrets};
use crate::clock::SystemClock;
use crate::pacing::{CallLimiter, KeyLimiter, KeyLimits};
use crate::practice::wire::WireRequest;

/// The headers in which clients send a key.
pub(super) const KEY_HEADERS: [&str; 4] =
    ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// The keys and their limiters.
#[derive(Debug)]
pub(super) struct GateKeys {
    /// The header of each of the gate's own keys, which replaces the client's; none if clients bring theirs.
    pub(super) headers: Vec<ExtraHeader>,
    /// What grants permits for them.
    own: Arc<dyn CallLimiter>,
    /// The own keys that are not retired.
    open: Mutex<BTreeSet<usize>>,
    limits: KeyLimits,
    /// By the hash of a client's key.
    clients: Mutex<HashMap<[u8; 32], Arc<KeyLimiter>>>,
}

impl GateKeys {
    /// A client's limiter that nobody waits for is forgotten when there are more than this many.
    const MOST_CLIENTS: usize = 1000;

    pub(super) fn new(options: &GateOptions) -> Self {
        let api = options.api.api();
        let own = || {
            let keys = options.keys.len().max(1);
            Arc::new(KeyLimiter::new(SystemClock, vec![options.limits; keys]))
        };
        let header = |key: &Key| {
            let (name, value) = api.key_header(key);
            ExtraHeader::new(&name, &value, true).expect("a key can be sent")
        };
        GateKeys {
            headers: options.keys.iter().map(header).collect(),
            own: options.limiter.clone().unwrap_or_else(|| own()),
            open: Mutex::new((0..options.keys.len()).collect()),
            limits: options.limits,
            clients: Mutex::default(),
        }
    }

    /// What grants the permit for this request.
    pub(super) fn limiter(&self, request: &WireRequest) -> Arc<dyn CallLimiter> {
        if !self.headers.is_empty() {
            return self.own.clone();
        }
        let mut hash = Sha256::new();
        for name in KEY_HEADERS {
            hash.update(request.header(name).unwrap_or_default());
            hash.update([0]);
        }
        let mut clients = self.clients.lock();
        if clients.len() >= Self::MOST_CLIENTS {
            clients.retain(|_, limiter| Arc::strong_count(limiter) > 1);
        }
        let limiter = clients
            .entry(hash.finalize().into())
            .or_insert_with(|| Arc::new(KeyLimiter::new(SystemClock, [self.limits])));
        limiter.clone()
    }

    /// How many keys share one line.
    pub(super) fn count(&self) -> usize {
        self.headers.len().max(1)
    }

    /// Retires a key, unless it is the last one. True if the caller may try another.
    pub(super) fn retire(&self, key: usize) -> bool {
        let mut open = self.open.lock();
        if open.len() > 1 {
            open.remove(&key);
        }
        !open.contains(&key) && !open.is_empty()
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        let clients = self.clients.lock();
        let clients = clients.values().map(|limiter| limiter.waiting());
        self.own.waiting() + clients.sum::<usize>()
    }

    /// Calls a minute that the gate's own keys were found to allow.
    pub(super) fn found(&self) -> Option<f64> {
        let found = (0..self.count()).filter_map(|key| self.own.found(key));
        found.reduce(|one, other| one + other)
    }
}

/// Whether a request has the gate's token: in its own header, or where clients send a key if that is not passed on.
pub(super) fn has_token(request: &WireRequest, token: &Key, key_is_passed_on: bool) -> bool {
    let digest = |text: &str| Sha256::digest(text); // compares in the same time whatever was sent
    let is_token = |name: &str| {
        let sent = sent(request, name);
        sent.is_some_and(|sent| digest(sent) == digest(token.expose()))
    };
    is_token("x-paceline-token") || (!key_is_passed_on && KEY_HEADERS.into_iter().any(is_token))
}

/// The client's own keys, to hide them where the API repeats them.
pub(super) fn secrets(request: &WireRequest) -> Secrets {
    Secrets::new(KEY_HEADERS.iter().filter_map(|name| sent(request, name)))
}

/// What a client sent in a header for keys.
fn sent<'a>(request: &'a WireRequest, name: &str) -> Option<&'a str> {
    let value = request.header(name)?;
    Some(value.strip_prefix("Bearer ").unwrap_or(value))
}
