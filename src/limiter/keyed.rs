//! One limiter for each customer, host or account.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use super::{Rate, RateLimiter};
use crate::sync::Mutex;

/// Limiters by key, made when they are first asked for.
///
/// ```
/// use paceline::{Rate, limiter::Keyed};
///
/// let customers = Keyed::new(Rate::per_minute(60));
/// let permit = customers.get(&"ann").acquire();
/// assert!(customers.get(&"ann").try_acquire().is_err()); // the same limiter
/// assert!(customers.get(&"bob").try_acquire().is_ok()); // another
/// # drop(permit);
/// ```
pub struct Keyed<K> {
    make: Box<dyn Fn(&K) -> RateLimiter + Send + Sync>,
    limiters: Mutex<HashMap<K, RateLimiter>>,
}

impl<K: Clone + Eq + Hash> Keyed<K> {
    /// The same rate for each key, in real time.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Keyed::with(move |_| RateLimiter::new(rate))
    }

    /// A limiter of your own for each key. `make` is called under a lock: it must not use this `Keyed` itself.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter, limiter::Keyed};
    ///
    /// let calls = |plan: &&str| if *plan == "pro" { 600 } else { 60 };
    /// let plans = Keyed::with(move |plan| RateLimiter::new(Rate::per_minute(calls(plan))));
    /// assert_eq!(plans.get(&"pro").rate(), Rate::per_minute(600));
    /// ```
    #[must_use]
    pub fn with(make: impl Fn(&K) -> RateLimiter + Send + Sync + 'static) -> Self {
        Keyed {
            make: Box::new(make),
            limiters: Mutex::default(),
        }
    }

    /// The limiter of this key.
    #[must_use]
    pub fn get(&self, key: &K) -> RateLimiter {
        let mut limiters = self.limiters.lock();
        let limiter = limiters.entry(key.clone());
        limiter.or_insert_with(|| (self.make)(key)).clone()
    }

    /// Forgets the limiters that are [idle](RateLimiter::is_idle) and in nobody's hands, and returns how many. A new
    /// one is made as the first was: a rate that was set since is forgotten, too. Call it now and then where keys come
    /// and go.
    ///
    /// ```
    /// use paceline::{Rate, limiter::Keyed};
    ///
    /// let hosts = Keyed::new(Rate::unlimited());
    /// drop(hosts.get(&1).acquire());
    /// let in_use = hosts.get(&2);
    /// assert_eq!(hosts.forget_idle(), 1);
    /// # drop(in_use);
    /// ```
    pub fn forget_idle(&self) -> usize {
        let mut limiters = self.limiters.lock();
        let before = limiters.len();
        let is_in_use = |limiter: &RateLimiter| Arc::strong_count(&limiter.0) > 1;
        limiters.retain(|_, limiter| is_in_use(limiter) || !limiter.is_idle());
        before - limiters.len()
    }
}

impl<K: fmt::Debug> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.limiters.lock().iter()).finish()
    }
}
