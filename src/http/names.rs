//! Looks names up once in a while, not for each call.
//!
//! The agent asks for the address before it takes a connection that is open already, and a look-up with a time-out is a
//! thread of its own each time. An address that is known is used for half a minute; one that is a number needs none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

#[derive(Debug, Default)]
pub(super) struct Names {
    looking_up: DefaultResolver,
    /// Few, for there are few servers.
    known: Arc<Mutex<Vec<Known>>>,
}

/// Clones know the same names.
impl Clone for Names {
    fn clone(&self) -> Self {
        Names {
            looking_up: DefaultResolver::default(),
            known: self.known.clone(),
        }
    }
}

#[derive(Debug)]
struct Known {
    scheme: Scheme,
    authority: Authority,
    since: Instant,
    addresses: ResolvedSocketAddrs,
}

impl Names {
    const FRESH: Duration = Duration::from_secs(30);

    fn known(
        &self,
        scheme: &Scheme,
        authority: &Authority,
        now: Instant,
    ) -> Option<ResolvedSocketAddrs> {
        let is_it = |known: &&Known| known.scheme == *scheme && known.authority == *authority;
        let known = self.known.lock();
        let fresh = known
            .iter()
            .find(is_it)
            .filter(|known| now.saturating_duration_since(known.since) < Self::FRESH);
        fresh.map(|known| known.addresses.clone())
    }

    fn learn(
        &self,
        scheme: &Scheme,
        authority: &Authority,
        now: Instant,
        addresses: &ResolvedSocketAddrs,
    ) {
        let (scheme, authority, addresses) = (scheme.clone(), authority.clone(), addresses.clone());
        let mut known = self.known.lock();
        known.retain(|known| known.scheme != scheme || known.authority != authority);
        known.push(Known {
            scheme,
            authority,
            since: now,
            addresses,
        });
    }

    /// The address that is written out.
    fn number(&self, scheme: &Scheme, authority: &Authority) -> Option<ResolvedSocketAddrs> {
        let mut list = self.empty();
        list.push(
            DefaultResolver::host_and_port(scheme, authority)?
                .parse()
                .ok()?,
        );
        Some(list)
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let Some((scheme, authority)) = uri.scheme().zip(uri.authority()) else {
            return self.looking_up.resolve(uri, config, timeout);
        };
        let now = Instant::now();
        if let Some(addresses) = self.known(scheme, authority, now) {
            return Ok(addresses);
        }
        let found = match self.number(scheme, authority) {
            Some(number) => number,
            None => self.looking_up.resolve(uri, config, timeout)?,
        };
        self.learn(scheme, authority, now, &found);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn a_number_needs_no_look_up_and_what_was_found_is_known_for_a_while() {
        let (names, now) = (Names::default(), Instant::now());
        let parts = |uri: &'static str| {
            let parts = Uri::from_static(uri).into_parts();
            (parts.scheme.unwrap(), parts.authority.unwrap())
        };
        let number = |uri| {
            let (scheme, authority) = parts(uri);
            names
                .number(&scheme, &authority)
                .map(|list| list[0].to_string())
        };
        assert_eq!(number("http://127.0.0.1/").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(number("https://[::1]:81/").as_deref(), Some("[::1]:81"));
        assert_eq!(number("https://example/"), None);

        let (scheme, authority) = parts("https://example/");
        let known = |seconds| {
            names
                .known(&scheme, &authority, now + Duration::from_secs(seconds))
                .map(|list| list[0].port())
        };
        assert_eq!(known(0), None);
        for port in [443, 444] {
            let mut addresses = names.empty();
            addresses.push(SocketAddr::from(([10, 0, 0, 1], port)));
            names.learn(&scheme, &authority, now, &addresses);
            assert_eq!((known(29), known(30)), (Some(port), None));
        }
        let (other, _) = parts("http://example/");
        assert!(
            names.known(&other, &authority, now).is_none(),
            "another port"
        );
    }
}
