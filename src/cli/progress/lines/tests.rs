//! The display of some moments, at 80 and at 40 columns.

use super::*;
use crate::api::{CallError, Class, Usage};
use crate::batch::{Causes, FailureCause, Pause};

const SECOND: Duration = Duration::from_secs(1);

fn screen(now: &Snapshot, cost: &CostArgs, look: TextLook) -> Vec<String> {
    super::screen(now, cost, None, look)
}

fn one_line(now: &Snapshot, cost: &CostArgs) -> String {
    super::one_line(now, cost, None)
}

fn steady() -> Snapshot {
    Snapshot {
        elapsed: SECOND * 75,
        answered: 740,
        failed: 3,
        calls: 743,
        rate: 600.4,
        allowed: Allowed::Fixed(600.0),
        workers: 13,
        in_flight: 8,
        waiting: 5,
        latency: Some(SECOND),
        latency_p95: Some(SECOND * 2),
        tokens: Usage {
            input: 12_345,
            output: 3_456_789,
            ..Usage::default()
        },
        total: Some(2000),
        keys: 1,
        ..Snapshot::default()
    }
}

/// One failed call.
fn causes(status: Option<u16>, code: &str, message: &str) -> Causes {
    let mut causes = Causes::default();
    let error = CallError {
        class: Class::Fault,
        status,
        code: code.into(),
        message: message.into(),
        request_id: None,
        retry_after: None,
        hints: Box::default(),
        maybe_billed: false,
        body: None,
    };
    let cause = FailureCause::new(error.outcome(), error.status, &error.code, &error.message);
    causes.count("line-1", cause);
    causes
}

fn paused() -> Snapshot {
    let pause = Some(Pause {
        left: Duration::from_millis(11_200),
        length: SECOND * 20,
        why: PauseReason::Ordered,
    });
    Snapshot {
        pause,
        rate: 0.0,
        in_flight: 0,
        waiting: 13,
        rate_limited: 12,
        retried: 9,
        failed_calls: causes(Some(429), "rate_limit_exceeded", "Try again in 20s."),
        calls: 755,
        ..steady()
    }
}

fn many_failures() -> Snapshot {
    Snapshot {
        answered: 400,
        failed: 343,
        faults: 1800,
        retried: 1457,
        failed_calls: causes(None, "no_connection", "no connection: 拒否"),
        since_failure: Some(SECOND),
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
        tokens: Usage::default(),
        ..unknown
    }
}

fn found() -> Snapshot {
    Snapshot {
        allowed: Allowed::Found(590.0),
        rate: 575.0,
        rate_limited: 4,
        ..finding()
    }
}

fn from_a_pipe() -> Snapshot {
    Snapshot {
        total: None,
        ..steady()
    }
}

const PLAIN: TextLook = TextLook {
    width: 80,
    unicode: false,
    colour: false,
};

fn cost() -> CostArgs {
    CostArgs {
        price: "1,2".parse().ok(),
        prices: None,
        currency: "$".into(),
    }
}

fn free() -> CostArgs {
    CostArgs {
        price: None,
        ..cost()
    }
}

#[test]
fn on_eighty_columns() {
    let table: [(Snapshot, &[&str]); 6] = [
        (
            steady(),
            &[
                "==============--------------------------  37 %  743 of 2,000  2 min 6 s left",
                "  740 answered   3 failed                                  1 min 15 s so far",
                "  rate   600 of 600 calls a minute   8 in flight, latency 1 s (p95 2 s)",
                "  cost   $6.93 so far, about $18.69 in all   12.3k tokens in, 3.46M out",
            ],
        ),
        (
            paused(),
            &[
                "==============--------------------------  37 %  743 of 2,000  2 min 18 s left",
                "  740 answered   3 failed   9 retried                       1 min 15 s so far",
                "  rate   paused, 12 s of 20 s   0 in flight, 13 waiting",
                "  cost   $6.93 so far, about $18.69 in all   12.3k tokens in, 3.46M out",
                "  ! 429 rate_limit_exceeded: Try again in 20s.",
            ],
        ),
        (
            many_failures(),
            &[
                "==============--------------------------  37 %  743 of 2,000  6 min 13 s left",
                "  400 answered   343 failed   1,457 retried                 1 min 15 s so far",
                "  rate   600 of 600 calls a minute   8 in flight, latency 1 s (p95 2 s)",
                "  cost   $6.93 so far, about $28.69 in all   12.3k tokens in, 3.46M out",
                "  ! no connection: ??",
            ],
        ),
        (
            finding(),
            &[
                "----------------------------------------   1 %  20 of 2,000  5 min 49 s left",
                "  20 answered   0 failed                                   1 min 15 s so far",
                "  rate   340 calls a minute, finding the limit   8 in flight, latency 1 s",
            ],
        ),
        (
            found(),
            &[
                "----------------------------------------   1 %  20 of 2,000  3 min 22 s left",
                "  20 answered   0 failed                                   1 min 15 s so far",
                "  rate   575 of about 590 calls a minute   8 in flight, latency 1 s (p95 2 s)",
            ],
        ),
        (
            from_a_pipe(),
            &[
                "743 prompts finished",
                "  740 answered   3 failed   1 min 15 s so far",
                "  rate   600 of 600 calls a minute   8 in flight, latency 1 s (p95 2 s)",
                "  cost   $6.93 so far   12.3k tokens in, 3.46M out",
            ],
        ),
    ];
    for (now, expected) in table {
        assert_eq!(screen(&now, &cost(), PLAIN), expected);
    }
}

#[test]
fn on_forty_columns() {
    let narrow = TextLook { width: 40, ..PLAIN };
    let expected = [
        "  37 %  743 of 2,000  2 min 18 s left",
        "  740 answered   3 failed   9 retried",
        "  rate   paused, 12 s of 20 s",
        "  used   12.3k tokens in, 3.46M out",
        "  ! 429 rate_limit_exceeded: Try again",
        "    in 20s.",
    ];
    assert_eq!(screen(&paused(), &free(), narrow), expected);
}

#[test]
fn what_goes_wrong_is_told_in_whole_words_and_in_three_lines_at_most() {
    let narrow = TextLook { width: 40, ..PLAIN };
    let dead = Snapshot {
        answered: 0,
        calls: 1,
        failed_calls: causes(
            None,
            "no_connection",
            &"nothing listens at http://127.0.0.1:8321 (connection refused) ".repeat(9),
        ),
        ..steady()
    };
    let lines = screen(&dead, &free(), narrow);
    let expected = [
        "  ! 1 of 1 call: nothing listens at",
        "    http://127.0.0.1:8321 (connection",
        "    refused) nothing listens at",
    ];
    assert!(lines.ends_with(&expected.map(str::to_owned)), "{lines:#?}");
}

#[test]
fn tokens_a_second_are_shown_where_answers_are_streams_at_every_width() {
    for width in [50, 80, 200] {
        let look = TextLook { width, ..PLAIN };
        let lines = super::screen(&steady(), &cost(), Some(1234.4), look);
        assert_eq!(lines[4], "  stream 1,234 tokens a second", "{lines:#?}");
    }
    let line = super::one_line(&steady(), &cost(), Some(0.0));
    assert!(line.ends_with("; 0 tokens a second"), "{line}");
    assert!(
        !screen(&steady(), &cost(), PLAIN)
            .join("")
            .contains("a second")
    );
}

#[test]
fn while_nothing_gets_through_no_time_is_invented() {
    let stuck = Snapshot {
        answered: 0,
        failed: 0,
        faults: 16,
        calls: 16,
        failed_calls: causes(
            None,
            "no_connection",
            "cannot find the host api.opnai.com (DNS)",
        ),
        ..steady()
    };
    let lines = screen(&stuck, &free(), PLAIN);
    assert!(
        lines[0].ends_with("  0 %  0 of 2,000  no answer yet"),
        "{lines:#?}"
    );
    let trouble = "  ! 1 of 16 calls: cannot find the host api.opnai.com (DNS)";
    assert_eq!(lines.last().map(String::as_str), Some(trouble));
    assert!(one_line(&stuck, &free()).contains("; no answer yet; "));
}

#[test]
fn while_a_server_keeps_every_call_waiting_no_time_is_invented() {
    let hanging = Snapshot {
        answered: 0,
        failed: 0,
        retried: 0,
        in_flight: 16,
        ..steady()
    };
    let lines = screen(&hanging, &free(), PLAIN);
    assert!(lines[0].ends_with("  no answer yet"), "{lines:#?}");
}

#[test]
fn earlier_runs_count_in_the_bar_and_are_named() {
    let resumed = Snapshot {
        before: 50,
        total: Some(2050),
        ..steady()
    };
    let lines = screen(&resumed, &free(), PLAIN);
    assert!(lines[0].contains(" 38 %  793 of 2,050"), "{lines:#?}");
    assert!(lines[1].contains("50 from earlier runs"), "{lines:#?}");
}

#[test]
fn colours_tell_good_bad_and_paused_apart() {
    let coloured = TextLook {
        colour: true,
        unicode: true,
        ..PLAIN
    };
    let lines = screen(&paused(), &free(), coloured);
    assert!(lines[0].starts_with("\u{1b}[33m━"), "{lines:#?}");
    assert!(
        lines[1].contains("\u{1b}[32m  ✓ 740 answered\u{1b}[0m"),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains("\u{1b}[31m   ✗ 3 failed\u{1b}[0m"),
        "{lines:#?}"
    );
    assert!(
        lines[2].starts_with("\u{1b}[33m  rate   paused"),
        "{lines:#?}"
    );
    let plain = ["[31m", "[32m", "[33m", "[2m", "[0m"]
        .iter()
        .fold(lines.join("\n"), |text, code| {
            text.replace(&format!("\u{1b}{code}"), "")
        });
    let unicode = TextLook {
        colour: false,
        ..coloured
    };
    assert_eq!(plain, screen(&paused(), &free(), unicode).join("\n"));
}

#[test]
fn no_line_is_ever_as_wide_as_the_terminal() {
    let cost = CostArgs {
        price: "1000000,1000000".parse().ok(),
        ..cost()
    };
    let huge = Snapshot {
        elapsed: SECOND * 1_000_000,
        before: 123_456_789,
        answered: 123_456_789_012,
        failed: 123_456_789_012,
        faults: u64::MAX,
        rate_limited: u64::MAX,
        rate: 1e9,
        workers: 10_000,
        pause: Some(Pause {
            left: SECOND * 1_000_000,
            length: SECOND * 1_000_000,
            why: PauseReason::RateLimited,
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
            let lines = screen(&now, &cost, TextLook { width, ..PLAIN });
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
    assert_eq!(
        one_line(&paused(), &cost()),
        "740 answered, 3 failed, 1,257 left; 0 of 600 calls a minute; 2 min 18 s left; 12.3k tokens in, 3.46M out; \
         $6.93 so far, about $18.69 in all; 429 rate_limit_exceeded: Try again in 20s.; paused, 12 s of 20 s"
    );
    let early = Snapshot {
        before: 50,
        total: Some(60),
        keys: 1,
        ..Snapshot::default()
    };
    assert_eq!(
        one_line(&early, &free()),
        "50 from earlier runs, 0 answered, 0 failed, 10 left; 0 calls a minute, finding the limit; no answer yet"
    );
}

#[test]
fn a_pause_is_told_with_its_reason_and_its_end() {
    let said = pause(None, PauseReason::Ordered, SECOND * 12);
    assert!(
        said.starts_with("paused by the server, continues at "),
        "{said}"
    );
    assert!(said.ends_with(" (in 12 s)"), "{said}");
    let said = pause(Some(2), PauseReason::RateLimited, SECOND * 61);
    assert!(
        said.starts_with("key 2 is rate limited by the server, continues at "),
        "{said}"
    );
}
