//! The display in a table: what it says of some moments, at 80 and at 40 columns.

use super::*;
use crate::batch::{Hold, Tokens};

const SECOND: Duration = Duration::from_secs(1);

fn steady() -> Snapshot {
    Snapshot {
        elapsed: SECOND * 75,
        answered: 740,
        failed: 3,
        calls: 743,
        rate: 600.4,
        allowed: Allowed::Told(600.0),
        workers: 13,
        in_flight: 8,
        waiting: 5,
        latency: Some(SECOND),
        tokens: Tokens {
            input: 12_345,
            output: 3_456_789,
        },
        ..Snapshot::new(Some(2000))
    }
}

fn paused() -> Snapshot {
    let hold = Some(Hold {
        left: Duration::from_millis(11_200),
        why: Why::Said,
    });
    Snapshot {
        hold,
        rate: 0.0,
        in_flight: 0,
        waiting: 13,
        refused: 12,
        calls: 755,
        ..steady()
    }
}

fn many_failures() -> Snapshot {
    Snapshot {
        answered: 400,
        failed: 343,
        faults: 1800,
        calls: 2200,
        ..steady()
    }
}

fn finding() -> Snapshot {
    let unknown = Snapshot {
        allowed: Allowed::Unknown,
        rate: 340.0,
        answered: 20,
        failed: 0,
        ..steady()
    };
    Snapshot {
        calls: 20,
        tokens: Tokens::default(),
        ..unknown
    }
}

fn found() -> Snapshot {
    Snapshot {
        allowed: Allowed::Found(590.0),
        rate: 575.0,
        refused: 4,
        ..finding()
    }
}

fn from_a_pipe() -> Snapshot {
    Snapshot {
        total: None,
        ..steady()
    }
}

#[test]
fn on_eighty_columns() {
    let price = Some(Price {
        input: 1.0,
        output: 2.0,
    });
    let table: [(Snapshot, &[&str]); 6] = [
        (
            steady(),
            &[
                "[============>                       ]  37 %  740 answered, 3 failed, 1257 left",
                "600 of 600 calls a minute, 2 min 6 s to go",
                "13 workers: 8 busy, 5 waiting",
                "tokens: 12.3k in, 3.46M out; cost $6.93 so far, about $18.69 in all",
            ],
        ),
        (
            paused(),
            &[
                "[============>                       ]  37 %  740 answered, 3 failed, 1257 left",
                "0 of 600 calls a minute, 2 min 18 s to go",
                "13 workers: 0 busy, 13 paused",
                "tokens: 12.3k in, 3.46M out; cost $6.93 so far, about $18.69 in all",
                "of 755 calls: 12 rate limited",
                "held by the server, 12 s",
            ],
        ),
        (
            many_failures(),
            &[
                "[===========>                      ]  37 %  400 answered, 343 failed, 1257 left",
                "600 of 600 calls a minute, 6 min 13 s to go",
                "13 workers: 8 busy, 5 waiting",
                "tokens: 12.3k in, 3.46M out; cost $6.93 so far, about $28.69 in all",
                "of 2200 calls: 1800 failed otherwise",
            ],
        ),
        (
            finding(),
            &[
                "[                                     ]   1 %  20 answered, 0 failed, 1980 left",
                "340 calls a minute, finding the limit, 5 min 49 s to go",
                "13 workers: 8 busy, 5 waiting",
            ],
        ),
        (
            found(),
            &[
                "[                                     ]   1 %  20 answered, 0 failed, 1980 left",
                "575 calls a minute, the limit is about 590, 3 min 22 s to go",
                "13 workers: 8 busy, 5 waiting",
                "of 20 calls: 4 rate limited",
            ],
        ),
        (
            from_a_pipe(),
            &[
                "740 answered, 3 failed",
                "600 of 600 calls a minute",
                "13 workers: 8 busy, 5 waiting",
                "tokens: 12.3k in, 3.46M out; cost $6.93 so far",
            ],
        ),
    ];
    for (now, expected) in table {
        assert_eq!(screen(&now, price, 80), expected);
    }
}

#[test]
fn on_forty_columns() {
    let expected = [
        "[=>     ]  37 %  740 answered, 3 failed",
        "0 of 600/min, 2 min 18 s to go",
        "13 workers: 0 busy, 13 paused",
        "tokens: 12.3k in, 3.46M out",
        "of 755 calls: 12 rate limited",
        "held by the server, 12 s",
    ];
    assert_eq!(screen(&paused(), None, 40), expected);
    assert_eq!(
        screen(&many_failures(), None, 40)[0],
        " 37 %  400 answered, 343 failed"
    );
    assert_eq!(
        screen(&found(), None, 40)[1],
        "575 of about 590/min, 3 min 22 s to go"
    );
}

#[test]
fn no_line_is_ever_as_wide_as_the_terminal() {
    let price = Some(Price {
        input: 1e6,
        output: 1e6,
    });
    let huge = Snapshot {
        elapsed: SECOND * 1_000_000,
        before: 123_456_789,
        answered: 123_456_789_012,
        failed: 123_456_789_012,
        faults: u64::MAX,
        refused: u64::MAX,
        rate: 1e9,
        workers: 10_000,
        hold: Some(Hold {
            left: SECOND * 1_000_000,
            why: Why::Silent,
        }),
        ..steady()
    };
    for now in [
        steady(),
        paused(),
        many_failures(),
        finding(),
        found(),
        from_a_pipe(),
        huge,
    ] {
        for width in 0..200 {
            let lines = screen(&now, price, width);
            assert!(
                lines
                    .iter()
                    .all(|line| line.len() <= width.saturating_sub(1)),
                "{width}: {lines:#?}"
            );
            assert!(lines.iter().all(|line| line.is_ascii()));
        }
    }
}

#[test]
fn elsewhere_one_line_says_it_all() {
    let price = Some(Price {
        input: 1.0,
        output: 2.0,
    });
    assert_eq!(
        one_line(&paused(), price),
        "740 answered, 3 failed, 1257 left; 0 of 600 calls a minute, 2 min 18 s to go; tokens: 12.3k in, 3.46M out; \
         cost $6.93 so far, about $18.69 in all; of 755 calls: 12 rate limited; held by the \
         server, 12 s"
    );
    let early = Snapshot {
        before: 50,
        ..Snapshot::new(Some(60))
    };
    assert_eq!(
        one_line(&early, None),
        "50 before, 0 answered, 0 failed, 10 left; 0 calls a minute, finding the limit"
    );
}

#[test]
fn a_pause_is_told_with_its_reason_and_its_end() {
    let until = SystemTime::UNIX_EPOCH + SECOND * 3612;
    assert_eq!(
        pause(None, Why::Said, SECOND * 12, until),
        "held by the server until 1970-01-01T01:00:12Z (12 s)"
    );
    let said = pause(Some(2), Why::Silent, SECOND * 61, until);
    assert_eq!(
        said,
        "key 2 is refused by the server until 1970-01-01T01:00:12Z (1 min 1 s)"
    );
}
