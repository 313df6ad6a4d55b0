//! The report as a page.

use super::*;

const NASTY: &str = "</script><img src=x onerror=alert(1)>\"'&\u{2028}\u{202e}evil";

fn nasty_failures() -> String {
    let long = NASTY.repeat(400);
    let fault = json!({"code": NASTY, "message": long});
    let rest = json!({"custom_id": long, "text": null, "error": fault});
    let calls = [
        rate_limited(1, 0, 5, 100),
        call(
            2,
            300,
            json!({"outcome": NASTY, "status": 400, "took_ms": 5}),
        ),
    ];
    let records: Vec<_> = (1..40)
        .map(|line| record(line, &calls, rest.clone()))
        .collect();
    report(&records).to_html(NASTY, "$").unwrap()
}

#[test]
fn texts_from_outside_stay_texts_and_cannot_swell_the_page() {
    let page = nasty_failures();
    assert!(
        !page.contains("<img") && !page.contains("</script>") && !page.contains('\u{2028}'),
        "{page}"
    );
    assert!(
        page.contains("&lt;&#x2f;script&gt;&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;")
    );
    assert!(page.len() < 60_000, "{}", page.len());
}

#[test]
fn a_page_refers_to_nothing_outside() {
    let escaped = template::html("{{ it }}", &json!({"it": NASTY})).unwrap();
    let page = nasty_failures().replace(&escaped, "").replace("url(#", "");
    for word in ["http:", "https:", "//", "<script", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn an_empty_file_and_one_without_a_call_have_a_page_that_says_so() {
    let empty = page_of(&report(&[]));
    assert!(
        empty.contains("No records yet.") && !empty.contains("<section"),
        "{empty}"
    );
    let page = page_of(&report(&[failed(1, "too_long", "no")]));
    assert!(
        page.contains("0 of 1 prompt answered, 1 failed; no calls are on record."),
        "{page}"
    );
    assert!(
        page.contains("too_long") && !page.contains("role=\"img\""),
        "{page}"
    );
}

#[test]
fn a_run_in_which_nothing_was_answered_has_all_its_pictures() {
    let rest = json!({"text": null, "error": {"code": "timeout", "message": "too slow"}});
    let calls = [
        rate_limited(1, 0, 40, 2000),
        call(
            2,
            2100,
            json!({"outcome": "timeout", "paced_ms": 500, "took_ms": 900}),
        ),
    ];
    let page = page_of(&report_on(&[record(1, &calls, rest)], rpm(60)));
    assert_eq!(page.matches("role=\"img\"").count(), 3, "{page}");
    for word in [
        "</i>rate limited</li>",
        "</i>failed</li>",
        "paused after a rate limited call",
        "limit 60",
        "none of which was answered",
    ] {
        assert!(page.contains(word), "{word} is not in {page}");
    }
}

#[test]
fn a_page_of_any_size_is_small() {
    let calls = |line: u64| -> Vec<_> {
        let took = 300 + line * 7919 % 4_000;
        let rest =
            json!({"took_ms": took, "paced_ms": line * 31 % 900, "backoff_ms": line % 50 * 20});
        vec![
            rate_limited(1, line * 90, 30, 1000),
            call(2, line * 90 + 1200, rest),
        ]
    };
    let pages = [1_900, 30_000].map(|count| {
        let records: Vec<_> = (1..=count)
            .map(|line| answered(line, &calls(line)))
            .collect();
        page_of(&report_on(&records, rpm(600)))
    });
    assert!(pages[0].contains("Every call") && !pages[1].contains("Every call"));
    pages
        .iter()
        .for_each(|page| assert!(page.len() < 500_000, "{}", page.len()));
}

#[test]
fn charts_are_no_part_of_the_numbers_for_programs() {
    let numbers = serde_json::to_value(report(&[answered(1, &[call(1, 0, json!({}))])])).unwrap();
    assert!(numbers.get("charts").is_none());
}

#[test]
fn a_prompt_that_is_pointed_out_is_shown_with_what_it_asks_shortened() {
    let asked = format!("Explain\n  tides {}", "at length ".repeat(500));
    let fault = json!({"text": null, "prompt": asked, "error": {"code": "bad", "message": "no"}});
    let refusals = [
        rate_limited(1, 0, 5, 100),
        call(2, 300, json!({"outcome": "rejected", "status": 400})),
    ];
    let records: Vec<_> = (1..=5)
        .map(|line| record(line, &refusals, fault.clone()))
        .collect();
    let page = page_of(&report(&records));
    let words = "<bdi>Explain tides at length";
    assert!(page.contains(words), "{words} is not in {page}");
    assert!(page.len() < 40_000, "{}", page.len());
}

#[test]
fn the_verdict_says_whether_the_pace_was_kept_by_each_key() {
    let at = |line, key: u64, at| answered(line, &[call(1, at, json!({"key": key}))]);
    let records = [at(1, 0, 0), at(2, 1, 1), at(3, 0, 100), at(4, 1, 51)];
    let page = page_of(&report_on(&records, rpm(600)));
    for words in [
        "4 of 4 prompts answered; pace not kept: 1 call too soon.",
        "\u{2713} kept",
        "\u{2717} 1 call too soon, up to 50 ms",
        "limit 2 keys x 600",
    ] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert!(page_of(&report_on(&records[..1], rpm(600))).contains("pace kept: no call too soon"));
    assert!(page_of(&report(&records)).contains("pace not checked"));
}

#[test]
fn one_table_names_the_slowest_and_the_most_retried_prompts() {
    let calls = |line: u64, count: u32| -> Vec<_> {
        let took = json!({"took_ms": 1000 / line});
        (1..=count)
            .map(|n| call(n, u64::from(n), took.clone()))
            .collect()
    };
    let records = [1, 2, 3].map(|line| answered(line, &calls(line, line as u32)));
    let page = page_of(&report(&records));
    let table = page
        .split("Slowest and most retried prompts")
        .last()
        .unwrap();
    assert_eq!(table.matches("<tr>").count(), 4, "{table}");
    assert!(
        table.contains("data-of=\"took\">1 s</td><td class=\"figure\" data-of=\"retries\">0</td>"),
        "{table}"
    );
    assert!(
        table.contains(
            "data-of=\"took\">335 ms</td><td class=\"figure\" data-of=\"retries\">2</td>"
        ),
        "{table}"
    );
}

#[test]
fn a_run_that_was_rate_limited_without_a_time_was_paused() {
    let silent = call(
        1,
        0,
        json!({"outcome": "rate_limited", "status": 429, "took_ms": 100}),
    );
    let waited = call(2, 12_100, json!({"paced_ms": 12_000, "took_ms": 900}));
    let report = report(&[answered(1, &[silent, waited])]);
    assert_eq!(
        (report.keys[0].paused_ms, report.times.paused_ms),
        (12_000, 12_000)
    );
    assert!(page_of(&report).contains("paused for 12 s"));
    let text = text_of(&report);
    assert!(
        text.contains("1 call; the key was paused for 12 s"),
        "{text}"
    );
}
