//! The address of a Redis, `redis://[user@]host[:port][/db][?name=NAME]`, and the first step there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, Connection, IntoConnectionInfo};

use super::StoreError;

/// Where a Redis is, and under which name we keep things there.
///
/// Shown without the password, whoever shows it. Clones are cheap.
#[derive(Clone)]
pub struct Place(Arc<Inner>);

struct Inner {
    client: Client,
    /// The address without name and password.
    shown: String,
    name: String,
}

impl Place {
    /// How long it may take to connect.
    const CONNECT: Duration = Duration::from_secs(5);
    /// The name of those who give none.
    const NAME: &str = "default";

    /// Reads `redis://[user@]host[:port][/db][?name=NAME]`, or the same with `rediss` for TLS. The password is no part
    /// of it.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`], [`StoreError::PasswordInUrl`]
    pub fn parse(text: &str, password: Option<&str>) -> Result<Self, StoreError> {
        let bad = |why: &str| StoreError::BadUrl {
            url: text.to_owned(),
            why: why.to_owned(),
        };
        let is_ours = ["redis://", "rediss://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        // What cannot be read may yet hold a password.
        let cannot_be_read = || match text.contains('@') {
            true => StoreError::BadUrl {
                url: "…".to_owned(),
                why: "it cannot be read".to_owned(),
            },
            false if is_ours => bad("it cannot be read"),
            false => bad("it begins with redis:// or, for TLS, rediss://"),
        };
        let url = redis::parse_redis_url(text).filter(|_| is_ours);
        let mut url = url.ok_or_else(cannot_be_read)?;
        if url.password().is_some() {
            return Err(StoreError::PasswordInUrl);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        }
        if url.fragment().is_some() {
            return Err(bad("it ends with a #fragment"));
        }
        let database = url.path().trim_start_matches('/');
        if !database.is_empty() && database.parse::<u16>().is_err() {
            return Err(bad("what follows the / is the number of a database"));
        }
        let name = name(url.query_pairs()).map_err(bad)?;
        url.set_query(None);
        let info = url
            .as_str()
            .into_connection_info()
            .map_err(|error| bad(&error.to_string()))?;
        let settings = info
            .redis_settings()
            .clone()
            .set_lib_name("paceline", env!("CARGO_PKG_VERSION"));
        let settings = password.into_iter().fold(settings, |settings, password| {
            settings.set_password(password)
        });
        // Or the last piece of a longer command waits until Redis has acknowledged the others, which it puts off.
        let at_once = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_redis_settings(settings).set_tcp_settings(at_once);
        let client = Client::open(info).map_err(|error| bad(&error.to_string()))?;
        Ok(Place(Arc::new(Inner {
            client,
            shown: url.into(),
            name,
        })))
    }

    /// The name that was given, or `default`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The key under which something is kept: `paceline:{NAME}:what`. The braces keep all keys of one name on one node of
    /// a cluster.
    #[must_use]
    pub fn key(&self, what: &str) -> String {
        format!("paceline:{{{}}}:{what}", self.0.name)
    }

    /// A new connection, on which each answer must come within this time.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn connect(&self, answer_within: Duration) -> Result<Connection, StoreError> {
        let of = |error| StoreError::of(self, &error);
        let mut connection = self
            .0
            .client
            .get_connection_with_timeout(Self::CONNECT)
            .map_err(of)?;
        connection
            .set_read_timeout(Some(answer_within))
            .map_err(of)?;
        connection
            .set_write_timeout(Some(answer_within))
            .map_err(of)?;
        // A Redis that wants a password says so to this; a longer command it does not even read.
        redis::cmd("PING")
            .query::<()>(&mut connection)
            .map_err(of)?;
        Ok(connection)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({}, {:?})", self.0.shown, self.0.name)
    }
}

/// The name among these, which must be the only thing there.
fn name<T: AsRef<str>>(pairs: impl Iterator<Item = (T, T)>) -> Result<String, &'static str> {
    let mut found = None;
    for (key, value) in pairs {
        match (key.as_ref(), value.as_ref()) {
            ("name", _) if found.is_some() => return Err("it has two names"),
            ("name", value) if is_name(value) => found = Some(value.to_owned()),
            ("name", _) => return Err("a name has letters, digits and .-_ alone, 64 at most"),
            _ => return Err("after the ? comes name=NAME and nothing else"),
        }
    }
    Ok(found.unwrap_or_else(|| Place::NAME.to_owned()))
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}
