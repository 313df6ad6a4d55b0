//! The address and the patience, without a Redis; with one: `tests/share.rs`.

use super::*;
use crate::clock::{Clock, SimClock};

fn place(text: &str) -> Place {
    Place::parse(text, Some("secret")).unwrap()
}

#[test]
fn an_address_is_host_port_database_and_name() {
    let full = place("redis://me@host.example:7000/3?name=team-a");
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
        assert_eq!(place(short).name(), "default", "{short}");
    }
}

#[test]
fn a_password_is_neither_taken_from_the_address_nor_ever_shown() {
    let refused = Place::parse("redis://me:hunter2@host/0", None).unwrap_err();
    assert!(matches!(refused, StoreError::PasswordInUrl), "{refused:?}");
    assert!(matches!(
        Place::parse("redis://:hunter2@host", None),
        Err(StoreError::PasswordInUrl)
    ));
    let broken = Place::parse("redis://me:hunter2@host:nowhere", None).unwrap_err();
    for text in [
        refused.to_string(),
        format!("{broken} {broken:?}"),
        format!("{:?}", place("redis://me@h")),
    ] {
        assert!(
            !text.contains("hunter2") && !text.contains("secret"),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_address_is_refused_with_what_is_wrong() {
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
        let error = Place::parse(text, None).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn who_is_away_is_asked_again_more_and_more_seldom_until_patience_ends() {
    let (start, patience) = (Instant::now(), Duration::from_secs(60));
    let away = || StoreError::Unreachable {
        place: place("redis://h"),
        why: "refused".into(),
    };
    let (mut absence, mut now, mut tries) = (Absence::default(), start, 0);
    let given_up = loop {
        match absence.put_off(now, patience, away()) {
            Ok(again) => (now, tries) = (again, tries + 1),
            Err(error) => break error,
        }
    };
    assert_eq!(now, start + patience);
    assert!((12..40).contains(&tries), "{tries} tries in a minute");
    assert!(
        matches!(given_up, StoreError::Away { waited, .. } if waited == patience),
        "{given_up}"
    );
}

#[test]
fn what_does_not_pass_is_not_waited_for() {
    let locked_out = StoreError::LockedOut {
        place: place("redis://h"),
        why: "WRONGPASS".into(),
    };
    let mut absence = Absence::default();
    assert!(
        absence
            .put_off(Instant::now(), Duration::from_secs(60), locked_out)
            .is_err()
    );
}

#[test]
fn nobody_home_is_said_and_a_wait_for_it_can_be_called_off() {
    let clock = SimClock::new();
    let cancel = CancelToken::on(clock.clone());
    let mut link = Link::new(place("redis://127.0.0.1:1"), Duration::from_secs(1)); // nobody listens on port 1
    let asked = link.ask(|connection| redis::cmd("PING").query::<()>(connection));
    assert!(
        matches!(asked, Err(StoreError::Unreachable { .. })),
        "{asked:?}"
    );
    let start = clock.now();
    let ping = |connection: &mut Connection| redis::cmd("PING").query::<()>(connection);
    let insisted = link.insist(Duration::from_secs(30), &cancel, ping);
    assert!(
        matches!(insisted, Err(StoreError::Away { .. })),
        "{insisted:?}"
    );
    assert_eq!(clock.now() - start, Duration::from_secs(30));
    cancel.cancel();
    assert!(matches!(
        link.insist(Duration::from_secs(30), &cancel, ping),
        Err(StoreError::Cancelled)
    ));
}
