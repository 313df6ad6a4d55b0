//! What a run costs: by hand, by `run`, by `report`, and together with earlier runs.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;

use std::fs;

use common::{BRISK, Cli, Ran};
use paceline::practice::{Reply, Server, ServerOptions};
use serde_json::{Value, json};

/// Half of each prompt is kept in a cache.
fn server() -> Server {
    Server::start_with(ServerOptions {
        cached: 0.5,
        ..ServerOptions::default()
    })
    .unwrap()
}

/// Runs against this server with one worker, so that the first call alone writes the cache.
fn run(cli: &Cli, server: &Server, args: &[&str]) -> Ran {
    let base = ["--base-url", &server.url(), "-w", "1"];
    cli.run(&[&base, BRISK, args].concat())
}

fn report(cli: &Cli, price: &str) -> Value {
    let args = [
        "report",
        "prompts.results.jsonl",
        "--json",
        "--price",
        price,
    ];
    let ran = cli.paceline(&args);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

/// The cost of a record at 4 for input, 16 for output, 1 for a read and 5 for a write, by hand from its body.
fn by_hand(api: &str, record: &Value) -> f64 {
    let body = &record["response"]["body"];
    let of = |usage: &Value, name: &str| usage[name].as_f64().unwrap();
    let usage = &body["usage"];
    let cost = match api {
        "chat" => {
            let cached = of(&usage["prompt_tokens_details"], "cached_tokens");
            (of(usage, "prompt_tokens") - cached) * 4.0
                + cached
                + of(usage, "completion_tokens") * 16.0
        }
        "responses" => {
            let cached = of(&usage["input_tokens_details"], "cached_tokens");
            (of(usage, "input_tokens") - cached) * 4.0 + cached + of(usage, "output_tokens") * 16.0
        }
        "messages" => {
            of(usage, "input_tokens") * 4.0
                + of(usage, "cache_read_input_tokens")
                + of(usage, "cache_creation_input_tokens") * 5.0
                + of(usage, "output_tokens") * 16.0
        }
        _ => {
            let usage = &body["usageMetadata"];
            let cached = of(usage, "cachedContentTokenCount");
            (of(usage, "promptTokenCount") - cached) * 4.0
                + cached
                + of(usage, "candidatesTokenCount") * 16.0
        }
    };
    cost / 1e6
}

#[test]
fn run_report_and_export_tell_what_every_api_costs_by_hand() {
    const PRICE: &str = "4,16,1,5";
    for api in ["chat", "responses", "messages", "gemini"] {
        let (cli, server) = (Cli::of_topics(4), server());
        let args = [
            "--api",
            api,
            "--max-tokens",
            "20",
            "--price",
            PRICE,
            "--log-format",
            "json",
        ];
        let ran = run(&cli, &server, &args);
        assert_eq!(ran.exit, 0, "{ran}");
        let expected: f64 = ran.records.iter().map(|record| by_hand(api, record)).sum();
        let ended = ran.stderr.lines().last().unwrap();
        let ended: Value = serde_json::from_str(ended).unwrap();
        let told = ended["cost"].as_f64().unwrap();
        assert!((told - expected).abs() < 1e-12, "{api}: {told}, {expected}");
        let report = report(&cli, PRICE);
        let told = report["cost"].as_f64().unwrap();
        assert!((told - expected).abs() < 1e-12, "{api}: {told}, {expected}");
        let writes = report["tokens"]["cache_write"].as_u64().unwrap();
        assert_eq!(writes > 0, api == "messages", "{report}");

        let args = [
            "export",
            "prompts.results.jsonl",
            "-f",
            "jsonl",
            "--price",
            PRICE,
        ];
        let ran = cli.paceline(&args);
        let rows = common::records(&ran.stdout);
        let sum: f64 = rows.iter().map(|row| row["cost"].as_f64().unwrap()).sum();
        assert!((sum - expected).abs() < 1e-12, "{api}: {sum}, {expected}");
    }
}

#[test]
fn a_resumed_run_tells_the_prompts_tokens_and_cost_of_all_runs() {
    let (cli, server) = (Cli::of_topics(6), server());
    let price = ["--price", "400,1600,100"];
    assert_eq!(
        run(&cli, &server, &[&price[..], &["--limit", "2"]].concat()).exit,
        0
    );
    let ran = run(&cli, &server, &price);
    let report = report(&cli, price[1]);
    let [input, output] = ["input", "output"].map(|name| report["tokens"][name].clone());
    let in_all = ran
        .stderr
        .lines()
        .find(|line| line.contains("in all"))
        .unwrap();
    let text = cli.paceline(&["report", "prompts.results.jsonl", "--price", price[1]]);
    let cost = text.stdout.lines().find(|line| line.starts_with("  cost"));
    let cost = cost.unwrap().split_whitespace().last().unwrap();
    assert!(in_all.contains("6 answered, 0 failed, "), "{in_all}");
    assert!(in_all.contains(&format!("{input} tokens in")), "{in_all}");
    assert!(
        in_all.contains(&format!("{output} out, {cost}")),
        "{in_all}"
    );
    let plan = cli.paceline(&["plan", "prompts.txt", "-m", "m", "--price", price[1]]);
    let on_record = format!("and {cost} for what is on record");
    assert!(plan.stdout.contains(&on_record), "{plan}");
}

#[test]
fn a_failed_call_that_states_its_tokens_is_counted_by_run_and_report() {
    let (cli, server) = (Cli::of_topics(1), server());
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 500});
    let broken = json!({"choices": [{"error": {"code": 502, "message": "upstream"},
        "finish_reason": "error", "message": {"content": ""}}], "usage": usage});
    server.next(Reply::new(200, broken.to_string()));
    server.next(Reply::new(200, broken.to_string()));
    let args = [
        "--price",
        "1000,2000",
        "--max-retries",
        "1",
        "--base-delay",
        "1ms",
        "--jitter",
        "none",
    ];
    let ran = run(&cli, &server, &args);
    assert!(
        ran.stderr.contains("$4.00: 2,000 tokens in, 1,000 out"),
        "{ran}"
    );
    assert_eq!(report(&cli, "1000,2000")["cost"], 4.0, "{ran}");
}

#[test]
fn the_cost_limit_counts_what_is_read_from_a_cache_at_its_own_price() {
    let all_cached = |price: &str, limit: &str| {
        let server = Server::start_with(ServerOptions {
            cached: 1.0,
            ..ServerOptions::default()
        });
        let cli = Cli::of_topics(20);
        let args = ["--api", "messages", "--price", price, "--max-cost", limit];
        run(&cli, &server.unwrap(), &args).exit
    };
    assert_eq!(all_cached("0,0,1000000,0", "30"), 3, "reads cost much");
    assert_eq!(all_cached("1000000,0,0,0", "1"), 0, "reads are free");
}

#[test]
fn the_price_of_the_model_is_found_in_a_list_or_refused_with_near_names() {
    let (cli, server) = (Cli::of_topics(1), server());
    let list = json!({"gpt-tiny": {"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6,
        "cache_read_input_token_cost": 1e-7}});
    fs::write(cli.path("prices.json"), list.to_string()).unwrap();
    let ran = run(&cli, &server, &["--prices", "prices.json"]);
    assert_eq!((ran.exit, ran.records.len()), (2, 0), "{ran}");
    let args = ["--prices", "prices.json", "-m", "gpt-tny", "--base-url"];
    let ran = cli.paceline(&[&["run", "prompts.txt"], &args[..], &[&server.url()]].concat());
    assert_eq!((ran.exit, ran.records.len()), (2, 0), "{ran}");
    assert!(ran.stderr.contains("gpt-tiny (--price 1,4,0.1)"), "{ran}");
    assert_eq!(server.requests().len(), 0);
    let found = ["--prices", "prices.json", "-m", "gpt-tiny"];
    let ran = cli.paceline(&[&["plan", "prompts.txt"], &found[..]].concat());
    assert!(ran.stdout.contains("at 1,4,0.1 a million"), "{ran}");
    let ran = run(&cli, &server, &["--prices", "nowhere.json"]);
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(ran.stderr.contains("nowhere.json"), "{ran}");
}

/// What OpenAI's flex tier says when it has no capacity.
fn no_capacity() -> Reply {
    let error = json!({"message": "The system is currently experiencing high demand.", "code": "resource_unavailable"});
    Reply::new(429, json!({"error": error}).to_string())
}

/// An answer at this tier, of 1,000 tokens in and 500 out.
fn answer_at(tier: &str) -> Reply {
    let choice =
        json!({"message": {"role": "assistant", "content": "Well."}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 500});
    let body = json!({"choices": [choice], "usage": usage, "service_tier": tier});
    Reply::new(200, body.to_string())
}

/// The tier of each request that the server has seen.
fn tiers(server: &Server) -> Vec<String> {
    let requests = server.requests();
    let tier = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        body["service_tier"].as_str().unwrap_or("none").to_owned()
    };
    requests.iter().map(|request| tier(&request.body)).collect()
}

#[test]
fn the_flex_tier_costs_half_and_its_lack_of_capacity_is_no_pause_and_no_retry() {
    let (cli, server) = (Cli::of_topics(1), server());
    server.next(no_capacity());
    server.next(no_capacity());
    server.next(answer_at("flex"));
    let args = [
        "--tier",
        "flex",
        "--price",
        "1000,2000",
        "--max-retries",
        "0",
    ];
    let ran = run(&cli, &server, &args);
    assert_eq!(ran.exit, 0, "{ran}");
    assert_eq!(tiers(&server), ["flex"; 3]);
    assert!(ran.stderr.contains("2 x no flex capacity"), "{ran}");
    assert!(!ran.stderr.contains("pause"), "{ran}");
    assert!(ran.stderr.contains("$1.00 at half the price"), "{ran}");
    let attempts = ran.records[0]["attempts"].as_array().unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["no_capacity", "no_capacity", "answered"]);
    let told = report(&cli, "1000,2000");
    assert_eq!(told["cost"], 1.0, "{told}");
    assert_eq!(told["keys"][0]["rate_limited"], 0, "{told}");
    let again = run(&cli, &server, &["--price", "1000,2000"]);
    assert_eq!(
        (again.exit, server.requests().len()),
        (0, 3),
        "the tier is not part of the prompt: {again}"
    );
}

#[test]
fn a_prompt_whose_patience_with_flex_is_over_is_asked_at_full_price() {
    let (cli, server) = (Cli::of_topics(1), server());
    server.next(no_capacity());
    server.next(answer_at("default"));
    let args = [
        "--api",
        "chat",
        "--tier",
        "flex",
        "--tier-patience",
        "1ms",
        "--price",
        "1000,2000",
    ];
    let ran = run(&cli, &server, &args);
    assert_eq!(tiers(&server), ["flex", "default"], "{ran}");
    assert!(ran.stderr.contains("$2.00: "), "{ran}");
}

#[test]
fn a_tier_that_the_api_does_not_have_is_refused() {
    for api in ["messages", "gemini", "embeddings"] {
        let (cli, server) = (Cli::of_topics(1), server());
        let ran = run(&cli, &server, &["--api", api, "--tier", "flex"]);
        assert_eq!((ran.exit, server.requests().len()), (2, 0), "{ran}");
        assert!(ran.stderr.contains("has no tiers"), "{ran}");
    }
}
