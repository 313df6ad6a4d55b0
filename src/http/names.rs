//! Looks names up once in a while, not for each call.
//!
//! The agent asks for the address before it takes a connection that is open already, and a look-up with a time-out is a
//! thread of its own each time. An address that is known is used for half a minute; one that is a number needs none.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

#[derive(Debug, Default)]
pub(super) struct Names {
    looking_up: DefaultResolver,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

/// Clones know the same names.
impl Clone for Names {
    fn clone(&self) -> Self {
        Names { looking_up: DefaultResolver::default(), known: self.known.clone() }
    }
}

#[derive(Debug)]
struct Known {
    since: Instant,
    addresses: Vec<SocketAddr>,
}

impl Names {
    const FRESH: Duration = Duration::from_secs(30);

    fn known(&self, name: &str, now: Instant) -> Option<ResolvedSocketAddrs> {
        if let Ok(address) = name.parse() {
            return Some(self.list(&[address]));
        }
        let known = self.known.lock();
        let known =
            known.get(name).filter(|known| now.saturating_duration_since(known.since) < Self::FRESH)?;
        Some(self.list(&known.addresses))
    }

    fn list(&self, addresses: &[SocketAddr]) -> ResolvedSocketAddrs {
        let mut list = self.empty();
        addresses.iter().for_each(|address| list.push(*address));
        list
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let parts = uri.scheme().zip(uri.authority());
        let name = parts.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let Some(name) = name else { return self.looking_up.resolve(uri, config, timeout) };
        let now = Instant::now();
        if let Some(addresses) = self.known(&name, now) {
            return Ok(addresses);
        }
        let found = self.looking_up.resolve(uri, config, timeout)?;
        self.known.lock().insert(name, Known { since: now, addresses: found.to_vec() });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_no_look_up_and_a_name_is_known_for_a_while() {
        let (names, now) = (Names::default(), Instant::now());
        let port = |list: Option<ResolvedSocketAddrs>| list.map(|list| list[0].port());
        assert_eq!(port(names.known("127.0.0.1:80", now)), Some(80));
        assert_eq!(port(names.known("[::1]:81", now)), Some(81));
        assert_eq!(port(names.known("example:443", now)), None);
        let addresses = vec![SocketAddr::from(([10, 0, 0, 1], 443))];
        names.known.lock().insert("example:443".into(), Known { since: now, addresses });
        assert_eq!(port(names.known("example:443", now + Duration::from_secs(29))), Some(443));
        assert_eq!(port(names.known("example:443", now + Duration::from_secs(30))), None);
    }
}
