//! Embedding 2: around any closure that can fail. Nothing here knows of HTTP: this runs with no feature at all.
//!
//! A library of old keeps its books in a database that locks now and then, and allows so many queries a second.
//!
//! `cargo run --example embed_closure`

use std::fmt;
use std::time::Duration;

use paceline::retry::GaveUp;
use paceline::{Backoff, CancelToken, Rate, RateLimiter, Retry, Verdict};

/// What this database says when it cannot.
#[derive(Debug)]
enum DbError {
    Locked,
    NoSuchTable(&'static str),
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DbError::Locked => f.write_str("the database is locked"),
            DbError::NoSuchTable(table) => write!(f, "no such table: {table}"),
        }
    }
}

/// A database that is locked the first two times.
fn query(table: &'static str, times: u32) -> Result<u32, DbError> {
    match table {
        "books" if times <= 2 => Err(DbError::Locked),
        "books" => Ok(42),
        _ => Err(DbError::NoSuchTable(table)),
    }
}

fn main() {
    let limiter = RateLimiter::new(Rate::every(Duration::from_millis(5)));
    let backoff = Backoff {
        base: Duration::from_millis(10),
        max: Duration::from_secs(1),
        ..Backoff::default()
    };
    let retry = Retry {
        backoff,
        max_retries: 3,
        deadline: Some(Duration::from_secs(30)),
    };
    // There is no default verdict: a missing table will be missing the next time, too.
    let judge = |error: &DbError| match error {
        DbError::Locked => Verdict::Retry,
        DbError::NoSuchTable(_) => Verdict::Stop,
    };
    for table in ["books", "buoks"] {
        let seed = 7; // the same delays each time; `Retry::call` draws one by itself
        let outcome = retry.trace(
            &CancelToken::default(),
            seed,
            judge,
            |failure| println!("{table}: {}, wait {:?}", failure.error, failure.backoff),
            |n| {
                limiter.wait();
                query(table, n)
            },
        );
        let tries = outcome.failures.len() + usize::from(outcome.result.is_ok());
        match outcome.result {
            Ok(count) => println!("{table}: {count} rows after {tries} tries"),
            Err(GaveUp::Stopped) => println!("{table}: not worth another try after {tries}"),
            Err(reason) => println!("{table}: gave up after {tries} tries: {reason}"),
        }
    }
    println!("notice: two failures, two verdicts; the second was not tried again.");
}
