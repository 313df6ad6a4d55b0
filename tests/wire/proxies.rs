//! Proxies, as the environment names them.

use std::sync::{Arc, Mutex};

use super::common::tcp::{self, completion, response};
use super::common::{Cli, Ran};

const QUICK: [&str; 8] = [
    "--rpm",
    "60000",
    "--base-delay",
    "1ms",
    "--max-delay",
    "1ms",
    "--max-retries",
    "1",
];

/// A proxy that answers each request so. Returns its address and what it has heard.
fn proxy(status: &'static str, body: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let requests = heard.clone();
    let url = tcp::answering(move |request| {
        requests.lock().unwrap().push(request.to_owned());
        let body = if body.is_empty() {
            completion("Because.")
        } else {
            body.to_owned()
        };
        response(status, &body)
    });
    (url, heard)
}

fn run(base_url: &str, variables: &[(&str, &str)]) -> Ran {
    let mut cli = Cli::of_topics(3).env("OPENAI_API_KEY", "sk-test-of-proxies");
    for (name, value) in variables {
        cli = cli.env(name, value);
    }
    cli.run(&[&QUICK[..], &["-w", "1", "--base-url", base_url]].concat())
}

#[test]
fn a_server_without_tls_is_asked_in_absolute_form() {
    let (url, heard) = proxy("200 OK", "");
    let with_user = url.replace("http://", "http://u:p%40@");
    let ran = run("http://api.example:8080/v1", &[("http_proxy", &with_user)]);
    assert!(ran.is_all_answered(3), "{ran}");
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3);
    for request in heard.iter() {
        let line = "POST http://api.example:8080/v1/chat/completions HTTP/1.1\r\n";
        assert!(request.starts_with(line), "{request}");
        assert!(
            request.contains("\r\nproxy-authorization: Basic dTpwQA==\r\n"),
            "{request}"
        );
        assert!(
            request.contains("\r\nhost: api.example:8080\r\n"),
            "{request}"
        );
    }
}

#[test]
fn a_proxy_that_refuses_stops_the_run_and_is_named() {
    for (base_url, variable) in [
        ("https://api.example", "HTTPS_PROXY"),
        ("http://api.example", "HTTP_PROXY"),
    ] {
        let statuses: &[&str] = match variable {
            "HTTPS_PROXY" => &["401 No", "403 No", "407 No"],
            _ => &["407 No", "403 No\r\nx-squid-error: ERR_ACCESS_DENIED 0"],
        };
        for status in statuses {
            let (url, heard) = proxy(status, "no");
            let ran = run(base_url, &[(variable, &url)]);
            let address = url.strip_prefix("http://").unwrap();
            assert_eq!(
                (ran.exit, heard.lock().unwrap().len()),
                (3, 1),
                "{status}: {ran}"
            );
            assert!(
                ran.stderr.contains("the proxy refuses") && ran.stderr.contains(address),
                "{ran}"
            );
        }
    }
}

#[test]
fn a_server_that_refuses_behind_a_proxy_is_not_taken_for_it() {
    let (url, heard) = proxy("401 No", "no");
    let ran = run("http://api.example", &[("HTTP_PROXY", &url)]);
    assert_eq!((ran.exit, heard.lock().unwrap().len()), (3, 1), "{ran}");
    assert!(!ran.stderr.contains("the proxy refuses"), "{ran}");
}

#[test]
fn a_dead_proxy_is_named_with_its_address() {
    let nobody = tcp::nobody();
    for (base_url, variable) in [
        ("https://api.example", "HTTPS_PROXY"),
        ("http://api.example", "ALL_PROXY"),
    ] {
        let ran = run(base_url, &[(variable, &nobody)]);
        let address = nobody.strip_prefix("http://").unwrap();
        let said = format!("{}{:?}", ran.stderr, ran.records);
        assert!(
            said.contains(&format!("through the proxy at {address}")),
            "{ran}"
        );
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_before_anything_is_sent() {
    for bad in [
        "socks5://127.0.0.1:1080",
        "socks5h://x",
        "ftp://x:1",
        "http://a b",
    ] {
        let ran = run("https://api.example", &[("HTTPS_PROXY", bad)]);
        assert_eq!((ran.exit, ran.records.len()), (2, 0), "{ran}");
        assert!(ran.stderr.contains("$HTTPS_PROXY"), "{ran}");
    }
}

#[test]
fn an_excluded_host_and_this_machine_are_asked_directly() {
    let (url, heard) = proxy("407 No", "no");
    let server = tcp::answering(|_| response("200 OK", &completion("Because.")));
    assert!(run(&server, &[("http_proxy", &url)]).is_all_answered(3));
    let excluded = [("http_proxy", url.as_str()), ("no_proxy", "a, .invalid")];
    let ran = run("http://x.invalid", &excluded);
    assert!(
        !format!("{}{:?}", ran.stderr, ran.records).contains("proxy"),
        "{ran}"
    );
    assert!(heard.lock().unwrap().is_empty());
}
