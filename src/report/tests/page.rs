//! The report as a page.

use super::*;

const NASTY: &str = "</script><img src=x onerror=alert(1)>\"'&\u{2028}\u{202e}evil";

fn nasty_failures() -> String {
    let long = NASTY.repeat(400);
    let fault = json!({"code": NASTY, "message": long});
    let rest = json!({"custom_id": long, "text": null, "error": fault});
    let calls = [
        refused(1, 0, 5, 100),
        call(
            2,
            300,
            json!({"outcome": NASTY, "status": 400, "took_ms": 5}),
        ),
    ];
    let records: Vec<_> = (1..40)
        .map(|line| record(line, &calls, rest.clone()))
        .collect();
    report(&records).to_html(NASTY)
}

#[test]
fn texts_from_outside_stay_texts_and_cannot_swell_the_page() {
    let page = nasty_failures();
    assert!(
        !page.contains("<img") && !page.contains("</script>") && !page.contains('\u{2028}'),
        "{page}"
    );
    assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;"));
    assert!(page.len() < 60_000, "{}", page.len());
}

#[test]
fn a_page_refers_to_nothing_outside() {
    let page = nasty_failures().replace(&crate::page::Escaped(NASTY).to_string(), "");
    for word in ["http:", "https:", "//", "<script", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn an_empty_file_and_one_without_a_call_have_a_page_that_says_so() {
    let empty = report(&[]).to_html("r");
    assert!(
        empty.contains("No records yet.") && !empty.contains("<section"),
        "{empty}"
    );
    let page = report(&[failed(1, "too_long", "no")]).to_html("r");
    assert!(
        page.contains("0 prompts answered, 1 failed. The records tell of no call."),
        "{page}"
    );
    assert!(
        page.contains("too_long") && !page.contains("<svg"),
        "{page}"
    );
}

#[test]
fn a_run_in_which_nothing_was_answered_has_all_its_pictures() {
    let rest = json!({"text": null, "error": {"code": "timeout", "message": "too slow"}});
    let calls = [
        refused(1, 0, 40, 2000),
        call(
            2,
            2100,
            json!({"outcome": "timeout", "paced_ms": 500, "took_ms": 900}),
        ),
    ];
    let page = report_on(&[record(1, &calls, rest)], rpm(60)).to_html("r");
    assert_eq!(page.matches("<svg").count(), 3, "{page}");
    for word in [
        "in flight, refused",
        "in flight, failed",
        "held by the server",
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
            refused(1, line * 90, 30, 1000),
            call(2, line * 90 + 1200, rest),
        ]
    };
    let pages = [1_900, 30_000].map(|count| {
        let records: Vec<_> = (1..=count)
            .map(|line| answered(line, &calls(line)))
            .collect();
        report_on(&records, rpm(600)).to_html("r")
    });
    assert!(pages[0].contains("Every call") || pages[0].contains("What the workers did"));
    assert!(pages[1].contains("What the workers did"));
    pages
        .iter()
        .for_each(|page| assert!(page.len() < 500_000, "{}", page.len()));
}

#[test]
fn pictures_are_no_part_of_the_numbers_for_programs() {
    let numbers = serde_json::to_value(report(&[answered(1, &[call(1, 0, json!({}))])])).unwrap();
    assert!(numbers.get("pictures").is_none());
}

#[test]
fn a_prompt_that_is_pointed_out_is_shown_with_what_it_asks_shortened() {
    let asked = format!("Explain\n  tides {}", "at length ".repeat(500));
    let fault = json!({"text": null, "prompt": asked, "error": {"code": "bad", "message": "no"}});
    let refusals = [
        refused(1, 0, 5, 100),
        call(2, 300, json!({"outcome": "rejected", "status": 400})),
    ];
    let records: Vec<_> = (1..=5)
        .map(|line| record(line, &refusals, fault.clone()))
        .collect();
    let page = report(&records).to_html("r");
    for words in [
        "line-1: Explain tides at length",
        "line-3: Explain",
        "<bdi>Explain tides at length",
    ] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert!(
        !page.contains("line-4: Explain"),
        "three examples are enough"
    );
    assert!(page.len() < 40_000, "{}", page.len());
}

#[test]
fn refusals_that_are_few_among_many_calls_have_a_chart_of_their_own() {
    let page = |every: u64| {
        let of = |line: u64| {
            let at = line * 100;
            let calls = [refused(1, at, 5, 10), call(2, at + 50, json!({}))];
            answered(
                line,
                if line.is_multiple_of(every) {
                    &calls
                } else {
                    &calls[1..]
                },
            )
        };
        report(&(1..=2_000).map(of).collect::<Vec<_>>()).to_html("r")
    };
    let own = "Refused calls a minute";
    assert!(page(100).contains(own) && !page(2).contains(own) && !page(9_999).contains(own));
}
