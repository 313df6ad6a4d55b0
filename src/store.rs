//! One Redis for many machines: where it is, a connection to it, and patience when it goes away.
//!
//! What is kept there is the business of the rooms above; here is what they share: an address that never holds a
//! password, errors that say where and what to do, and a [`Link`] that connects again by itself.

mod absence;
mod place;

use std::time::{Duration, Instant};

use log::warn;
use redis::{Connection, ConnectionLike, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use thiserror::Error;

use crate::cancel::CancelToken;

use absence::AwayTime;
pub use place::Place;
/// The client library: what [`Link::ask`] hands out is one of its connections.
pub use redis;

/// What is wrong between us and Redis.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address is none.
    #[error(
        "{url:?} is no address of a Redis: {why}; give one such as redis://localhost:6379/0?name=NAME"
    )]
    BadUrl {
        /// What was given, without a password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address has a password in it, where everybody can read it.
    #[error(
        "the address of a Redis must not hold its password: everyone on the machine sees the arguments of a \
         program; leave it out, and put it into $PACELINE_REDIS_PASSWORD"
    )]
    PasswordInUrl,
    /// Nobody answers there, or not in time.
    #[error("no connection to Redis at {place}: {why}; see that it runs there and can be reached")]
    Unreachable {
        /// Where.
        place: Place,
        /// What went wrong.
        why: String,
    },
    /// It could not prove who it is.
    #[error(
        "Redis at {place} is not trusted: {why}; the certificates of this system count, or in their place those in the \
         file that $SSL_CERT_FILE names"
    )]
    Untrusted {
        /// Where.
        place: Place,
        /// What is wrong with its certificate, or with ours.
        why: String,
    },
    /// It wants another password or user, or none.
    #[error(
        "Redis at {place} does not let us in: {why}; the password comes from $PACELINE_REDIS_PASSWORD, the user \
         from the address (redis://USER@HOST)"
    )]
    LockedOut {
        /// Where.
        place: Place,
        /// What it said.
        why: String,
    },
    /// It was reached, and cannot serve us now: it loads its data, is a replica, or has no memory left.
    #[error("Redis at {place} is not ready: {why}")]
    NotReady {
        /// Where.
        place: Place,
        /// What it said.
        why: String,
    },
    /// It was reached, and will not do what was asked of it.
    #[error(
        "Redis at {place} refuses a command: {why}; it must be of version 6.2 or newer, and its keys ours"
    )]
    Refused {
        /// Where.
        place: Place,
        /// What it said.
        why: String,
    },
    /// It has been away longer than we wait.
    #[error("Redis has been away for {waited:?} ({source})")]
    Away {
        /// How long we have waited.
        waited: Duration,
        /// What went wrong last.
        source: Box<StoreError>,
    },
    /// The wait for it was called off.
    #[error("the wait for Redis was called off")]
    Cancelled,
}

impl StoreError {
    /// Whether it may be well again by itself.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            StoreError::Unreachable { .. } | StoreError::NotReady { .. }
        )
    }

    fn of(place: &Place, error: &RedisError) -> Self {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, NoPerm, ReadOnly, TryAgain};
        let (place, why) = (place.clone(), error.to_string());
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed | ErrorKind::Server(NoPerm), _)
            | (_, Some("NOAUTH" | "WRONGPASS")) => StoreError::LockedOut { place, why },
            (ErrorKind::Io, _) if is_about_trust(&why) => StoreError::Untrusted { place, why },
            (ErrorKind::Io, _) if error.is_timeout() => StoreError::Unreachable {
                place,
                why: "no answer in time".to_owned(),
            },
            (ErrorKind::Io | ErrorKind::Parse, _) => StoreError::Unreachable { place, why },
            (
                ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain),
                _,
            )
            | (_, Some("OOM" | "MISCONF" | "BUSY")) => StoreError::NotReady { place, why },
            _ => StoreError::Refused { place, why },
        }
    }
}

/// The client library has no kind of error for it, only these words of the libraries below.
fn is_about_trust(why: &str) -> bool {
    ["peer certificate", "PEM from file"]
        .iter()
        .any(|words| why.contains(words))
}

/// A connection that is made when it is needed, and made again when it broke.
///
/// One thread at a time asks; who wants to ask from several has several links.
pub struct Link {
    place: Place,
    answer_within: Duration,
    connection: Option<Connection>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Link {
            place, connection, ..
        } = self;
        f.debug_struct("Link")
            .field("place", place)
            .field("connected", &connection.is_some())
            .finish()
    }
}

impl Link {
    /// A link to this place, not connected yet. An answer must come within this time: give more than a command blocks.
    #[must_use]
    pub fn new(place: Place, answer_within: Duration) -> Self {
        Link {
            place,
            answer_within,
            connection: None,
        }
    }

    /// Where it leads.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Asks once, and connects before if need be.
    ///
    /// After an error it is not known whether Redis did what was asked: the answer alone may have been lost.
    ///
    /// # Errors
    /// [`StoreError`]: if it [is passing](StoreError::is_passing), the next call connects again.
    pub fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.place.connect(self.answer_within)?,
        };
        let answer = question(&mut connection).map_err(|error| StoreError::of(&self.place, &error));
        // What is left of an answer that was not read would be taken for the next one.
        if !matches!(answer, Err(StoreError::Unreachable { .. })) && connection.is_open() {
            self.connection = Some(connection);
        }
        answer
    }

    /// Asks until there is an answer, and sleeps in between on the token's clock; says once that it waits, and once that
    /// Redis is back. What is asked may so be done twice: ask only what bears that.
    ///
    /// # Errors
    /// What does not pass by itself, at once; [`StoreError::Away`] when it has not passed in `patience`;
    /// [`StoreError::Cancelled`].
    pub fn insist<T>(
        &mut self,
        patience: Duration,
        cancel: &CancelToken,
        mut question: impl FnMut(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let mut absence = Absence::default();
        loop {
            let error = match self.ask(&mut question) {
                Ok(answer) => {
                    absence.is_over(cancel.clock().now(), &self.place);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let again = absence.put_off(cancel.clock().now(), patience, error)?;
            cancel
                .sleep_until(again)
                .map_err(|_| StoreError::Cancelled)?;
        }
    }
}

/// Redis is away: since when, and when it is worth asking again.
#[derive(Debug, Default)]
pub struct Absence(AwayTime);

impl Absence {
    /// It did not answer at `now`. Returns when to ask again; says so the first time.
    ///
    /// # Errors
    /// The error itself, if it does not pass; [`StoreError::Away`] if it has lasted for this `patience`.
    pub fn put_off(
        &mut self,
        now: Instant,
        patience: Duration,
        error: StoreError,
    ) -> Result<Instant, StoreError> {
        if !error.is_passing() {
            return Err(error);
        }
        if !self.0.has_begun() {
            warn!("{error}: everything waits until it is back");
        }
        let again = self.0.put_off(now, patience, rand::random());
        again.map_err(|waited| StoreError::Away {
            waited,
            source: Box::new(error),
        })
    }

    /// It has answered: says so, if it was away.
    pub fn is_over(&mut self, now: Instant, place: &Place) {
        if let Some(away) = self.0.end(now) {
            warn!(
                "Redis at {place} is back after {:.1} s: going on",
                away.as_secs_f64()
            );
        }
    }
}

#[cfg(test)]
mod tests;
