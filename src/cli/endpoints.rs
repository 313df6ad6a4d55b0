//! The servers that are called, and the key for each.
//!
//! Keys come from the environment alone. Usually there is one address and one key. Several keys at one address, and
//! several addresses with a key each, have a rate each.

use std::env;

use ureq::http::Uri;

use super::args::ServerArgs;
use super::error::CommandError;
use crate::api::{Api, Client, ExtraHeader, Key, Params, Secrets, masked, secrets_of};
use crate::http::{Http, HttpOptions, is_loopback, proxy};
use crate::practice::Server;

/// An address and its key.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Endpoint {
    /// `None` is the API's own address.
    pub(super) base_url: Option<String>,
    pub(super) key: Option<Key>,
}

impl Endpoint {
    /// A client for this server that keeps this number of idle connections.
    pub(super) fn client(
        &self,
        args: &ServerArgs,
        params: Params,
        connections: usize,
    ) -> Result<Client, CommandError> {
        let (api, url) = (args.api.api(), self.base_url.as_deref());
        let uri: Option<Uri> = url.unwrap_or(api.base_url()).parse().ok();
        // A server on this machine has no proxy.
        let far = uri.filter(|uri| !is_near(uri));
        let proxy = far.map(|uri| proxy::of(&uri, |name| env::var(name).ok()));
        let options = HttpOptions {
            timeout: args.timeout,
            connections,
            ca_cert: args.ca_cert.clone(),
            proxy: proxy.transpose().map_err(CommandError::usage)?.flatten(),
            ..HttpOptions::default()
        };
        let http = Http::new(&options).map_err(CommandError::usage)?;
        Ok(Client::over(http, api, url, self.key.as_ref(), params))
    }
}

/// A client for each endpoint, with the headers that the arguments name. Each hides the secrets of all.
pub(super) fn clients(
    args: &ServerArgs,
    endpoints: &[Endpoint],
    params: &Params,
    connections: usize,
) -> Result<Vec<Client>, CommandError> {
    let headers = headers(args, endpoints)?;
    let keys = endpoints.iter().filter_map(|one| one.key.as_ref());
    let urls = endpoints.iter().filter_map(|one| one.base_url.as_deref());
    // A server may repeat the token alone: `Bearer TOKEN`.
    let words = headers.iter().filter_map(ExtraHeader::secret);
    let words = words.flat_map(str::split_whitespace);
    let secrets = keys.map(Key::expose).chain(urls.flat_map(secrets_of));
    let secrets = Secrets::new(secrets.chain(words));
    let client = |endpoint: &Endpoint| {
        let client = endpoint.client(args, params.clone(), connections)?;
        Ok(client.with_headers(&headers).hiding(secrets.clone()))
    };
    endpoints.iter().map(client).collect()
}

/// The endpoints that the arguments and the environment name, or the practice server.
pub(super) fn of(
    args: &ServerArgs,
    practice: Option<&Server>,
    needs_key: bool,
) -> Result<Vec<Endpoint>, CommandError> {
    let has_pairs = args.base_url.len() > 1 || args.base_url.iter().any(|url| pair(url).is_some());
    let endpoints = match practice {
        Some(server) => vec![Endpoint {
            base_url: Some(server.url()),
            key: None,
        }],
        None if has_pairs => pairs(args)?,
        None => keys_at_one_address(args, &*args.api.api(), needs_key)?,
    };
    if let Some(n) = (1..endpoints.len()).find(|n| endpoints[..*n].contains(&endpoints[*n])) {
        let message = format!("key {n} is the same key at the same address as an earlier one");
        let help = "leave one of them out: together they would exceed its rate";
        return Err(CommandError::usage(message).help(help));
    }
    Ok(endpoints)
}

/// The headers that the arguments name, for every call.
fn headers(args: &ServerArgs, endpoints: &[Endpoint]) -> Result<Vec<ExtraHeader>, CommandError> {
    let plain = args.header.iter().map(|text| {
        let (name, value) = text.split_once(':').ok_or_else(|| {
            CommandError::usage("a --header has no colon: give it as 'NAME: VALUE'")
        })?;
        header("--header", name, value)
    });
    let secret = args.header_env.iter().map(|text| {
        let (name, variable) = text.split_once('=').ok_or_else(|| {
            CommandError::usage("a --header-env has no equals sign: give it as NAME=VARIABLE")
        })?;
        let unset = |_| {
            let why = format!("names ${variable}, which is not set or not text");
            unusable("--header-env", text, &why)
        };
        header("--header-env", name, &env::var(variable).map_err(unset)?)
    });
    let headers: Vec<_> = plain.chain(secret).collect::<Result<_, _>>()?;
    let key = endpoints.iter().find_map(|endpoint| endpoint.key.as_ref());
    let of_the_key = key.map(|key| args.api.api().key_header(key).0);
    match of_the_key.filter(|name| headers.iter().any(|header| header.is(name))) {
        Some(name) => Err(unusable("--header", &name, "carries the key already")),
        None => Ok(headers),
    }
}

/// The header that an option gives.
fn header(option: &str, name: &str, value: &str) -> Result<ExtraHeader, CommandError> {
    let is_secret = option == "--header-env";
    ExtraHeader::new(name.trim(), value.trim(), is_secret)
        .map_err(|why| unusable(option, name, &why))
}

fn unusable(option: &str, given: &str, why: &str) -> CommandError {
    CommandError::usage(format!("{option} {given:?} {why}")).help("correct it, or leave it out")
}

/// One address, with as many keys as are named.
fn keys_at_one_address(
    args: &ServerArgs,
    api: &dyn Api,
    needs_key: bool,
) -> Result<Vec<Endpoint>, CommandError> {
    let base_url = base_url(args, api)?;
    if args.key_env.is_empty() {
        let key = default_key(api.key_env(), needs_key && base_url.is_none())?;
        return Ok(vec![Endpoint { base_url, key }]);
    }
    let endpoint = |name: &String| {
        Ok(Endpoint {
            base_url: base_url.clone(),
            key: Some(key_in(name)?),
        })
    };
    args.key_env.iter().map(endpoint).collect()
}

/// Several addresses, each with its key.
fn pairs(args: &ServerArgs) -> Result<Vec<Endpoint>, CommandError> {
    if !args.key_env.is_empty() {
        return Err(CommandError::usage(
            "give each address its key as URL=KEYENV, and leave --key-env out",
        ));
    }
    let endpoint = |text: &String| {
        let (url, name) = pair(text).ok_or_else(|| {
            CommandError::usage(format!(
                "--base-url {text:?} names no variable with its key: with several addresses, each is URL=KEYENV"
            ))
        })?;
        Ok(Endpoint {
            base_url: Some(checked("--base-url", url)?),
            key: Some(key_in(name)?),
        })
    };
    args.base_url.iter().map(endpoint).collect()
}

/// Whether a text can name a variable.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `URL=KEYENV`, if it is that and not a URL with an equals sign in it.
fn pair(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('=')
        .filter(|(url, name)| is_name(name) && !url.contains('?'))
}

/// The key in the API's usual variable. The provider's own server needs one; another server may do without.
fn default_key(name: &str, is_needed: bool) -> Result<Option<Key>, CommandError> {
    match env::var_os(name).filter(|text| !text.is_empty()) {
        Some(_) => key_in(name).map(Some),
        None if !is_needed => Ok(None),
        None => Err(
            CommandError::usage(format!("there is no API key in ${name}"))
                .help(format!("set the key:                    export {name}=..."))
                .help("or call a server without one:   --base-url http://localhost:8080/v1")
                .help("or try it without key, offline: --practice"),
        ),
    }
}

pub(super) fn key_in(name: &str) -> Result<Key, CommandError> {
    if !is_name(name) {
        return Err(CommandError::usage(
            "--key-env takes the name of a variable that holds the key, not the key itself",
        )
        .help("set the key with export NAME=..., and give --key-env NAME"));
    }
    let help = format!("set the key with export {name}=...");
    let Some(text) = env::var_os(name) else {
        let problem = format!("--key-env names ${name}, which is not set");
        return Err(CommandError::usage(problem).help(help));
    };
    text.to_str().and_then(Key::new).ok_or_else(|| {
        CommandError::usage(format!(
            "the text in ${name} cannot be a key: it is empty or has characters that no header can carry"
        ))
        .help(help)
    })
}

/// The address that is typed, or else the one in the environment, if there is one.
fn base_url(args: &ServerArgs, api: &dyn Api) -> Result<Option<String>, CommandError> {
    if let Some(url) = args.base_url.first() {
        return checked("--base-url", url).map(Some);
    }
    let name = api.base_url_env();
    let url = env::var(name).ok().filter(|url| !url.is_empty());
    url.map(|url| checked(&format!("${name}"), &url))
        .transpose()
}

fn checked(from: &str, url: &str) -> Result<String, CommandError> {
    let is_usable = url.parse().is_ok_and(|uri: Uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let (place, host) = (uri.authority(), uri.host().unwrap_or_default());
        let is_whole = place.is_some_and(|place| place.as_str().ends_with(host));
        is_http && !host.is_empty() && (is_whole || uri.port_u16().is_some())
    });
    match is_usable {
        true => Ok(url.to_owned()),
        false => {
            let message = format!("{from} is {:?}, which is not a URL", masked(url));
            Err(CommandError::usage(message).help("give one such as http://localhost:8080/v1"))
        }
    }
}

/// Whether this is a server on this machine.
fn is_near(url: &Uri) -> bool {
    url.host().is_some_and(is_loopback)
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
            "http://[::1]/v1",
            "http://u:p@h/v1",
        ] {
            assert!(checked("", good).is_ok(), "{good}");
        }
        for bad in [
            "localhost:8080",
            "",
            "ftp://x",
            "http://",
            "http://a b",
            "http://h:99999/v1",
            "http://u:p@h:x",
        ] {
            assert!(checked("", bad).is_err(), "{bad}");
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
            assert!(is_near(&near.parse().unwrap()), "{near}");
        }
        for far in ["https://api.openai.com/v1", "http://localhost.example"] {
            assert!(!is_near(&far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn a_key_in_place_of_a_name_is_not_shown() {
        let error = key_in("sk-secret-123").unwrap_err().to_string();
        assert!(!error.contains("sk-secret"), "{error}");
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
}
