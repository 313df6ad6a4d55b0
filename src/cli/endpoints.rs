//! Who is asked: at which addresses, with which keys.
//!
//! Keys come from the environment alone. Usually there is one address and one key; several keys at one address, or
//! several addresses with a key each, are several lanes with a pace of their own.

use std::env;

use super::args::Calls;
use super::unusable::Unusable;
use crate::api::{Api, Key};

/// An address and the key to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// None: the API's own.
    pub(super) base_url: Option<String>,
    pub(super) key: Option<Key>,
}

impl Endpoint {
    /// A server on this machine is never reached through a proxy.
    pub(super) fn is_near(&self) -> bool {
        self.base_url.as_deref().is_some_and(is_loopback)
    }
}

/// The endpoints that the arguments and the environment name.
pub(super) fn of(args: &Calls, api: &dyn Api) -> Result<Vec<Endpoint>, Unusable> {
    let endpoints = match &args.base_url[..] {
        [] | [_] if !args.base_url.iter().any(|url| pair(url).is_some()) => keys_at_one(args, api)?,
        pairs => pairs_of(args, pairs)?,
    };
    match twice(&endpoints) {
        Some((one, other)) => Err(Unusable::SameKey(one, other)),
        None => Ok(endpoints),
    }
}

/// One address, with as many keys as are named.
fn keys_at_one(args: &Calls, api: &dyn Api) -> Result<Vec<Endpoint>, Unusable> {
    let base_url = base_url(args, api)?;
    if args.key_env.is_empty() {
        let key = usual_key(api.key_env(), base_url.is_some())?;
        return Ok(vec![Endpoint { base_url, key }]);
    }
    let endpoint = |name: &String| {
        Ok(Endpoint {
            base_url: base_url.clone(),
            key: Some(named_key(name)?),
        })
    };
    args.key_env.iter().map(endpoint).collect()
}

/// Several addresses, each with its key.
fn pairs_of(args: &Calls, pairs: &[String]) -> Result<Vec<Endpoint>, Unusable> {
    if !args.key_env.is_empty() {
        return Err(Unusable::KeysApart);
    }
    let endpoint = |text: &String| {
        let (url, name) = pair(text).ok_or_else(|| Unusable::NoPair(text.clone()))?;
        let base_url = Some(checked("--base-url", url.to_owned())?);
        Ok(Endpoint {
            base_url,
            key: Some(named_key(name)?),
        })
    };
    pairs.iter().map(endpoint).collect()
}

/// `URL=KEYENV`, if it is that and not a URL with an equals sign in it.
fn pair(text: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.rsplit_once('=')
        .filter(|(url, name)| is_name(name) && !url.contains('?'))
}

/// Two endpoints that are one.
fn twice(endpoints: &[Endpoint]) -> Option<(usize, usize)> {
    let same =
        |one: &Endpoint, other: &Endpoint| one.base_url == other.base_url && one.key == other.key;
    (1..endpoints.len()).find_map(|other| {
        let one = endpoints[..other]
            .iter()
            .position(|one| same(one, &endpoints[other]))?;
        Some((one, other))
    })
}

/// The key in the usual variable, which may be empty. The API's own address demands one; another server may do without.
fn usual_key(name: &str, elsewhere: bool) -> Result<Option<Key>, Unusable> {
    match env::var_os(name).filter(|text| !text.is_empty()) {
        Some(_) => named_key(name).map(Some),
        None if elsewhere => Ok(None),
        None => Err(Unusable::NoKey(name.to_owned())),
    }
}

fn named_key(name: &str) -> Result<Key, Unusable> {
    let text = env::var_os(name).ok_or_else(|| Unusable::NoSuchVariable(name.to_owned()))?;
    text.to_str()
        .and_then(Key::new)
        .ok_or_else(|| Unusable::BadKey(name.to_owned()))
}

/// The address that is typed, or else the one in the environment, if there is one.
fn base_url(args: &Calls, api: &dyn Api) -> Result<Option<String>, Unusable> {
    let typed = args
        .base_url
        .first()
        .map(|url| checked("--base-url", url.clone()));
    let name = api.base_url_env();
    let from_env = || env::var(name).ok().filter(|url| !url.is_empty());
    typed
        .or_else(|| from_env().map(|url| checked(&format!("${name}"), url)))
        .transpose()
}

fn checked(from: &str, url: String) -> Result<String, Unusable> {
    let uri: Result<ureq::http::Uri, _> = url.parse();
    let usable = uri.is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if usable {
        Ok(url)
    } else {
        Err(Unusable::BadUrl {
            from: from.to_owned(),
            url,
        })
    }
}

fn is_loopback(url: &str) -> bool {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    let host = uri
        .as_ref()
        .and_then(|uri| uri.host())
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in [
            "http://localhost:8080",
            "https://gateway.example/openai/v1",
            "http://[::1]:1/v1",
        ] {
            assert!(checked("", good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["localhost:8080", "", "ftp://x", "http://", "http://a b"] {
            assert!(checked("", bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for near in [
            "http://localhost:1/v1",
            "http://127.0.0.1",
            "http://127.9.9.9:2",
            "http://[::1]:3",
        ] {
            assert!(is_loopback(near), "{near}");
        }
        assert!(
            !is_loopback("https://api.openai.com/v1") && !is_loopback("http://localhost.example")
        );
    }

    #[test]
    fn an_address_may_name_the_variable_with_its_key() {
        assert_eq!(pair("http://a/v1=KEY_2"), Some(("http://a/v1", "KEY_2")));
        for plain in [
            "http://a/v1",
            "http://a/v1?x=y",
            "http://a/v1=",
            "http://a/v1=two words",
        ] {
            assert_eq!(pair(plain), None, "{plain}");
        }
    }

    #[test]
    fn the_same_key_is_not_taken_for_two() {
        let endpoint = |url: &str, key| Endpoint {
            base_url: Some(url.into()),
            key: Key::new(key),
        };
        assert_eq!(
            twice(&[endpoint("a", "k"), endpoint("b", "k"), endpoint("a", "l")]),
            None
        );
        assert_eq!(
            twice(&[endpoint("a", "k"), endpoint("b", "k"), endpoint("a", "k")]),
            Some((0, 2))
        );
    }
}
