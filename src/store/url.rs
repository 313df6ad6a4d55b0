//! A Redis URL, `redis://[user@]host[:port][/db][?name=NAME]`, and how to connect to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Client, Connection, IntoConnectionInfo, RedisResult};

use super::StoreError;

/// The URL of a Redis server and the name under which Paceline keeps its keys there.
///
/// `Display` and `Debug` never show the password. Clones are cheap.
#[derive(Clone)]
pub(crate) struct RedisUrl(Arc<Inner>);

struct Inner {
    client: Client,
    /// The URL without name and password.
    shown: String,
    name: String,
    /// How many connections have broken.
    losses: AtomicU64,
}

impl RedisUrl {
    /// How long connecting may take, name lookup and TLS included.
    const CONNECT: Duration = Duration::from_secs(5);
    /// The name if the URL has none.
    const NAME: &str = "default";

    /// Reads `redis://[user@]host[:port][/db][?name=NAME]`, or the same with `rediss` for TLS. The URL must not contain
    /// the password.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`] if it cannot be read; [`StoreError::PasswordInUrl`] if it contains a password.
    pub(crate) fn parse(text: &str, password: Option<&str>) -> Result<Self, StoreError> {
        // A text that cannot be read may still contain a password.
        let is_readable = redis::parse_redis_url(text).is_some();
        let shown = if is_readable || !text.contains('@') {
            text
        } else {
            "…"
        };
        let bad = |why: &str| StoreError::BadUrl {
            url: shown.to_owned(),
            why: why.to_owned(),
        };
        if !text.starts_with("redis://") && !text.starts_with("rediss://") {
            return Err(bad("it begins with redis:// or, for TLS, rediss://"));
        }
        let url = redis::parse_redis_url(text);
        let mut url = url.ok_or_else(|| bad("it cannot be read"))?;
        let database = url.path().trim_start_matches('/');
        if url.password().is_some() {
            return Err(StoreError::PasswordInUrl);
        } else if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        } else if url.fragment().is_some() {
            return Err(bad("it ends with a #fragment"));
        } else if !database.is_empty() && database.parse::<u16>().is_err() {
            return Err(bad("after the / comes the number of a database"));
        }
        let name = name(url.query_pairs()).map_err(bad)?;
        url.set_query(None);
        let client = client(url.as_str(), password);
        Ok(RedisUrl(Arc::new(Inner {
            client: client.map_err(|error| bad(&error.to_string()))?,
            shown: url.into(),
            name,
            losses: AtomicU64::new(0),
        })))
    }

    /// The name that was given, or `default`.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The Redis key `paceline:{NAME}:what`. The braces keep all keys of one name on one node of a cluster.
    pub(crate) fn key(&self, what: &str) -> String {
        format!("paceline:{{{}}}:{what}", self.0.name)
    }

    /// How many connections to this URL have broken, with all clones. An idle connection that is older than the last
    /// loss is broken, too, or soon is.
    pub(super) fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::Relaxed)
    }

    /// Counts a broken connection that was made after this number of losses. Those broken by the same outage count as one.
    pub(super) fn lost_after(&self, losses: u64) {
        let next = losses + 1;
        let order = Ordering::Relaxed;
        let _ = self.0.losses.compare_exchange(losses, next, order, order);
    }

    /// A new connection on which each reply must arrive within `reply_within`.
    ///
    /// # Errors
    /// Any [`StoreError`] but those of [`RedisUrl::parse`].
    pub(super) fn connect(&self, reply_within: Duration) -> Result<Connection, StoreError> {
        let of = |error| StoreError::of(self, &error);
        let connected = self.0.client.get_connection_with_timeout(Self::CONNECT);
        let mut connection = connected.map_err(of)?;
        let within = Some(reply_within);
        connection.set_read_timeout(within).map_err(of)?;
        connection.set_write_timeout(within).map_err(of)?;
        // Redis answers a PING with the error for a missing password; a longer command it would not even read.
        redis::cmd("PING")
            .query::<()>(&mut connection)
            .map_err(of)?;
        Ok(connection)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({}, {:?})", self.0.shown, self.0.name)
    }
}

fn client(url: &str, password: Option<&str>) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let mut settings = info.redis_settings().clone();
    settings = settings.set_lib_name("paceline", env!("CARGO_PKG_VERSION"));
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    // Without this, the last packet of a long command waits for a delayed acknowledgement of the others.
    let at_once = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_redis_settings(settings).set_tcp_settings(at_once))
}

/// The name in the query, which may have no other parameter.
fn name<T: AsRef<str>>(pairs: impl Iterator<Item = (T, T)>) -> Result<String, &'static str> {
    let mut found = None;
    for (key, value) in pairs {
        match (key.as_ref(), value.as_ref()) {
            ("name", _) if found.is_some() => return Err("it has two names"),
            ("name", value) if is_name(value) => found = Some(value.to_owned()),
            ("name", _) => return Err("a name has letters, digits and .-_ only, 64 at most"),
            _ => return Err("after the ? comes name=NAME and nothing else"),
        }
    }
    Ok(found.unwrap_or_else(|| RedisUrl::NAME.to_owned()))
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}
