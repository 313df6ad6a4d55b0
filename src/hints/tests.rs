//! Every form in which a server speaks of pace, from tables.

use super::*;
use serde_json::json;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn read(headers: &[(&str, &str)]) -> Hints {
    read_with(headers, None)
}

fn read_with(headers: &[(&str, &str)], error: Option<&Value>) -> Hints {
    let now = SystemTime::UNIX_EPOCH + SECOND * 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT
    let owned = headers
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Hints::read(&owned.collect::<Vec<_>>(), error, now)
}

#[test]
fn waits_are_read_in_every_form_and_what_cannot_be_read_is_named() {
    let table = [
        ("retry-after", "20", Some(20_000)),
        ("retry-after", " 1.5 ", Some(1500)),
        ("retry-after", "0", Some(0)),
        ("retry-after", "20s", Some(20_000)),
        ("retry-after", "20 seconds", Some(20_000)),
        ("retry-after", "20, 20", Some(20_000)),
        ("retry-after", "\"20\"", Some(20_000)),
        (
            "retry-after",
            "Sunday, 06-Nov-94 08:49:47 GMT",
            Some(10_000),
        ),
        ("x-ms-retry-after-ms", "85", Some(85)),
        ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
        ("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
        ("retry-after-ms", "85", Some(85)),
        ("retry-after-ms", "85.4", Some(85)),
        ("retry-after", "soon", None),
        ("retry-after", "", None),
        ("retry-after", "-1", None),
        ("retry-after", "NaN", None),
        ("retry-after", "inf", None),
        ("retry-after", "99999999", None),
        ("retry-after", "1e300", None),
        ("retry-after", "Sun, 06 Nov 2094 08:49:37 GMT", None),
        ("retry-after-ms", "-5", None),
    ];
    for (name, value, expected) in table {
        let hints = read(&[(name, value)]);
        assert_eq!(
            hints.retry_after.map(|wait| wait.as_millis()),
            expected,
            "{name}: {value}"
        );
        let unreadable = if expected.is_none() {
            vec![name]
        } else {
            vec![]
        };
        assert_eq!(hints.unreadable, unreadable, "{name}: {value}");
    }
}

#[test]
fn milliseconds_win_over_whole_seconds_unless_they_cannot_be_read() {
    let both = |ms| read(&[("retry-after", "1"), ("retry-after-ms", ms)]).retry_after;
    assert_eq!(both("85"), Some(MS * 85));
    assert_eq!(both("?"), Some(SECOND));
}

#[test]
fn googles_retry_info_is_in_the_body() {
    let told = |delay: Value| {
        let kind = "type.googleapis.com/google.rpc.RetryInfo";
        let details = json!([{"@type": "type.googleapis.com/google.rpc.Help"}, {"@type": kind, "retryDelay": delay}]);
        read_with(
            &[],
            Some(&json!({"error": {"status": "RESOURCE_EXHAUSTED", "details": details}})),
        )
    };
    assert_eq!(told(json!("17s")).retry_after, Some(SECOND * 17));
    assert_eq!(told(json!("0.5s")).retry_after, Some(MS * 500));
    for odd in [json!("-17s"), json!("soon"), json!(-17), json!("9999999s")] {
        let hints = told(odd.clone());
        assert_eq!(hints.retry_after, None, "{odd}");
        assert_eq!(hints.unreadable, ["retryDelay"], "{odd}");
    }
    let header_first = read_with(
        &[("retry-after", "2")],
        Some(&json!({"error": {"details": [1, null]}})),
    );
    assert_eq!(header_first.retry_after, Some(SECOND * 2));
}

#[test]
fn should_retry_is_true_false_or_unsaid() {
    assert_eq!(read(&[("x-should-retry", "true")]).should_retry, Some(true));
    assert_eq!(
        read(&[("x-should-retry", "false")]).should_retry,
        Some(false)
    );
    assert_eq!(read(&[("x-should-retry", "maybe")]).should_retry, None);
    assert_eq!(read(&[]), Hints::default());
}

#[test]
fn resets_are_read_in_every_form() {
    let table = [
        ("1s", Some(1000)),
        ("6m0s", Some(360_000)),
        ("250ms", Some(250)),
        ("1h2m3.5s", Some(3_723_500)),
        ("1994-11-06T08:49:47Z", Some(10_000)),
        ("1994-11-06T09:49:47+01:00", Some(10_000)),
        ("1994-11-06T08:49:00Z", Some(0)),
        ("30", Some(30_000)),
        ("12.5", Some(12_500)),
        ("784111807", Some(30_000)),
        ("784111807000", Some(30_000)),
        ("784111700", Some(0)),
        ("-1s", None),
        ("6m0", None),
        ("later", None),
        ("", None),
        ("NaN", None),
        ("9999999999", None),
        ("400d", None),
    ];
    for (value, expected) in table {
        let hints = read(&[("x-ratelimit-reset-requests", value)]);
        assert_eq!(
            hints.requests.reset.map(|wait| wait.as_millis()),
            expected,
            "{value}"
        );
        assert_eq!(hints.unreadable.is_empty(), expected.is_some(), "{value}");
    }
}

#[test]
fn limits_are_read_in_every_makers_dialect() {
    let expected = |window: Duration| Quota {
        limit: Some(500),
        remaining: Some(499),
        reset: Some(SECOND * 30),
        window: Some(window).filter(|window| !window.is_zero()),
    };
    let dialects: [&[(&str, &str)]; 6] = [
        &[
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-reset-requests", "30s"),
        ],
        &[
            ("anthropic-ratelimit-requests-limit", "500"),
            ("anthropic-ratelimit-requests-remaining", "499"),
            ("anthropic-ratelimit-requests-reset", "1994-11-06T08:50:07Z"),
        ],
        &[
            ("x-ratelimit-limit", "500, 500;w=60"),
            ("x-ratelimit-remaining", "499.0"),
            ("x-ratelimit-reset", "784111807"),
        ],
        &[
            ("ratelimit-limit", "500"),
            ("ratelimit-remaining", "499"),
            ("ratelimit-reset", "30"),
        ],
        &[
            ("ratelimit", "\"default\";r=499;t=30"),
            ("ratelimit-policy", "\"default\";q=500;w=60"),
        ],
        &[
            ("ratelimit", "\"burst\"; r=499; t=30, \"day\";r=1;t=2"),
            (
                "ratelimit-policy",
                "\"burst\";q=500;w=60,\"day\";q=9;w=86400",
            ),
        ],
    ];
    for (n, headers) in dialects.into_iter().enumerate() {
        let window = if n < 4 { Duration::ZERO } else { SECOND * 60 };
        let hints = read(headers);
        assert_eq!(hints.requests, expected(window), "{headers:?}");
        assert!(hints.unreadable.is_empty(), "{headers:?}");
    }
}

#[test]
fn tokens_are_counted_together_or_apart() {
    let openai = read(&[
        ("x-ratelimit-limit-tokens", "90000"),
        ("x-ratelimit-remaining-tokens", "89000"),
    ]);
    assert_eq!(
        (openai.tokens.limit, openai.tokens.remaining),
        (Some(90_000), Some(89_000))
    );
    let anthropic = read(&[
        ("anthropic-ratelimit-tokens-limit", "80000"),
        ("anthropic-ratelimit-input-tokens-limit", "50000"),
        ("anthropic-ratelimit-output-tokens-remaining", "8000"),
    ]);
    assert_eq!(anthropic.tokens.limit, Some(80_000));
    assert_eq!(anthropic.input_tokens.limit, Some(50_000));
    assert_eq!(anthropic.output_tokens.remaining, Some(8000));
}

#[test]
fn azure_says_what_remains_and_not_the_limit() {
    let azure = read(&[
        ("x-ratelimit-remaining-requests", "9"),
        ("retry-after-ms", "1200"),
    ]);
    assert_eq!(
        azure.requests,
        Quota {
            remaining: Some(9),
            ..Quota::default()
        }
    );
    assert_eq!(azure.retry_after, Some(MS * 1200));
}

#[test]
fn a_count_that_is_none_is_ignored() {
    for value in ["many", "-1", "", "1e99", "NaN"] {
        let hints = read(&[("x-ratelimit-limit-requests", value)]);
        assert_eq!(
            (hints.requests.limit, hints.unreadable.len()),
            (None, 1),
            "{value}"
        );
    }
}

/// A seeded walk over strings of the characters that matter: nothing a header says may do more than make no sense.
#[test]
fn no_header_whatever_it_says_breaks_anything() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    const LETTERS: &[char] = &[
        '0', '9', '.', '-', '+', 'e', 's', 'm', 'h', 'd', 'µ', ';', '=', 'r', 't', ',', ' ', 'T',
        'Z', ':', '\u{fffd}',
    ];
    const NAMES: [&str; 6] = [
        "retry-after",
        "retry-after-ms",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-reset",
        "x-ratelimit-limit",
    ];
    let mut chance = StdRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let length = chance.random_range(0..24);
        let value: String = (0..length)
            .map(|_| LETTERS[chance.random_range(0..LETTERS.len())])
            .collect();
        for name in NAMES {
            let hints = read(&[(name, &value), ("ratelimit", "x;r=1")]);
            assert!(
                hints
                    .retry_after
                    .is_none_or(|wait| wait <= SECOND * 7 * 24 * 3600)
            );
        }
    }
}

#[test]
fn a_limit_is_spread_over_its_window_and_its_reset_does_not_count() {
    let quota = |limit, remaining, reset: u64, window: u64| Quota {
        limit: Some(limit),
        remaining: Some(remaining),
        reset: Some(MS * reset as u32),
        window: Some(SECOND * window as u32).filter(|window| !window.is_zero()),
    };
    let table = [
        (quota(600, 599, 100, 0), 100, "a whole bucket"),
        (
            quota(600, 0, 100, 0),
            100,
            "a strict server: nothing is left, but soon there is",
        ),
        (
            quota(600, 0, 54_000, 60),
            100,
            "used up: a reset says when there is more, not how fast",
        ),
        (quota(100, 99, 100, 10), 100, "a stated window"),
        (
            quota(3, 2, 43_200_000, 3600),
            60_000,
            "by the hour: slow, but not so slow that it looks dead",
        ),
    ];
    for (quota, interval, why) in table {
        assert_eq!(quota.rate().unwrap().interval, MS * interval, "{why}");
    }
    assert_eq!(
        Quota {
            remaining: Some(9),
            ..Quota::default()
        }
        .rate(),
        None
    );
    assert_eq!(quota(20, 0, 20_000, 0).rate(), None, "of which window?");
    assert_eq!(
        quota(200, 100, 0, 86_400).rate(),
        None,
        "a limit a day is no rate"
    );
}

#[test]
fn a_limit_of_which_nothing_is_left_says_when_there_is_more() {
    let until = |remaining: &str| {
        let headers = [
            ("x-ratelimit-limit", "20"),
            ("x-ratelimit-remaining", remaining),
            ("x-ratelimit-reset", "784111797000"),
        ];
        read(&headers).until_reset()
    };
    assert_eq!((until("0"), until("1")), (Some(SECOND * 20), None));
}

#[test]
fn instants_are_read_by_the_servers_clock() {
    for date in [
        "Sun, 06 Nov 1994 08:59:37 GMT",
        "Sun, 06 Nov 1994 08:39:37 GMT",
    ] {
        let at = httpdate::parse_http_date(date).unwrap();
        let in_five = httpdate::fmt_http_date(at + SECOND * 5);
        let hints = read(&[("date", date), ("retry-after", &in_five)]);
        assert_eq!(hints.retry_after, Some(SECOND * 5), "{date}");
        let hints = read(&[("date", date), ("x-ratelimit-reset", "784111777")]);
        let reset = hints.requests.reset.unwrap();
        assert!(
            reset == Duration::ZERO || reset == SECOND * 600,
            "{date}: {reset:?}"
        );
    }
}

#[test]
fn limits_are_read_with_the_window_in_the_name() {
    let hints = read(&[
        ("x-ratelimit-limit-req-minute", "30"),
        ("x-ratelimit-remaining-req-minute", "29"),
        ("x-ratelimit-limit-tokens-minute", "500000"),
        ("x-ratelimit-limit-tokens-month", "1000000000"),
    ]);
    let requests = Quota {
        limit: Some(30),
        remaining: Some(29),
        reset: None,
        window: Some(SECOND * 60),
    };
    assert_eq!(hints.requests, requests);
    assert_eq!(
        (hints.tokens.limit, hints.tokens.window),
        (Some(500_000), Some(SECOND * 60))
    );
    let several = read(&[
        ("x-ratelimit-limit-hour", "36000"),
        ("x-ratelimit-limit-minute", "60"),
        ("x-ratelimit-limit-day", "10"),
        ("x-ratelimit-limit-requests-1h", "36000"),
        ("x-ratelimit-limit-images", "1"),
    ]);
    assert_eq!(
        several.requests.rate().unwrap().interval,
        SECOND,
        "the tightest but for days"
    );
    assert!(several.unreadable.is_empty());
}

#[test]
fn a_wait_is_found_however_the_body_wraps_it() {
    let reset = json!({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "784111782000"});
    let inner = json!({"error": {"details": [{"retryDelay": "5s"}]}});
    let table = [
        json!([{"error": {"details": [{"@type": "RetryInfo", "retryDelay": "5s"}]}}]),
        json!({"error": {"message": inner.to_string()}}),
        json!({"error": {"message": format!("upstream said: b'{inner}'")}}),
        json!({"retryDelay": "5s"}),
        json!({"error": "Model m is currently loading", "estimated_time": 5.0}),
        json!({"error": {"message": "?", "metadata": {"headers": {"Retry-After": 5}}}}),
        json!({"error": {"metadata": {"retry_after_seconds": 5}}}),
        json!({"retry_after_ms": 5000}),
        json!({"error": {"message": "Rate limit reached. Please try again in 5s."}}),
        json!({"error": {"message": "Please retry in 5.000s."}}),
        json!({"statusCode": 429, "message": "Rate limit is exceeded. Try again in 5 seconds."}),
        json!({"detail": "Too many requests: wait for 5 sec"}),
    ];
    for body in table {
        assert_eq!(
            read_with(&[], Some(&body)).retry_after,
            Some(SECOND * 5),
            "{body}"
        );
    }
    let gateway = read_with(
        &[],
        Some(&json!({"error": {"metadata": {"headers": reset}}})),
    );
    assert_eq!(
        (gateway.requests.limit, gateway.until_reset()),
        (Some(20), Some(SECOND * 5))
    );
    let words = [
        ("try again in 7m12s", Some(432_000)),
        ("try again in 350ms, or upgrade", Some(350)),
        ("Retry after 1 minute and 30 seconds", Some(90_000)),
        ("please wait before you try again", None),
        ("try again in a while", None),
        ("try again in 9999 days", None),
    ];
    for (text, expected) in words {
        let wait = read_with(&[], Some(&json!({"message": text}))).retry_after;
        assert_eq!(wait.map(|wait| wait.as_millis()), expected, "{text}");
    }
}

#[test]
fn a_wait_in_words_is_read_in_every_form_that_servers_use() {
    let seconds = |text: &str| {
        let body = serde_json::json!({"error": {"message": text}});
        let hints = Hints::read(&[], Some(&body), SystemTime::UNIX_EPOCH);
        hints.retry_after.map(|wait| wait.as_secs_f64())
    };
    for (text, expected) in [
        ("Please try again in 3.2s. Visit https://x.", 3.2),
        ("Try again in 20 seconds", 20.0),
        ("please retry after 7m12s", 432.0),
        ("Try again in 1 hour 2 minutes", 3720.0),
        ("try again in 1 hour, 2 minutes and 3 seconds.", 3723.0),
        ("Please try again in 250ms.", 0.25),
        ("Retry your request in 5 seconds.", 5.0),
        ("come back in about 2 min", 120.0),
        ("Quota resets in 1m0.5s", 60.5),
        ("Too Many Requests: retry after 7", 7.0),
        ("Limit exceeded (retry after 7).", 7.0),
        ("请求过于频繁，请在 7 秒后重试", 7.0),
    ] {
        assert_eq!(seconds(text), Some(expected), "{text}");
    }
    for text in [
        "20 requests in 60 seconds are allowed",
        "try again later",
        "wait",
        "in 5 parts",
        "try again after 3 failures",
        "retry after 12:30",
        "秒后",
    ] {
        assert_eq!(seconds(text), None, "{text}");
    }
}

#[test]
fn a_limit_that_lets_nothing_through_or_is_no_number_is_ignored() {
    for limit in ["0", "-1", "NaN", "unlimited", "", "1e99", "0.0"] {
        for name in ["x-ratelimit-limit-requests", "ratelimit-limit"] {
            assert_eq!(read(&[(name, limit)]).requests.rate(), None, "{limit}");
        }
    }
}

#[test]
fn resets_and_limits_are_read_under_the_names_of_all_gateways() {
    let limits: [&[(&str, &str)]; 3] = [
        &[
            ("x-rate-limit-limit", "600"),
            ("x-rate-limit-remaining", "0"),
            ("x-rate-limit-reset", "784111782"),
        ],
        &[
            ("x-ratelimit-limit", "600"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset-after", "5.0"),
        ],
        &[
            ("ratelimit", "limit=600, remaining=0, reset=5"),
            ("ratelimit-policy", "600;w=60"),
        ],
    ];
    for headers in limits {
        let hints = read(headers);
        assert_eq!(
            (hints.requests.limit, hints.until_reset()),
            (Some(600), Some(SECOND * 5)),
            "{headers:?}"
        );
        assert!(hints.unreadable.is_empty(), "{headers:?}");
    }
    let in_ms = read(&[("x-ratelimit-reset-ms", "5000")]);
    assert_eq!(in_ms.requests, Quota::default(), "a unit is no window");
}

#[test]
fn a_wait_is_found_in_fields_of_all_names_and_forms() {
    let deep = json!({"error": {"details": [{"retryDelay": "5s"}]}});
    let deep = json!({"error": {"message": deep.to_string()}});
    for body in [
        json!({"error": {"details": [{"metadata": {"quotaResetDelay": "5.000s"}}]}}),
        json!({"error": {"details": [{"retryDelay": {"seconds": 5, "nanos": 0}}]}}),
        json!({"retryAfterSeconds": 5}),
        json!({"parameters": {"retry_in": "5"}}),
        json!({"error": {"reset_at": "1994-11-06T08:49:42Z"}}),
        json!({"error": {"resetAt": 784_111_782_000_u64}}),
        json!({"error": {"message": deep.to_string()}}),
    ] {
        let wait = read_with(&[], Some(&body)).retry_after;
        assert_eq!(wait, Some(SECOND * 5), "{body}");
    }
}
