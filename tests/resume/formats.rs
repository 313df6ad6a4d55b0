//! Each way in which prompts are written down, from end to end and resumed.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use paceline::practice::Server;
use serde_json::{Value, json};

use super::common::tcp::{self, response};
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
    fs::write(bench.cli.path("car.txt"), "The model {{model}}").unwrap();
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

/// The bodies that were sent, as JSON.
fn bodies(sent: &[String]) -> Vec<Value> {
    let body = |request: &String| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    sent.iter()
        .map(|request| serde_json::from_str(&body(request)).unwrap())
        .collect()
}

#[test]
fn conversations_are_rows_also_in_a_body_and_with_a_system_message() {
    let user = |text: &str| json!({"role": "user", "content": text});
    let rows = [
        json!({"id": "a", "messages": [user("one")]}),
        json!({"id": "b", "system": "brief", "messages": [user("x"), {"role": "assistant", "content": "y"}, user("two")]}),
        json!({"custom_id": "c", "body": {"messages": [user("three")], "temperature": 0.5, "top_p": 0.1}}),
    ];
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let (ran, sent) = run_twice("a.jsonl", lines.as_bytes(), &["-m", "m"]);
    assert_eq!(ran.ids(), ["a", "b", "c"]);
    let prompts: Vec<_> = ran.records.iter().map(|record| &record["prompt"]).collect();
    assert_eq!(prompts, ["one", "two", "three"]);
    let sent = bodies(&sent);
    assert_eq!(sent[0], json!({"model": "m", "messages": [user("one")]}));
    assert_eq!(
        sent[1]["messages"][0],
        json!({"role": "system", "content": "brief"})
    );
    assert_eq!(sent[1]["messages"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&sent[2]["temperature"], &sent[2]["top_p"]),
        (&json!(0.5), &json!(0.1))
    );
    assert!(
        ran.stderr
            .contains("rows have their own system (1 row), temperature (1 row), top_p (1 row)"),
        "{ran}"
    );
}

#[test]
fn rows_may_have_their_own_model_and_parameters_and_keep_their_other_columns() {
    let rows = "id,prompt,model,max_tokens,temperature,topic\na,one,big,7,0.5,bees\nb,two,,,,\"ants, all\"\n";
    let (ran, sent) = run_twice("a.csv", rows.as_bytes(), &["-m", "m"]);
    let sent = bodies(&sent);
    let settings = |body: &Value| json!([body["model"], body["max_tokens"], body["temperature"]]);
    assert_eq!(settings(&sent[0]), json!(["big", 7, 0.5]));
    assert_eq!(settings(&sent[1]), json!(["m", null, null]));
    assert_eq!(ran.record("b")["columns"]["topic"], "ants, all");
    let (ran, sent) = run_twice(
        "b.csv",
        b"id,model,topic\na,T,cars\n",
        &["-m", "m", "--template", "car.txt"],
    );
    assert_eq!(
        bodies(&sent)[0]["model"],
        "m",
        "the template uses the column"
    );
    assert_eq!(ran.record("a")["prompt"], "The model T");
}

#[test]
fn each_file_of_a_folder_or_of_a_pattern_is_a_prompt() {
    let bench = Bench::of("");
    std::fs::create_dir(bench.cli.path("in")).unwrap();
    for (name, text) in [
        ("b.txt", "two\nlines\n"),
        ("a.txt", "one"),
        ("c.md", "three"),
        (".hidden", "no"),
    ] {
        fs::write(bench.cli.path(format!("in/{name}")), text).unwrap();
    }
    let ran = bench.run_on(&["in", "-m", "m", "-w", "1"]);
    assert_eq!((ran.exit, bench.sent().len()), (0, 3), "{ran}");
    let records = common::records(&fs::read_to_string(bench.cli.path("in.results.jsonl")).unwrap());
    let found: Vec<_> = records
        .iter()
        .map(|record| json!([record["custom_id"], record["prompt"]]))
        .collect();
    let expected = [
        json!(["a.txt", "one"]),
        json!(["b.txt", "two\nlines"]),
        json!(["c.md", "three"]),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        (bench.run_on(&["in", "-m", "m"]).exit, bench.sent().len()),
        (0, 0)
    );
    let ran = bench.run_on(&["in/*.txt", "-m", "m", "-o", "p.jsonl"]);
    assert_eq!((ran.exit, bench.sent().len()), (0, 2), "{ran}");
    let ran = bench.run_on(&["in/*.csv", "-m", "m", "-o", "q.jsonl"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("in/*.csv holds no prompt"),
        "{ran}"
    );
    fs::write(bench.cli.path("in/d.txt"), " \n").unwrap();
    let ran = bench.run_on(&["in", "-m", "m", "-o", "r.jsonl"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("d.txt: the file is empty"),
        "{ran}"
    );
    assert_eq!(bench.sent().len(), 0);
}

#[test]
fn a_prompt_is_asked_as_often_as_it_is_told_and_more_can_be_added() {
    let bench = Bench::of("one\ntwo\n");
    let ran = bench.run(&["--repeat", "2", "-w", "1"]);
    assert_eq!(
        ran.ids(),
        ["line-1", "line-1#2", "line-2", "line-2#2"],
        "{ran}"
    );
    assert_eq!(bench.sent().len(), 4);
    let ran = bench.run(&["--repeat", "3", "-w", "1"]);
    assert_eq!((ran.exit, bench.sent().len()), (0, 2), "{ran}");
    let ran = bench
        .cli
        .paceline(&["export", "prompts.results.jsonl", "-f", "csv"]);
    let ids: Vec<_> = ran
        .stdout
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    let expected = [
        "line-1", "line-1#2", "line-1#3", "line-2", "line-2#2", "line-2#3",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn identical_requests_are_asked_once_and_every_row_gets_its_record() {
    let bench = Bench::of("");
    let rows = "id,prompt,n\na,one,1\nb,two,2\nc,one,3\nd,one,4\n";
    fs::write(bench.cli.path("a.csv"), rows).unwrap();
    let args = [
        "a.csv",
        "-m",
        "m",
        "-w",
        "1",
        "-o",
        "prompts.results.jsonl",
        "--dedupe",
    ];
    let ran = bench.run_on(&args);
    assert_eq!(
        (ran.exit, bench.sent().len(), ran.records.len()),
        (0, 2, 4),
        "{ran}"
    );
    assert!(
        ran.stderr.contains("2 prompts like an earlier one"),
        "{ran}"
    );
    let [first, copy] = [ran.record("a"), ran.record("d")];
    assert_eq!(
        (&copy["text"], &copy["same_as"]),
        (&first["text"], &first["id"])
    );
    assert_eq!(
        (&copy["columns"]["n"], &copy["attempts"]),
        (&json!("4"), &json!([]))
    );
    assert_eq!((bench.run_on(&args).exit, bench.sent().len()), (0, 0));
    let results = bench.cli.path("prompts.results.jsonl");
    let kept: String = fs::read_to_string(&results)
        .unwrap()
        .lines()
        .take(1)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&results, kept).unwrap();
    let ran = bench.run_on(&args);
    assert_eq!(
        (ran.exit, bench.sent().len(), ran.records.len()),
        (0, 2, 4),
        "killed between the records: {ran}"
    );
    assert_eq!(ran.record("d")["same_as"], ran.record("c")["id"]);
}

#[test]
fn files_of_rows_are_sent_and_resumed_by_their_content() {
    let bench = Bench::of("");
    fs::write(bench.cli.path("a.png"), b"\x89PNG one").unwrap();
    let rows = "{\"prompt\":\"what?\",\"images\":[\"a.png\",\"https://example.org/b.jpg\"]}\n{\"prompt\":\"x\",\"scan\":\"a.png\"}\n";
    fs::write(bench.cli.path("rows.jsonl"), rows).unwrap();
    let args = [
        "rows.jsonl",
        "-m",
        "m",
        "-w",
        "1",
        "--attach-column",
        "scan",
    ];
    let ran = bench.run_on(&args);
    assert_eq!(ran.exit, 0, "{ran}");
    let sent = bodies(&bench.sent());
    let parts = &sent[0]["messages"][0]["content"];
    assert_eq!(
        parts[0]["image_url"]["url"],
        "data:image/png;base64,iVBORyBvbmU="
    );
    assert_eq!(parts[1]["image_url"]["url"], "https://example.org/b.jpg");
    assert_eq!(parts[2]["text"], "what?");
    assert_eq!(sent[1]["messages"][0]["content"][0]["type"], "image_url");
    assert_eq!((bench.run_on(&args).exit, bench.sent().len()), (0, 0));
    fs::write(bench.cli.path("a.png"), b"\x89PNG two").unwrap();
    let ran = bench.run_on(&args);
    assert!(
        ran.exit == 2 && ran.stderr.contains("would be sent differently now"),
        "{ran}"
    );
    fs::remove_file(bench.cli.path("a.png")).unwrap();
    let ran = bench.run_on(&args);
    assert!(
        ran.exit == 2
            && ran
                .stderr
                .contains("rows.jsonl: line 1: the file a.png: No such file"),
        "{ran}"
    );
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

/// A server of embeddings that rejects calls with a bad text. It returns its address, and the inputs of each call.
fn embeddings() -> (String, crossbeam_channel::Receiver<Vec<String>>) {
    let (heard, calls) = crossbeam_channel::unbounded();
    let url = tcp::answering(move |request| {
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        let inputs: Vec<String> = match &body["input"] {
            Value::String(text) => vec![text.clone()],
            list => serde_json::from_value(list.clone()).unwrap(),
        };
        heard.send(inputs.clone()).unwrap();
        if inputs.iter().any(|text| text.contains("bad")) {
            return response("400 Bad Request", "That is bad.");
        }
        let data: Vec<_> = inputs.iter().enumerate()
            .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": [text.len(), 0.5]}))
            .collect();
        let usage = json!({"prompt_tokens": inputs.len(), "total_tokens": inputs.len()});
        response(
            "200 OK",
            &json!({"object": "list", "model": "e", "data": data, "usage": usage}).to_string(),
        )
    });
    (url, calls)
}

/// The arguments of a run of embeddings at this address.
fn at_embeddings<'a>(url: &'a str, more: &'a str) -> Vec<&'a str> {
    let mut args = vec!["--api", "embeddings", "--base-url", url];
    args.extend(more.split_whitespace());
    args
}

#[test]
fn embeddings_take_several_prompts_a_call_and_each_has_its_record() {
    let (url, calls) = embeddings();
    let cli = Cli::of(
        (1..=250)
            .map(|n| format!("{}\n", "x".repeat(n)))
            .collect::<String>(),
    );
    let args = at_embeddings(&url, "--rpm 60000 --per-call 100 -w 1 --price 1,1");
    let ran = cli.run(&args);
    assert_eq!((ran.exit, ran.records.len()), (0, 250), "{ran}");
    let sizes: Vec<_> = calls.try_iter().map(|inputs| inputs.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    for (n, record) in ran.records.iter().enumerate() {
        assert_eq!(record["text"], format!("[{},0.5]", n + 1));
        assert_eq!(record["response"]["body"]["data"][0]["embedding"][0], n + 1);
    }
    let tokens = |record: &Value| {
        record["response"]["body"]["usage"]["prompt_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(ran.records.iter().map(tokens).sum::<u64>(), 250, "{ran}");
    let calls_on_record: usize = ran
        .records
        .iter()
        .map(|record| record["attempts"].as_array().unwrap().len())
        .sum();
    assert_eq!(calls_on_record, 3);
    let results = cli.path("prompts.results.jsonl");
    let kept: String = fs::read_to_string(&results)
        .unwrap()
        .lines()
        .take(40)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&results, kept).unwrap();
    let ran = cli.run(&[&args[..7], &["7", "-w", "1"]].concat());
    assert_eq!(
        (ran.exit, ran.records.len()),
        (0, 250),
        "killed, and another size: {ran}"
    );
    assert_eq!(calls.try_iter().flatten().count(), 210);
}

#[test]
fn ten_thousand_embeddings_take_about_a_hundred_calls_without_an_option() {
    let server = Server::start().unwrap();
    let url = server.base_url();
    let cli = Cli::of_topics(10_000);
    let ran = cli.run(&at_embeddings(&url, ""));
    assert!(ran.is_all_answered(10_000), "{}", ran.stderr);
    let calls = server.stats().arrivals;
    assert!((100..=105).contains(&calls), "{calls} calls");
    let each = cli.run(&at_embeddings(&url, "--per-call 1 --restart --limit 20"));
    assert!(each.is_all_answered(20), "{each}");
    assert_eq!(server.stats().arrivals, calls + 20);
}

#[test]
fn embeddings_of_a_pipe_leave_before_it_ends() {
    let (url, calls) = embeddings();
    let cli = Cli::of("").stdin("");
    let mut run = cli.start(&[
        "run",
        "-",
        "--api",
        "embeddings",
        "-m",
        "e",
        "--base-url",
        &url,
    ]);
    for n in 1..=3 {
        run.feed(&"x\n".repeat(n));
        let mut come = 0;
        while come < n {
            come += calls.recv().unwrap().len(); // the pipe is open, and silent
        }
    }
    run.end_input();
    let ran = run.end();
    assert_eq!((ran.exit, ran.stdout.lines().count()), (0, 6), "{ran}");
}

#[test]
fn a_wrong_parameter_of_embeddings_costs_a_few_calls_a_worker() {
    let (url, calls) = embeddings();
    let cli = Cli::of("bad\n".repeat(2000));
    let ran = cli.run(&at_embeddings(&url, "--rpm 60000 -w 4"));
    assert_eq!(ran.exit, 3, "{ran}");
    let calls = calls.try_iter().count();
    assert!(calls <= 4 * 10, "{calls} calls");
}

#[test]
fn a_call_for_several_prompts_is_split_to_find_the_one_that_is_rejected() {
    let (url, calls) = embeddings();
    let cli = Cli::of("a\nb\nc\nd\nbad\nf\ng\nh\n");
    let args = at_embeddings(&url, "--rpm 60000 --per-call 8 -w 1");
    let ran = cli.run(&args);
    assert_eq!((ran.exit, ran.records.len()), (1, 8), "{ran}");
    let failed: Vec<_> = ran
        .records
        .iter()
        .filter(|record| record["text"].is_null())
        .collect();
    assert!(failed.len() == 1 && failed[0]["prompt"] == "bad", "{ran}");
    let sizes: Vec<_> = calls.try_iter().map(|inputs| inputs.len()).collect();
    assert_eq!(sizes, [8, 4, 4, 2, 1, 1, 2]);
    let ran = cli.run(&["--per-call", "2"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("--per-call is for --api embeddings"),
        "{ran}"
    );
}
