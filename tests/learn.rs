//! `paceline learn` over the built binary: by plain HTTP, and in a real browser where there is one.

#![cfg(feature = "cli")]

mod common;

use std::io::{self, Write};
use std::process::Command;

use serde_json::Value;

use common::Cli;
use common::started::Started;

/// Starts it on a free port; returns its address, too.
fn learn(cli: &Cli) -> (Started<'_>, String) {
    let mut run = cli.start(&["learn", "--port", "0"]);
    let line = run.line().expect("it says where the page is").to_owned();
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("http://127.0.0.1:"));
    (
        run,
        url.unwrap_or_else(|| panic!("no address: {line}"))
            .to_owned(),
    )
}

/// The status, the security policy and the body of what is at an address.
fn get(url: &str) -> (u16, String, String) {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None);
    let mut response = agent.build().new_agent().get(url).call().unwrap();
    let policy = response.headers().get("content-security-policy");
    let policy = policy.map(|policy| policy.to_str().unwrap().to_owned());
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), policy.unwrap_or_default(), body)
}

#[test]
fn the_page_is_whole_and_may_ask_nobody_but_its_own_server() {
    let cli = Cli::of_topics(0);
    let (_run, url) = learn(&cli);
    let (status, policy, page) = get(&url);
    assert_eq!(status, 200);
    assert!(policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"));
    assert!(
        page.ends_with("</html>\n") && page.contains("Try this:"),
        "{page}"
    );
}

#[test]
fn a_run_is_the_calls_of_real_threads() {
    let cli = Cli::of_topics(0);
    let (_run, url) = learn(&cli);
    let (status, _, body) = get(&format!(
        "{url}run?strategy=pool&threads=3&topics=12&rpm=60"
    ));
    let result: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &result["answered"]), (200, &12.into()), "{body}");
    let calls = result["calls"].as_array().unwrap();
    let gaps = calls
        .windows(2)
        .map(|pair| pair[1][0].as_u64().unwrap() - pair[0][0].as_u64().unwrap());
    assert!(calls.len() == 12 && gaps.min() >= Some(1000), "{body}");
}

#[test]
fn what_cannot_be_simulated_or_is_not_there_is_refused() {
    let cli = Cli::of_topics(0);
    let (_run, url) = learn(&cli);
    let (status, _, body) = get(&format!("{url}run?threads=1000000"));
    assert_eq!(
        (status, &*body),
        (400, r#"{"error":"threads: give a number from 1 to 64"}"#)
    );
    assert_eq!(get(&format!("{url}../Cargo.toml")).0, 404);
    let posted = ureq::post(format!("{url}run"))
        .config()
        .http_status_as_error(false)
        .build();
    assert_eq!(posted.send_empty().unwrap().status(), 405);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let cli = Cli::of_topics(0);
    let (_run, url) = learn(&cli);
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let ran = cli.paceline(&["learn", "--port", port]);
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(
        ran.stderr.contains(port) && ran.stderr.contains("--port 0 picks a free port"),
        "{ran}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it() {
    let cli = Cli::of_topics(0);
    let (mut run, _) = learn(&cli);
    run.signal("INT");
    assert_eq!(run.line(), None);
}

// ---- In a browser ---------------------------------------------------------------------------------------------------

/// The page as a browser has built it; none if there is no browser.
fn dom(url: &str) -> Option<String> {
    let profile = tempfile::tempdir().unwrap();
    let folder = format!("--user-data-dir={}", profile.path().display());
    let args = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
    ];
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let ran = names.iter().find_map(|name| {
        let mut browser = Command::new(name);
        browser
            .args(args)
            .args([&folder, "--virtual-time-budget=20000", "--dump-dom", url]);
        browser.output().ok()
    })?;
    Some(String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[test]
fn a_browser_runs_the_story() {
    let cli = Cli::of_topics(0);
    let (_run, url) = learn(&cli);
    let steps = [
        ("naive", "1 of 200", "thread  4 |######  "),
        ("sleep", "200 of 200", "thread  3 |#    #    #"),
        ("limiter", "200 of 200", "thread  2 |      .    "),
        (
            "step=limiter&strategy=pool&threads=2&topics=50",
            "50 of 50",
            "thread  2 |      .    ",
        ),
    ];
    for (hash, articles, strip) in steps {
        let Some(dom) = dom(&format!("{url}#{hash}")) else {
            // Not with eprintln!, which a passing test keeps to itself.
            let skipped =
                "SKIPPED: there is no Chromium, so the page of `learn` was not tested in a browser";
            writeln!(io::stderr(), "{skipped}").unwrap();
            return;
        };
        for words in [&format!(">{articles}<"), strip, "data-ready="] {
            assert!(dom.contains(words), "no {words:?} at #{hash}: {dom}");
        }
    }
}
