//! Whole reports on made-up records.

mod batch;
mod page;

use super::numbers::{Excess, Percentiles};
use super::*;
use crate::batch::Flags;
use crate::cli::template::{self, TextLook};
use serde_json::{Value, json};
use std::io::{self, Cursor};
use std::num::NonZeroU32;

/// A record of the prompt on this line, with these calls.
fn record(line: u64, calls: &[Value], rest: Value) -> String {
    let mut record = json!({"id": format!("pl_{line}_ca978112ca1bbdca"), "custom_id": format!("line-{line}"),
        "text": "text", "finish_reason": "stop", "attempts": calls});
    record
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    format!("{record}\n")
}

fn answered(line: u64, calls: &[Value]) -> String {
    record(line, calls, json!({}))
}

fn failed(line: u64, code: &str, message: &str) -> String {
    record(
        line,
        &[],
        json!({"text": null, "error": {"code": code, "message": message}}),
    )
}

/// So many milliseconds after ten o'clock.
fn moment(at: u64) -> String {
    let ms = 1_795_514_400_000 + i64::try_from(at).unwrap();
    format!("{:.3}", jiff::Timestamp::from_millisecond(ms).unwrap())
}

/// The `n`th call of a prompt, so many milliseconds after ten o'clock.
fn call(n: u32, at: u64, rest: Value) -> Value {
    let started_at = moment(at);
    let mut call = json!({"n": n, "started_at": started_at, "outcome": "answered", "status": 200});
    call.as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    call
}

fn rate_limited(n: u32, at: u64, took: u64, retry_after: u64) -> Value {
    let rest = json!({"outcome": "rate_limited", "status": 429, "took_ms": took, "retry_after_ms": retry_after});
    call(n, at, rest)
}

fn rpm(calls: u32) -> Option<AuditedLimit> {
    Some(AuditedLimit {
        calls_a_minute: NonZeroU32::new(calls).unwrap(),
        burst: NonZeroU32::MIN,
    })
}

fn report_on(records: &[String], limit: Option<AuditedLimit>) -> Report {
    Report::read(&mut Results::new(Cursor::new(records.concat())), limit).unwrap()
}

fn text_of(report: &Report) -> String {
    report.to_text("$", TextLook::PLAIN).unwrap()
}

fn page_of(report: &Report) -> String {
    report.to_html("r", "$").unwrap()
}

fn report(records: &[String]) -> Report {
    report_on(records, None)
}

// ---- Prompts --------------------------------------------------------------------------------------------------------

#[test]
fn the_last_record_of_a_prompt_says_what_became_of_it_and_the_calls_of_all_count() {
    let records = [
        failed(3, "timeout", "too slow"),
        record(
            1,
            &[call(1, 0, json!({}))],
            json!({"text": null, "error": {"code": "odd", "message": "?"}}),
        ),
        record(2, &[], json!({"finish_reason": "length"})),
        answered(1, &[call(1, 500, json!({}))]),
        record(4, &[], json!({"text": " "})),
    ];
    let Report { prompts, calls, .. } = report(&records);
    assert_eq!(
        (prompts.answered, prompts.failed, prompts.superseded),
        (3, 1, 1)
    );
    assert_eq!((prompts.flags.cut, prompts.flags.empty), (1, 1));
    assert_eq!(
        prompts.causes.list.len(),
        1,
        "the failure of line 1 is made good"
    );
    assert_eq!(
        (calls.total, calls.retries),
        (2, 0),
        "the first call of another run is no retry"
    );
}

#[test]
fn an_answer_that_a_gate_passed_on_unread_is_not_said_to_be_empty() {
    let passed = |reason| json!({"text": "", "finish_reason": reason});
    let flags = |reason| report(&[record(1, &[], passed(reason))]).prompts.flags;
    assert_eq!(
        (flags("stop").empty, flags("not_read")),
        (1, Flags::default())
    );
}

#[test]
fn a_failure_without_code_and_message_is_told_too() {
    let report = report(&[failed(1, "", "")]);
    assert!(text_of(&report).contains("1 failed") && page_of(&report).contains("1 failed"));
}

#[test]
fn causes_come_with_the_most_frequent_first_and_with_prompts_that_still_fail() {
    let records = [
        failed(5, "timeout", "of line 5"),
        failed(1, "timeout", "superseded"),
        failed(4, "bad", "of line 4"),
        failed(9, "timeout", "of line 9"),
        failed(8, "gone", "made good"),
        answered(1, &[]),
        answered(8, &[]),
    ];
    let causes = report(&records).prompts.causes;
    let said: Vec<_> = causes
        .list
        .iter()
        .map(|cause| {
            (
                &*cause.code,
                cause.count,
                cause.first.join(" "),
                &*cause.message,
            )
        })
        .collect();
    let expected = [
        ("timeout", 2, "line-5 line-9".to_owned(), "of line 9"),
        ("bad", 1, "line-4".to_owned(), "of line 4"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_cause_is_told_with_its_class_status_code_message_first_prompts_and_advice() {
    let calls = |outcome: &str, status: Option<u16>| {
        [call(
            1,
            0,
            json!({"outcome": outcome, "status": status, "took_ms": 5}),
        )]
    };
    let rest = |status: Option<u16>, code: &str, message: &str| {
        let response = status.map(|status| json!({"status_code": status, "body": null}));
        json!({"text": null, "response": response, "error": {"code": code, "message": message},
            "settings": {"model": "gpt-9", "server": "api.x.com"}})
    };
    let missing = rest(
        Some(404),
        "model_not_found",
        "The model `gpt-9` does not exist.",
    );
    let gone = rest(None, "broken", "broken by the server");
    let records: Vec<_> = (1..=7)
        .map(|line| match line {
            1 => record(line, &calls("connection", None), gone.clone()),
            _ => record(line, &calls("rejected", Some(404)), missing.clone()),
        })
        .collect();
    let report = report(&records);
    let text = text_of(&report);
    for words in [
        "0 of 7 prompts answered, 7 failed; pace not checked",
        "6 x 404 model_not_found: The model `gpt-9` does not exist.\n",
        "rejected; line-2, line-3, line-4, line-5, line-6, …\n",
        "help: is -m gpt-9 right?\n",
        "1 x connection: broken by the server\n",
        "fault; line-1\n",
        "help: is the address right? See --base-url\n",
        "model             gpt-9 at api.x.com\n",
        "made              7: 6 x 404, 1 x connection\n",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let page = page_of(&report);
    assert!(
        page.contains("<span class=\"word\">line-2,</span> "),
        "no break at a hyphen"
    );
    let page = page
        .replace("<span class=\"word\">", "")
        .replace("</span>", "");
    for words in [
        "data-of=\"class\">rejected</td>",
        "<bdi>404 model_not_found</bdi>",
        "<bdi>The model `gpt-9` does not exist.</bdi>",
        "<bdi>line-2, line-3, line-4, line-5, line-6, …</bdi>",
        "<bdi>is -m gpt-9 right?</bdi>",
        "Calls: 7: 6 x 404, 1 x connection.",
        "<dt>model</dt><dd>gpt-9</dd><dt>server</dt><dd>api.x.com</dd>",
    ] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
}

#[test]
fn the_cost_is_told_if_a_price_is_given() {
    let usage = json!({"response": {"body": {"usage": {"prompt_tokens": 200_000, "completion_tokens": 10}}}});
    let report = report(&[record(1, &[call(1, 0, json!({}))], usage)]);
    let priced = report.clone().priced("0.15,0.60".parse().ok());
    let text = priced.to_text("$", TextLook::PLAIN).unwrap();
    assert!(text.contains("cost              $0.03\n"), "{text}");
    assert!(
        priced
            .to_html("r", "$")
            .unwrap()
            .contains("<span>cost</span><b>$0.03</b>")
    );
    assert!(page_of(&report).contains("<span>tokens</span><b>200k</b>"));
}

#[test]
fn the_cost_of_calls_without_an_answer_and_the_share_of_a_cache_are_told() {
    let usage = |input: u64, cached: u64| json!({"prompt_tokens": input, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": cached}});
    let response = |usage: Value| json!({"status_code": 200, "body": {"usage": usage}});
    let lost = json!({"outcome": "unreadable", "usage": {"input": 1_000_000, "output": 0}});
    let calls = [call(1, 0, lost), call(2, 2000, json!({}))];
    let answer = json!({"response": response(usage(2_000_000, 500_000))});
    let failure = json!({"text": null, "response": response(usage(1_000_000, 0)),
        "error": {"code": "rejected", "message": "no"}});
    let records = [
        record(1, &calls, answer),
        record(2, &[call(1, 4000, json!({"outcome": "rejected"}))], failure),
    ];
    let report = report(&records);
    let all = report.tokens;
    assert_eq!(
        (all.usage.input, all.without_answer.input),
        (4_000_000, 2_000_000)
    );
    let priced = report.clone().priced("1,2".parse().ok());
    let page = priced.to_html("r", "$").unwrap();
    for words in [
        "<dt>all calls</dt><dd>$4.00</dd>",
        "<dt>calls without an answer</dt><dd>$2.00</dd>",
        "<dt>input from a cache</dt><dd>12.5 %</dd>",
    ] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert!(!page_of(&report).contains("calls without an answer"));
}

#[test]
fn the_limit_that_the_records_name_is_checked_unless_another_is_given() {
    let at = |line: u64, ms: u64, rpm: Option<u32>| {
        let settings = json!({"settings": {"model": "m", "rpm": rpm}});
        record(line, &[call(1, ms, json!({}))], settings)
    };
    let limit = |rpms: [Option<u32>; 2], given| {
        let records = [at(1, 0, rpms[0]), at(2, 100, rpms[1])];
        let report = report_on(&records, given);
        let text = text_of(&report);
        let verdict = text
            .lines()
            .next()
            .unwrap()
            .split("; ")
            .last()
            .unwrap()
            .to_owned();
        (report.limit, report.limit_is_recorded, verdict)
    };
    let kept = "pace kept: no call too soon.".to_owned();
    let soon = "pace not kept: 1 call too soon.".to_owned();
    assert_eq!(limit([Some(600); 2], None), (rpm(600), true, kept.clone()));
    assert_eq!(limit([Some(300); 2], None), (rpm(300), true, soon.clone()));
    // A run that went on faster.
    assert_eq!(limit([Some(300), Some(600)], None), (rpm(600), true, kept));
    assert_eq!(limit([Some(600); 2], rpm(300)), (rpm(300), false, soon));
    let (none, is_recorded, verdict) = limit([Some(600), None], None);
    assert_eq!((none, is_recorded), (None, false));
    assert!(verdict.starts_with("pace not checked"), "{verdict}");
}

#[test]
fn figures_of_a_narrow_terminal_stand_below_each_other_and_colour_is_a_choice() {
    let records = [answered(
        1,
        &[
            rate_limited(1, 0, 40, 500),
            call(2, 600, json!({"took_ms": 1250})),
        ],
    )];
    let look = |width, colour| TextLook {
        width,
        colour,
        ..TextLook::PLAIN
    };
    let report = report(&records);
    let of = |look| report.to_text("$", look).unwrap();
    let narrow = of(look(50, false));
    assert!(
        narrow.lines().all(|line| line.chars().count() <= 50),
        "{narrow}"
    );
    for figure in [
        "server                 1.29 s",
        "longest                1.25 s",
    ] {
        assert!(narrow.contains(figure), "{narrow}");
    }
    let painted = of(look(80, true));
    assert!(
        painted.contains("\u{1b}[33mpaused for 500 ms\u{1b}[0m"),
        "{painted}"
    );
    assert_eq!(console::strip_ansi_codes(&painted), of(TextLook::PLAIN));
}

#[test]
fn the_slowest_and_the_most_retried_are_ranked_from_the_first_call_to_the_end_of_the_last() {
    let calls = |count: u32| -> Vec<_> {
        (1..=count)
            .map(|n| call(n, u64::from(n) * 1000, json!({"took_ms": 100})))
            .collect()
    };
    let records: Vec<_> = [(1, 2), (2, 1), (3, 5), (4, 3), (5, 4)]
        .map(|(line, count)| answered(line, &calls(count)))
        .into();
    let report = report(&records);
    let slowest = report
        .slowest
        .iter()
        .map(|slow| (slow.prompt.custom_id.as_str(), slow.took_ms));
    let expected = [
        ("line-3", 4100),
        ("line-5", 3100),
        ("line-4", 2100),
        ("line-1", 1100),
        ("line-2", 100),
    ];
    assert!(slowest.eq(expected));
    let retried = report
        .most_retried
        .iter()
        .map(|most| (most.prompt.custom_id.as_str(), most.retries));
    assert!(retried.eq([("line-3", 4), ("line-5", 3), ("line-4", 2), ("line-1", 1)]));
}

// ---- Calls and their pace -------------------------------------------------------------------------------------------

#[test]
fn calls_are_counted_by_outcome_with_retries_and_tokens() {
    let usage = |input, output| json!({"response": {"body": {"usage": {"input_tokens": input, "output_tokens": output}}}});
    let records = [
        record(
            1,
            &[
                rate_limited(1, 0, 5, 100),
                rate_limited(2, 200, 5, 100),
                call(3, 400, json!({})),
            ],
            usage(1, 2),
        ),
        record(2, &[call(1, 600, json!({}))], usage(10, 20)),
        record(
            3,
            &[
                call(1, 800, json!({"outcome": "timeout", "status": null})),
                call(2, 1000, json!({})),
            ],
            json!({}),
        ),
    ];
    let Report { calls, tokens, .. } = report(&records);
    assert_eq!((calls.total, calls.retries), (6, 3));
    let failed = calls.failed.by_label();
    assert_eq!(failed, [("429".to_owned(), 2), ("time-out".to_owned(), 1)]);
    assert_eq!(
        (tokens.usage.input, tokens.usage.output, tokens.stated_by),
        (11, 22, 2)
    );
}

#[test]
fn the_order_of_the_file_is_that_of_completion_and_does_not_matter() {
    let at = |line: u64| answered(line, &[call(1, line * 100, json!({}))]);
    let (sorted, unsorted) = ([1, 2, 3, 4].map(at), [3, 1, 4, 2].map(at));
    let [sorted, unsorted] = [sorted, unsorted].map(|records| report_on(&records, rpm(600)));
    assert_eq!(
        (&sorted.span, &sorted.times),
        (&unsorted.span, &unsorted.times)
    );
    let (pace, gap) = (
        &unsorted.keys[0],
        unsorted.keys[0].smallest_gap.as_ref().unwrap(),
    );
    assert_eq!(
        (
            gap.ms,
            gap.from.custom_id.as_str(),
            gap.to.custom_id.as_str()
        ),
        (100, "line-1", "line-2")
    );
    assert_eq!(pace.excess, Some(Excess::default()));
}

#[test]
fn each_key_has_a_pace_of_its_own() {
    let at = |line, key: u64, at| answered(line, &[call(1, at, json!({"key": key}))]);
    let records = [
        at(1, 0, 0),
        at(2, 1, 1),
        at(3, 0, 100),
        at(4, 1, 51),
        at(5, 1, 151),
    ];
    let report = report_on(&records, rpm(600));
    let paces: Vec<_> = report
        .keys
        .iter()
        .map(|pace| {
            let gap = pace.smallest_gap.as_ref().map(|gap| gap.ms);
            (
                pace.key,
                pace.calls,
                gap,
                pace.excess.as_ref().unwrap().too_soon,
            )
        })
        .collect();
    assert_eq!(paces, [(0, 2, Some(100), 0), (1, 3, Some(50), 1)]);
    let worst = report.keys[1]
        .excess
        .as_ref()
        .unwrap()
        .worst
        .as_ref()
        .unwrap();
    assert_eq!((worst.call.custom_id.as_str(), worst.by_ms), ("line-4", 50));
    let span = report.span.unwrap();
    assert_eq!(
        (span.busiest_minute.calls, span.calls_a_minute),
        (5, Some(4.0 * 60_000.0 / 151.0))
    );
}

#[test]
fn paused_is_the_part_of_the_wait_for_a_permit_that_a_rate_limited_call_of_the_same_key_ordered() {
    let waited = |line, key: u64, at, ms: u64| {
        answered(line, &[call(1, at, json!({"key": key, "paced_ms": ms}))])
    };
    let records = [
        waited(2, 0, 3150, 2500),
        waited(3, 0, 1500, 300),
        waited(4, 1, 3150, 2500),
        waited(5, 0, 9000, 500),
        answered(1, &[rate_limited(1, 1000, 100, 2000)]),
    ];
    let report = report(&records);
    let paused = report
        .keys
        .iter()
        .map(|pace| (pace.times.paced_ms, pace.times.paused_ms));
    assert!(
        paused.eq([(3300, 2300), (2500, 0)]),
        "from 1100 to 3100, and 300 in it; the other key is free"
    );
    assert_eq!(
        (report.times.paced_ms, report.times.paused_ms),
        (5800, 2300)
    );
}

#[test]
fn a_call_is_rate_limited_by_one_of_three_statuses_or_what_a_gateway_makes_of_one() {
    let paused = |status: u16, outcome: &str, retry_after: Option<u64>| {
        let rest = json!({"status": status, "outcome": outcome, "retry_after_ms": retry_after});
        let waited = answered(2, &[call(1, 900, json!({"paced_ms": 900}))]);
        report(&[answered(1, &[call(1, 0, rest)]), waited])
            .times
            .paused_ms
    };
    for (status, outcome) in [
        (429, "rate_limited"),
        (503, "server_error"),
        (529, "x"),
        (200, "rate_limited"),
    ] {
        assert_eq!(paused(status, outcome, Some(500)), 500, "{status}");
    }
    assert_eq!(
        paused(500, "server_error", Some(500)),
        0,
        "a 500 puts off its own prompt only"
    );
    let unpaused = paused(429, "no_capacity", None);
    assert_eq!(unpaused, 0, "a lack of capacity is no pause");
    assert_eq!(
        paused(429, "rate_limited", None),
        900,
        "without a time it is until the next call that waited"
    );
}

#[test]
fn latency_is_that_of_answers_and_that_of_all_calls() {
    let took = |ms: u64| call(1, ms, json!({"took_ms": ms}));
    let answers: Vec<_> = (1..=100).map(|ms| answered(ms, &[took(ms)])).collect();
    let refusal = answered(
        101,
        &[rate_limited(1, 0, 2000, 1), rate_limited(2, 5000, 1, 1)],
    );
    let latency = report(&[answers, vec![refusal]].concat()).latency;
    assert_eq!(
        latency.answered,
        Some(Percentiles {
            p50_ms: 50,
            p95_ms: 95,
            p99_ms: 99,
            longest_ms: 100
        })
    );
    assert_eq!(latency.all.unwrap().longest_ms, 2000);
}

// ---- The file -------------------------------------------------------------------------------------------------------

#[test]
fn an_empty_file_is_a_run_that_has_just_begun() {
    let report = report(&[]);
    assert_eq!(
        (text_of(&report).as_str(), report.span, report.latency.all),
        ("no records yet", None, None)
    );
    assert!(
        serde_json::to_value(&report).unwrap()["keys"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_unfinished_last_line_does_not_count_and_a_broken_one_before_it_is_named() {
    let whole = answered(1, &[call(1, 0, json!({}))]);
    let report = report(&[whole.clone(), "{\"id\":\"pl_9".to_owned()]);
    assert_eq!((report.torn_bytes, report.calls.total), (11, 1));
    let broken = [whole.clone(), "{\"id\":\"pl_2_\n".to_owned(), whole].concat();
    let error = Report::read(&mut Results::new(Cursor::new(broken)), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("line 2 is not a whole record (EOF"),
        "{error}"
    );
}

#[test]
fn a_file_that_shrinks_between_the_two_readings_is_noticed() {
    /// Whoever seeks finds it empty.
    struct Shrinking(Cursor<String>);
    impl io::Read for Shrinking {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.0.read(to)
        }
    }
    impl BufRead for Shrinking {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            self.0.fill_buf()
        }
        fn consume(&mut self, read: usize) {
            self.0.consume(read);
        }
    }
    impl Seek for Shrinking {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.get_mut().clear();
            self.0.seek(to)
        }
    }
    let records = answered(1, &[call(1, 0, json!({}))]);
    let error = Report::read(&mut Results::new(Shrinking(Cursor::new(records))), None).unwrap_err();
    assert!(matches!(error, RereadError::Changed), "{error}");
}

// ---- As text --------------------------------------------------------------------------------------------------------

#[test]
fn a_report_reads_so() {
    let usage =
        json!({"response": {"body": {"usage": {"prompt_tokens": 12, "completion_tokens": 80}}}});
    let times = json!({"queued_ms": 3, "paced_ms": 90, "late_ms": 0.131, "took_ms": 1250});
    let waited = json!({"paced_ms": 700, "took_ms": 65_000, "key": 1});
    let records = [
        record(
            1,
            &[rate_limited(1, 0, 40, 500), call(2, 600, times)],
            usage,
        ),
        record(
            2,
            &[call(1, 50, waited)],
            json!({"finish_reason": "length"}),
        ),
        record(
            3,
            &[],
            json!({"text": null, "response": {"status_code": 400}, "error": {
                "code": "context_length_exceeded",
                "message": "This model's maximum context length is 8192 tokens, and yours has\nmore",
            }}),
        ),
        failed(4, "timeout", "x"),
        answered(4, &[call(1, 640, json!({}))]),
    ];
    let report = report_on(&records, rpm(600));
    let local = |at| {
        let it = json!({"it": moment(at)});
        template::text("{{ it|local }}", &it, TextLook::PLAIN).unwrap()
    };
    let [first, last] = [0, 640].map(local);
    let expected = format!(
        "\
3 of 4 prompts answered, 1 failed; pace not kept: 1 call too soon.

Prompts
  answered          3 (1 cut at the most tokens: see finish_reason)
  failed            1
                    1 x 400 context_length_exceeded: This model's maximum
                    context length is 8192 tokens, and yours has more
                    rejected; line-3
                    help: shorten these prompts, or use a model with a longer
                    context: -m
  superseded        1 record of prompts that were run again

Calls
  made              4, 1 of them retries: 1 x 429
  tokens            12 in, 80 out (stated by 1 response)

Time
  first call        {first}
  last call         {last}
  took              1 min 5 s
  on average        281 calls a minute
  busiest 60 s      4 calls, from 2026-11-24T10:00:00.000Z
  left late by      0.131 ms (p50), 0.131 ms (p99) after they were due

Pace of key 0
  calls             3
  rate limited      1 call; the key was paused for 500 ms
  smallest gap      40 ms, from line-1 to line-4
  most in any 60 s  3 calls
  limit             600 calls a minute, burst 1
  too soon          1 call; the soonest is line-4, 60 ms early
  over in any 60 s  0 calls

Pace of key 1
  calls             1
  most in any 60 s  1 call
  limit             600 calls a minute, burst 1
  too soon          0 calls
  over in any 60 s  0 calls

Where the time went      queued       paced      paused backing off      server
  key 0                    3 ms       90 ms       30 ms         0 s      1.29 s
  key 1                     0 s      700 ms         0 s         0 s   1 min 5 s
  all calls                3 ms      790 ms       30 ms         0 s   1 min 6 s
  a call                    0 s      197 ms        7 ms         0 s      16.6 s
  paced: waiting for a permit; paused: the part of it due to rate limited calls

Latency                     p50         p95         p99     longest
  answered               1.25 s   1 min 5 s   1 min 5 s   1 min 5 s
  all calls               40 ms   1 min 5 s   1 min 5 s   1 min 5 s

Slowest prompts
  1 min 5 s         line-2
  1.85 s            line-1
  0 s               line-4

Most retried prompts
  1 retry           line-1"
    );
    assert_eq!(text_of(&report), expected);
}

#[test]
fn no_line_is_wider_than_a_terminal_or_commands_it_whatever_the_records_say() {
    let long = "\u{1b}[31m\u{7}ü word\u{9b}2J".repeat(40);
    let calls = [
        rate_limited(1, 0, 1, u64::MAX),
        call(2, 1, json!({"outcome": long, "took_ms": u64::MAX / 4})),
    ];
    let records: Vec<_> = (1..40)
        .map(|line| {
            let fault = json!({"code": format!("{line}{long}"), "message": long});
            record(
                line,
                &calls,
                json!({"custom_id": long, "text": null, "error": fault}),
            )
        })
        .collect();
    let text = text_of(&report_on(&records, rpm(1)));
    for line in text.lines() {
        assert!(
            line.chars().count() <= 80 && !line.contains(char::is_control),
            "{line:?}"
        );
    }
    assert!(text.contains("and other reasons: see --json"), "{text}");
}
