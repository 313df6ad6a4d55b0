//! The URL and its errors, without a Redis; with one: `tests/share.rs`.

use super::*;

fn url(text: &str) -> RedisUrl {
    RedisUrl::parse(text, Some("secret")).unwrap()
}

#[test]
fn a_url_is_host_port_database_and_name() {
    let full = url("redis://me@host.example:7000/3?name=team-a");
    assert_eq!(
        (full.to_string().as_str(), full.name()),
        ("redis://me@host.example:7000/3", "team-a")
    );
    assert_eq!(full.key("pace:ab"), "paceline:{team-a}:pace:ab");
    for short in [
        "redis://localhost",
        "rediss://localhost/0",
        "redis://[::1]:1",
    ] {
        assert_eq!(url(short).name(), "default", "{short}");
    }
}

#[test]
fn a_password_in_a_url_is_an_error_and_is_never_shown() {
    let refused = RedisUrl::parse("redis://me:hunter2@host/0", None).unwrap_err();
    assert!(matches!(refused, StoreError::PasswordInUrl), "{refused:?}");
    assert!(matches!(
        RedisUrl::parse("redis://:hunter2@host", None),
        Err(StoreError::PasswordInUrl)
    ));
    let broken = RedisUrl::parse("redis://me:hunter2@host:nowhere", None).unwrap_err();
    for text in [
        refused.to_string(),
        format!("{broken} {broken:?}"),
        format!("{:?}", url("redis://me@h")),
    ] {
        assert!(
            !text.contains("hunter2") && !text.contains("secret"),
            "{text}"
        );
    }
}

#[test]
fn a_bad_url_is_an_error_that_says_what_is_wrong() {
    let table = [
        ("http://host", "begins with redis://"),
        ("redis:///0", "no host"),
        ("redis://host/first", "number of a database"),
        ("redis://host/0?nam=x", "name=NAME and nothing else"),
        ("redis://host?name=a&name=b", "two names"),
        ("redis://host?name=", "letters, digits"),
        ("redis://host?name=a%7Db", "letters, digits"),
        ("rediss://host#insecure", "#fragment"),
        ("redis://host:port", "cannot be read"),
    ];
    for (text, why) in table {
        let error = RedisUrl::parse(text, None).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn a_server_that_does_not_listen_is_an_error_that_may_pass() {
    let mut link = Link::new(url("redis://127.0.0.1:1"), Duration::from_secs(1)); // no program listens on port 1
    let asked = link.ask(|connection| redis::cmd("PING").query::<()>(connection));
    assert!(
        matches!(&asked, Err(error @ StoreError::Unreachable(..)) if error.is_passing()),
        "{asked:?}"
    );
}
