//! Which proxy the calls to an address go through, by the usual environment variables. Stricter than
//! most programs: a proxy that cannot be used is an error, because a user who names one may not be
//! allowed to call without it.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ureq::http::{HeaderValue, Uri};
use ureq::{Proxy, ProxyProtocol};

/// The proxy for an address: `HTTPS_PROXY` or `HTTP_PROXY` by its scheme, or else `ALL_PROXY`, in upper
/// or lower case, unless `NO_PROXY` has the host. `variable` reads the environment.
///
/// # Errors
/// The variable that names a proxy which cannot be used, and why, in a line.
pub(crate) fn of(
    url: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, String> {
    let value = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let is_https = url.scheme_str() == Some("https");
    let names = match is_https {
        true => ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        false => ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let named = names
        .into_iter()
        .find_map(|name| Some((name, value(name)?)));
    let Some((name, address)) = named else {
        return Ok(None);
    };
    let excluded = value("no_proxy").or_else(|| value("NO_PROXY"));
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    if excluded.is_some_and(|list| is_excluded(&list, host, port)) {
        return Ok(None);
    }
    usable(address.trim())
        .map(Some)
        .map_err(|why| format!("${name} {why}: set it to http://HOST:PORT, or unset it"))
}

fn usable(address: &str) -> Result<Proxy, &'static str> {
    if address.to_lowercase().starts_with("socks") {
        return Err("names a SOCKS proxy, which is not supported");
    }
    let proxy = Proxy::new(address).map_err(|_| "is not the address of a proxy")?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https if !proxy.host().is_empty() => Ok(proxy),
        _ => Err("is not the address of an HTTP proxy"),
    }
}

/// The value of `proxy-authorization`, if the proxy's address has a user or a password.
pub(super) fn authorization(proxy: &Proxy) -> Option<HeaderValue> {
    let user = proxy.username().or(proxy.password().map(|_| ""))?;
    let pair = format!("{user}:{}", proxy.password().unwrap_or_default());
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a list such as `localhost, .example.com, 10.0.0.0/8, host:8080` has this host.
fn is_excluded(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_matches(['[', ']']).to_lowercase();
    let entries = list
        .split([',', ';', ' ', '\t'])
        .filter(|entry| !entry.is_empty());
    entries.into_iter().any(|entry| {
        let (name, only) = with_port(entry);
        only.is_none_or(|only| only == port) && names_host(&name.to_lowercase(), &host)
    })
}

/// An entry and its port; an IPv6 address has colons of its own.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    let port = entry
        .rsplit_once(':')
        .filter(|(name, _)| !name.contains(':') || name.ends_with(']'))
        .and_then(|(name, port)| Some((name, port.parse().ok()?)));
    port.map_or((entry, None), |(name, port)| (name, Some(port)))
}

/// A name stands for its subdomains, too; a network for all its addresses.
fn names_host(name: &str, host: &str) -> bool {
    let name = name.trim_matches(['[', ']']);
    if let Some((network, bits)) = name.split_once('/') {
        let network = network.trim_matches(['[', ']']).parse();
        return match (network, bits.parse(), host.parse()) {
            (Ok(network), Ok(bits), Ok(host)) => has_address(network, bits, host),
            _ => false,
        };
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.');
    let parent = host.strip_suffix(name);
    name == "*"
        || parent.is_some_and(|sub| sub.is_empty() || (sub.ends_with('.') && !name.is_empty()))
}

/// Whether the first bits of an address are those of the network.
fn has_address(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    let same = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    same >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = of(&url.parse().unwrap(), value)?;
        Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
    }

    #[test]
    fn the_scheme_chooses_the_variable_and_lower_case_wins() {
        let both = [
            ("HTTP_PROXY", "http://a:1"),
            ("HTTPS_PROXY", "b:2"),
            ("https_proxy", "c:3"),
        ];
        assert_eq!(proxy("http://h/", &both), Ok(Some("a:1".into())));
        assert_eq!(proxy("https://h/", &both), Ok(Some("c:3".into())));
        let all = [("ALL_PROXY", "http://u:p@d:4"), ("http_proxy", " ")];
        assert_eq!(proxy("http://h/", &all), Ok(Some("d:4".into())));
        assert_eq!(proxy("http://h/", &[]), Ok(None));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_unless_the_host_is_excluded() {
        for bad in [
            "socks5://h:1",
            "SOCKS4A://h",
            "ftp://h:1",
            "http://",
            "http://a b",
            "://",
        ] {
            let error = proxy("https://h/", &[("HTTPS_PROXY", bad)]).unwrap_err();
            assert!(error.starts_with("$HTTPS_PROXY "), "{bad}: {error}");
        }
        let excluded = [("HTTPS_PROXY", "socks5://h:1"), ("NO_PROXY", "h")];
        assert_eq!(proxy("https://h/", &excluded), Ok(None));
    }

    #[test]
    fn a_list_names_hosts_domains_ports_and_networks() {
        let excluded = [
            ("*", "any.example"),
            ("a, b.example ,c", "B.example"),
            ("a b.example", "b.example"),
            (".b.example", "x.b.example"),
            (".b.example", "b.example"),
            ("*.b.example", "x.b.example"),
            ("b.example", "x.b.example"),
            ("b.example:8080", "b.example"),
            ("10.0.0.0/8", "10.9.8.7"),
            ("10.1.2.3", "10.1.2.3"),
            ("fd00::/8", "[fd12::1]"),
            ("[::1]:8080", "[::1]"),
            ("::1", "[::1]"),
        ];
        for (list, host) in excluded {
            assert!(is_excluded(list, host, 8080), "{list} has {host}");
        }
        let others = [
            ("", "h"),
            ("b.example", "ab.example"),
            ("b.example:80", "b.example"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/x", "10.0.0.1"),
            ("10.0.0.0/8", "ten.example"),
            ("fd00::/8", "10.0.0.1"),
            (".", "h"),
        ];
        for (list, host) in others {
            assert!(!is_excluded(list, host, 8080), "{list} has not {host}");
        }
    }

    #[test]
    fn a_user_and_a_password_are_sent_as_basic() {
        let header = |address| authorization(&Proxy::new(address).unwrap());
        assert_eq!(header("http://u:p%40@h:1").unwrap(), "Basic dTpwQA==");
        assert_eq!(header("http://h:1"), None);
    }
}
