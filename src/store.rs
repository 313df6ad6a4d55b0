//! A connection to a Redis server that many machines share: its URL without a password, its errors, and a [`Link`] that
//! reconnects by itself. What is stored there, and how long to wait for a server that is away, is left to `share` and
//! `queue`.

mod url;

use std::fmt;
use std::time::Duration;

use redis::{Connection, ConnectionLike, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use thiserror::Error;

pub(crate) use url::RedisUrl;

/// An error of Redis or of the connection to it. Its texts say what to do.
#[derive(Clone, Debug, Error)]
pub(crate) enum StoreError {
    /// The URL is not valid.
    #[error("{url:?} is not a Redis URL: {why}; an example is redis://localhost:6379/0?name=NAME")]
    BadUrl {
        /// The URL as given; `…` if it may contain a password.
        url: String,
        /// What is wrong with the URL.
        why: String,
    },
    /// The URL contains a password, which other users of the machine could read.
    #[error(
        "a Redis URL must not contain the password, because every user of this machine can see the arguments of a \
         program; remove it from the URL and set $PACELINE_REDIS_PASSWORD"
    )]
    PasswordInUrl,
    /// The connection failed, or the reply did not arrive in time.
    #[error("no connection to Redis at {0}: {1}; check that it is running and can be reached")]
    Unreachable(RedisUrl, String),
    /// The TLS certificate of the server is not trusted.
    #[error(
        "Redis at {0} is not trusted: {1}; add its certificate to those of this system, or set $SSL_CERT_FILE to \
         a file with the certificates to trust"
    )]
    Untrusted(RedisUrl, String),
    /// The user or the password is wrong, missing or not wanted, or the user lacks a permission.
    #[error(
        "Redis at {0} does not let us in: {1}; check the password in $PACELINE_REDIS_PASSWORD and the user in \
         the URL (redis://USER@HOST)"
    )]
    LockedOut(RedisUrl, String),
    /// The server cannot serve the command now: it loads its data, is a replica, or is out of memory.
    #[error("Redis at {0} is not ready: {1}")]
    NotReady(RedisUrl, String),
    /// The server reports an error for a command.
    #[error(
        "Redis at {0} reports an error: {1}; check that it is version 6.2 or newer, and that no other program \
         writes the keys paceline:*"
    )]
    Refused(RedisUrl, String),
}

impl StoreError {
    /// Whether the same call may succeed later without a change.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, StoreError::Unreachable(..) | StoreError::NotReady(..))
    }

    fn of(url: &RedisUrl, error: &RedisError) -> Self {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, NoPerm, ReadOnly, TryAgain};
        let url = url.clone();
        let why = error.to_string();
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed | ErrorKind::Server(NoPerm), _)
            | (_, Some("NOAUTH" | "WRONGPASS")) => StoreError::LockedOut(url, why),
            // The client library has no kind for errors of TLS: these are words of the TLS libraries.
            (ErrorKind::Io, _)
                if why.contains("peer certificate") || why.contains("PEM from file") =>
            {
                StoreError::Untrusted(url, why)
            }
            (ErrorKind::Io, _) if error.is_timeout() => {
                StoreError::Unreachable(url, "no answer in time".to_owned())
            }
            (ErrorKind::Io | ErrorKind::Parse, _) => StoreError::Unreachable(url, why),
            (
                ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain),
                _,
            )
            | (_, Some("OOM" | "MISCONF" | "BUSY")) => StoreError::NotReady(url, why),
            _ => StoreError::Refused(url, why),
        }
    }
}

/// A connection to a Redis server that connects when it is first used, and again after it broke.
///
/// For one thread at a time; use one link for each thread. When one link finds its connection broken, the other links
/// with clones of the same URL connect again at their next use: so the loss is reported once.
pub(crate) struct Link {
    url: RedisUrl,
    reply_within: Duration,
    connection: Option<Connection>,
    /// [`RedisUrl::losses`] when the connection was made.
    losses: u64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.url)
    }
}

impl Link {
    /// A link to this URL, not connected yet. A reply must arrive within `reply_within`, so give more than a command blocks.
    pub(crate) fn new(url: RedisUrl, reply_within: Duration) -> Self {
        Link {
            url,
            reply_within,
            connection: None,
            losses: 0,
        }
    }

    /// Makes one request, and connects first if needed.
    ///
    /// After an error it is unknown whether Redis did what was asked: perhaps only the reply was lost.
    ///
    /// # Errors
    /// Any [`StoreError`]. After one that [is passing](StoreError::is_passing), the next call may connect again.
    pub(crate) fn ask<T>(
        &mut self,
        request: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let losses = self.url.losses();
        let usable = self.connection.take().filter(|_| self.losses == losses);
        self.losses = losses;
        let mut connection = match usable {
            Some(connection) => connection,
            None => self.url.connect(self.reply_within)?,
        };
        let answer = request(&mut connection);
        let answer = answer.map_err(|error| StoreError::of(&self.url, &error));
        // An unread rest of this reply would be read as the next reply.
        if !matches!(answer, Err(StoreError::Unreachable(..))) && connection.is_open() {
            self.connection = Some(connection);
        } else {
            self.url.lost_after(losses);
        }
        answer
    }
}

#[cfg(test)]
mod tests;
