//! Each way in which prompts are written down, from end to end and resumed.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Bench, Cli, Ran, common};

/// Runs a file of this name with this content twice: all of it is answered, and the second run sends nothing. Returns
/// the first run, and what was sent.
#[track_caller]
fn run_twice(name: &str, content: &[u8], options: &[&str]) -> (Ran, Vec<String>) {
    let bench = Bench::of("");
    fs::write(bench.cli.path(name), content).unwrap();
    fs::write(
        bench.cli.path("haiku.txt"),
        "Explain {{topic}} in a haiku, {{id}}.",
    )
    .unwrap();
    let args = [&[name, "-w", "1", "-o", "prompts.results.jsonl"], options].concat();
    let ran = bench.run_on(&args);
    assert_eq!(ran.exit, 0, "{ran}");
    assert!(
        ran.records.iter().all(|record| record["text"].is_string()),
        "{ran}"
    );
    let sent = bench.sent();
    let again = bench.run_on(&args);
    assert_eq!((again.exit, bench.sent().len()), (0, 0), "{again}");
    (ran, sent)
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn batch_lines_are_sent_byte_for_byte() {
    let bodies = [
        r#"{"model" : "m",  "messages":[{"role":"user","content":"caf\u00e9"}],"x":1.00}"#,
        r#"{"z":null,"model":"n","messages":[{"role":"user","content":"tea"}],"big":12345678901234567890123}"#,
    ];
    let line = |(id, body)| {
        format!(
            "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{body}}}\n"
        )
    };
    let lines: String = ["first", "second"]
        .into_iter()
        .zip(bodies)
        .map(line)
        .collect();
    let (ran, sent) = run_twice("batch.jsonl", lines.as_bytes(), &[]);
    assert_eq!(ran.ids(), ["first", "second"]);
    assert_eq!(
        (
            &ran.record("first")["prompt"],
            &ran.record("second")["prompt"]
        ),
        (&"café".into(), &"tea".into())
    );
    for (request, body) in sent.iter().zip(bodies) {
        assert_eq!(request.split_once("\r\n\r\n").unwrap().1, body);
    }
    assert_eq!(sent.len(), 2);
}

#[test]
fn objects_and_strings_of_json_lines_are_prompts() {
    let lines = "{\"prompt\":\"one\",\"id\":\"a\"}\n\n\"two\"\n";
    let (ran, sent) = run_twice("prompts.jsonl", lines.as_bytes(), &["-m", "m"]);
    assert_eq!((ran.ids(), sent.len()), (vec!["a", "line-3"], 2));
}

#[test]
fn json_arrays_and_tables_with_other_separators_are_prompts() {
    let expected = ["Hello, world", "two"];
    for (name, content) in [
        (
            "a.json",
            "[\n  {\n    \"prompt\": \"Hello, world\"\n  },\n  \"two\"\n]\n",
        ),
        (
            "b.json",
            "[{\"prompt\":\"Hello, world\"}, {\"prompt\":\"two\"}]",
        ),
        (
            "c.jsonl",
            "{\n\"prompt\":\"Hello, world\"\n}\n{\"prompt\":\"two\"}\n",
        ),
        ("d", "{\"prompt\":\"Hello, world\"}\n{\"prompt\":\"two\"}\n"),
        ("e.tsv", "id\tprompt\n1\tHello, world\n2\ttwo\n"),
        ("f.csv", "id;prompt\n1;Hello, world\n2;two\n"),
    ] {
        let (ran, sent) = run_twice(name, content.as_bytes(), &["-m", "m"]);
        let prompts: Vec<_> = ran.records.iter().map(|record| &record["prompt"]).collect();
        assert_eq!(prompts, expected, "{name}");
        assert_eq!(sent.len(), 2, "{name}");
    }
}

#[test]
fn rows_that_share_an_id_are_warned_of() {
    let (ran, sent) = run_twice("a.csv", b"id,prompt\na,one\na,two\n", &["-m", "m"]);
    assert_eq!(sent.len(), 2);
    assert!(
        ran.stderr
            .contains("the id \"a\" of line 3 is that of an earlier row"),
        "{ran}"
    );
}

#[test]
fn rows_of_csv_fill_a_template() {
    let rows = "id,topic\nbees,\"bees, and\nhoney\"\nbread,bread\n";
    let options = ["-m", "m", "--template", "haiku.txt", "--out-dir", "answers"];
    let (ran, sent) = run_twice("topics.csv", rows.as_bytes(), &options);
    assert_eq!((ran.ids(), sent.len()), (vec!["bees", "bread"], 2));
    assert_eq!(
        ran.record("bees")["prompt"],
        "Explain bees, and\nhoney in a haiku, bees."
    );
    assert!(
        sent[1].contains("Explain bread in a haiku, bread."),
        "{sent:?}"
    );
}

#[test]
fn a_gzipped_file_is_read_as_what_it_holds() {
    let (ran, sent) = run_twice("prompts.txt.gz", &gzipped("one\ntwo\n"), &["-m", "m"]);
    assert_eq!((ran.ids(), sent.len()), (vec!["line-1", "line-2"], 2));
    let (ran, _) = run_twice(
        "topics.csv.gz",
        &gzipped("id,prompt\na,one\n"),
        &["-m", "m"],
    );
    assert_eq!(ran.ids(), ["a"]);
}

#[test]
fn a_gzipped_file_that_is_cut_short_sends_nothing() {
    let bench = Bench::of("");
    let whole = gzipped("one\ntwo\n");
    fs::write(bench.cli.path("cut.txt.gz"), &whole[..whole.len() - 4]).unwrap();
    let ran = bench.run_on(&["cut.txt.gz", "-m", "m"]);
    assert_eq!((ran.exit, bench.sent().len()), (2, 0), "{ran}");
    assert!(
        ran.stderr
            .contains("cut.txt.gz: line 3: the gzip data ends too early"),
        "{ran}"
    );
}

#[test]
#[cfg(unix)]
fn prompts_may_come_through_a_pipe_that_has_a_name() {
    let bench = Bench::with(Cli::of("").stdin("one\ntwo\n"));
    let ran = bench.run_on(&["/dev/stdin", "-m", "m"]);
    assert_eq!(
        (
            ran.exit,
            common::records(&ran.stdout).len(),
            bench.sent().len()
        ),
        (0, 2, 2),
        "{ran}"
    );
    assert!(
        ran.stderr.contains("results  standard output"),
        "beside a pipe is no place for results: {ran}"
    );
    let args = ["/dev/stdin", "-m", "m", "-o", "prompts.results.jsonl"];
    assert!(bench.run_on(&args).is_all_answered(2) && bench.sent().len() == 2);
    assert_eq!(
        (bench.run_on(&args).exit, bench.sent().len()),
        (0, 0),
        "with -o it is gone on with"
    );
}
