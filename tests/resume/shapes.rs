//! SIGKILL in each shape that rows and calls may have: nothing is lost, nothing is doubled, and the answers are those of a
//! run that was left alone.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use paceline::practice::{Faults, Latency, Server, ServerOptions};
use serde_json::{Value, json};

use super::common::{BRISK, Cli, Ran};

const ROWS: usize = 12;
const WORKERS: usize = 2;
/// Lines of its log after which a run is killed: as it starts, amid its calls, near its end.
const KILLS: [usize; 4] = [2, 4, 7, 10];

struct Shape {
    name: &'static str,
    input: &'static str,
    /// The options.
    args: &'static [&'static str],
    /// Prompts that have a record.
    records: usize,
    /// The most calls of a run that is left alone.
    calls: usize,
}

const fn shape(name: &'static str, input: &'static str, args: &'static [&'static str]) -> Shape {
    Shape {
        name,
        input,
        args,
        records: ROWS,
        calls: ROWS,
    }
}

fn server() -> Server {
    let faults = Faults {
        wrong_json: 0.3,
        ..Faults::default()
    };
    Server::start_with(ServerOptions {
        faults,
        latency: Latency::Constant(Duration::from_millis(10)),
        ..ServerOptions::default()
    })
    .unwrap()
}

/// A folder with an input of each shape.
fn folder() -> Cli {
    let cli = Cli::of_topics(ROWS);
    let lines = |line: &dyn Fn(usize) -> String| (1..=ROWS).map(line).collect::<String>();
    let write = |name: &str, text: &str| fs::write(cli.path(name), text).unwrap();
    fs::create_dir(cli.path("folder")).unwrap();
    for n in 1..=ROWS {
        write(&format!("folder/{n}.txt"), &format!("file {n}\n"));
        let picture = [b"\x89PNG\r\n\x1a\n", &[b'x'; 9000][..n * 700]].concat();
        fs::write(cli.path(format!("{n}.png")), picture).unwrap();
    }
    let said = |n: usize| json!([{"role": "user", "content": format!("said {n}")}]);
    let row = |n| format!("{}\n", json!({"id": format!("m{n}"), "messages": said(n)}));
    write("messages.jsonl", &lines(&row));
    let row = |n| format!("{{\"prompt\":\"look {n}\",\"image\":\"{n}.png\"}}\n");
    write("images.jsonl", &lines(&row));
    let table = lines(&|n| format!("t{n}\t\"row\n{n}\"\n"));
    write("table.tsv", &format!("id\tprompt\n{table}"));
    write("twins.txt", &lines(&|n| format!("twin {}\n", n % 4)));
    write("few.txt", "one\ntwo\nthree\nfour\n");
    cli
}

fn args<'a>(shape: &Shape, url: &'a str) -> Vec<&'a str> {
    let usual = ["run", shape.input, "-m", "m", "-v", "-w", "2"];
    let places = ["-o", "prompts.results.jsonl", "--base-url", url];
    [&usual[..], &places, BRISK, shape.args].concat()
}

/// The answers by id. What is said once more after a misfit depends on the misfit: of a schema, only whether it is said.
fn texts(shape: &Shape, ran: &Ran) -> BTreeMap<String, Value> {
    let has_schema = shape.args.contains(&"--schema");
    let text = |record: &Value| match has_schema {
        true => record["text"].is_string().into(),
        false => record["text"].clone(),
    };
    let pair = |record: &Value| (record["custom_id"].to_string(), text(record));
    ran.records.iter().map(pair).collect()
}

fn check(shape: &Shape) {
    let name = shape.name;
    let (left_alone, killed) = (server(), server());
    let expected = folder().paceline(&args(shape, &left_alone.base_url()));
    assert_eq!(expected.exit, 0, "{name}: {expected}");
    assert_eq!(expected.records.len(), shape.records, "{name}: {expected}");
    assert!(left_alone.requests().len() <= shape.calls, "{name}");
    let (cli, url) = (folder(), killed.base_url());
    for lines in KILLS {
        let mut run = cli.start(&args(shape, &url));
        let _ended = (0..lines).any(|_| run.line().is_none());
        run.kill();
    }
    let ran = cli.paceline(&args(shape, &url));
    assert_eq!(ran.exit, 0, "{name}: {ran}");
    assert_eq!(ran.records.len(), shape.records, "{name}: {ran}");
    assert_eq!(texts(shape, &ran), texts(shape, &expected), "{name}");
    let sent = killed.requests().len();
    assert!(
        sent <= shape.calls + KILLS.len() * WORKERS,
        "{name}: {sent} calls"
    );
    let again = cli.paceline(&args(shape, &url));
    assert_eq!(
        (again.exit, killed.requests().len()),
        (0, sent),
        "{name}: {again}"
    );
}

#[test]
fn a_run_that_is_killed_goes_on_in_each_shape_without_a_loss_or_a_double() {
    let shapes = [
        shape("messages", "messages.jsonl", &[]),
        shape("TSV", "table.tsv", &[]),
        shape("a folder", "folder", &[]),
        shape("a pattern", "folder/*.txt", &[]),
        shape("pictures", "images.jsonl", &["--api", "messages"]),
        Shape {
            calls: ROWS / 4,
            ..shape(
                "many in a call",
                "prompts.txt",
                &["--api", "embeddings", "--per-call", "4"],
            )
        },
        shape("repeated", "few.txt", &["--repeat", "3"]),
        Shape {
            calls: 4,
            ..shape("alike", "twins.txt", &["--dedupe"])
        },
        Shape {
            calls: 2 * ROWS,
            ..shape("a schema", "prompts.txt", &["--schema", "name, age int"])
        },
    ];
    shapes.iter().for_each(check);
}
