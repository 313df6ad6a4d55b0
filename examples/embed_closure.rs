//! Embedding 2: around any closure that can fail. Nothing here knows of HTTP: this runs with no feature at all.
//!
//! An old library keeps its books in a database that is locked now and then, and allows so many queries a second.
//!
//! `cargo run --example embed_closure`

use std::fmt;
use std::time::Duration;

use paceline::{Backoff, Rate, RateLimiter, Retry, Verdict};

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
fn query(table: &'static str, attempt: u32) -> Result<u32, DbError> {
    match table {
        "books" if attempt <= 2 => Err(DbError::Locked),
        "books" => Ok(42),
        _ => Err(DbError::NoSuchTable(table)),
    }
}

fn main() {
    let limiter = RateLimiter::new(Rate::every(Duration::from_millis(5)));
    let backoff = Backoff::new()
        .base(Duration::from_millis(10))
        .max(Duration::from_secs(1));
    let retry = Retry::new()
        .backoff(backoff)
        .retries(3)
        .within(Duration::from_secs(30));
    // There is no default verdict: a missing table will be missing the next time, too.
    let judge = |error: &DbError| match error {
        DbError::Locked => Verdict::Retry,
        DbError::NoSuchTable(_) => Verdict::Stop,
    };
    for table in ["books", "buoks"] {
        let answer = retry
            .call(judge, |attempt| query(table, attempt.number()))
            .limiter(&limiter)
            .seed(7) // the same waits each time; without it they are drawn at random
            .on_retry(|failed| println!("{table}: {}, again in {:?}", failed.error, failed.wait))
            .run();
        match answer {
            Ok(count) => println!("{table}: {count} rows"),
            Err(error) => println!("{table}: {error}"),
        }
    }
    println!("notice: two failures, two verdicts; the second was not tried again.");
}
