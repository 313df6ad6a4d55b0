//! Whose key a call is made with, and which limiter grants its permit: the gate's own keys, or each client's.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::GateOptions;
use crate::api::{Key, Secrets};
use crate::clock::SystemClock;
use crate::pacing::{CallLimiter, KeyLimiter, KeyLimits};
use crate::practice::wire::WireRequest;

/// The headers in which clients send a key.
pub(super) const KEY_HEADERS: [&str; 4] =
    ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// The limiters of the keys.
#[derive(Debug)]
pub(super) struct GateKeys {
    /// What grants permits for the gate's own keys; `None` if clients bring theirs.
    own: Option<Arc<dyn CallLimiter>>,
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
        let keys = options.clients.iter().filter(|client| client.has_key());
        let keys = keys.count();
        let own = || {
            let limits = vec![options.limits; keys];
            let own: Arc<dyn CallLimiter> = Arc::new(KeyLimiter::new(SystemClock, limits));
            (keys > 0).then_some(own)
        };
        GateKeys {
            own: options.limiter.clone().or_else(own),
            open: Mutex::new((0..keys).collect()),
            limits: options.limits,
            clients: Mutex::default(),
        }
    }

    /// What grants the permit for this request.
    pub(super) fn limiter(&self, request: &WireRequest) -> Arc<dyn CallLimiter> {
        if let Some(own) = &self.own {
            return own.clone();
        }
        let sent = KEY_HEADERS.map(|name| request.header(name).unwrap_or_default());
        let mut clients = self.clients.lock();
        if clients.len() >= Self::MOST_CLIENTS {
            clients.retain(|_, limiter| Arc::strong_count(limiter) > 1);
        }
        let limiter = clients
            .entry(Sha256::digest(sent.join("\0")).into())
            .or_insert_with(|| Arc::new(KeyLimiter::new(SystemClock, [self.limits])));
        limiter.clone()
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
        let own = self.own.iter().map(|limiter| limiter.waiting());
        own.chain(clients).sum()
    }

    /// Calls a minute that the gate's own keys were found to allow.
    pub(super) fn found(&self) -> Option<f64> {
        let own = self.own.as_ref()?;
        let open = self.open.lock();
        let found = open.iter().filter_map(|key| own.found(*key));
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
