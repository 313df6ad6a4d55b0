//! What is wrong with a command or its input is said before anything is sent, with exit status 2 and a way on.

use std::net::TcpListener;

use super::common::{Cli, Ran};

/// Somewhere to send to that notices if anything is sent.
struct Silence(TcpListener);

impl Silence {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Silence(listener)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The program ended because of how it was used, said all this, wrote no results and sent nothing.
    #[track_caller]
    fn assert_bad(&self, ran: &Ran, said: &[&str]) {
        assert_eq!(
            (ran.exit, ran.stdout.as_str(), ran.records.len()),
            (2, "", 0),
            "{ran}"
        );
        for words in said {
            assert!(ran.stderr.contains(words), "{words:?} is not in {ran}");
        }
        let caller = self.0.accept();
        assert!(
            caller.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "something was sent"
        );
    }
}

/// Runs these prompts, with these arguments, and sees to it that it is bad use.
#[track_caller]
fn assert_bad(cli: &Cli, args: &[&str], said: &[&str]) {
    let silence = Silence::new();
    let ran = cli.run(&[&["--base-url", &silence.url()], args].concat());
    silence.assert_bad(&ran, said);
    assert!(
        !cli.path("prompts.results.jsonl").exists(),
        "an empty results file is left behind"
    );
}

// ---- The command ----------------------------------------------------------------------------------------------------

#[test]
fn without_key_and_address_there_are_three_ways_on() {
    let silence = Silence::new();
    let cli = Cli::of_topics(3)
        .env("HTTPS_PROXY", &silence.url())
        .env("ALL_PROXY", &silence.url());
    let ways = [
        "OPENAI_API_KEY",
        "export OPENAI_API_KEY=",
        "--base-url http://localhost",
        "--practice",
    ];
    silence.assert_bad(&cli.run(&[]), &ways);
}

#[test]
fn a_key_that_cannot_be_one_is_named_but_not_shown() {
    for bad in ["  ", "sk-two words", "sk-smörgås"] {
        let cli = Cli::of_topics(1).env("OPENAI_API_KEY", bad);
        assert_bad(&cli, &[], &["$OPENAI_API_KEY cannot be a key"]);
        let shown = cli.run(&["--base-url", "http://127.0.0.1:9"]).stderr;
        assert!(bad.trim().is_empty() || !shown.contains(bad), "{shown}");
    }
    assert_bad(
        &Cli::of_topics(1),
        &["--key-env", "NOT_THERE"],
        &["--key-env", "$NOT_THERE", "not set"],
    );
}

#[test]
fn a_key_variable_that_is_empty_is_as_good_as_none() {
    let silence = Silence::new();
    silence.assert_bad(
        &Cli::of_topics(1).env("OPENAI_API_KEY", "").run(&[]),
        &["no API key in $OPENAI_API_KEY"],
    );
}

#[test]
fn a_bad_flag_is_named_with_what_would_be_good() {
    let table: &[(&[&str], &[&str])] = &[
        (&["--fast"], &["--fast"]),
        (&["--rpm", "0"], &["--rpm"]),
        (&["--rpm", "many"], &["--rpm", "many"]),
        (&["--burst", "0"], &["--burst"]),
        (&["--burst", "2"], &["--burst", "--rpm"]),
        (&["-w", "0"], &["--workers", "auto"]),
        (&["-w", "99999"], &["--workers", "10000"]),
        (&["--limit", "-1"], &["-1"]),
        (&["--max-retries", "x"], &["--max-retries"]),
        (&["--max-tokens", "-5"], &["-5"]),
        (&["--temperature", "NaN"], &["--temperature", "number"]),
        (&["--timeout", "5"], &["--timeout", "500ms, 2s, 1m30s"]),
        (&["--base-delay", "0s"], &["--base-delay"]),
        (&["--max-delay", "1ms"], &["--max-delay", "--base-delay"]),
        (&["--jitter", "ful"], &["ful", "decorrelated"]),
        (&["--param", "user=me"], &["--param", "JSON", "quotes"]),
        (&["--param", "top_p"], &["KEY=JSON"]),
        (&["--practice"], &["--practice", "--base-url"]),
        (&["--ca-cert", "missing.pem"], &["missing.pem"]),
        (&["-v", "-q"], &["--verbose", "--quiet"]),
    ];
    for (args, said) in table {
        assert_bad(&Cli::of_topics(1), args, said);
    }
}

#[test]
fn a_bad_address_is_quoted_with_where_it_comes_from_and_a_good_one() {
    for bad in [
        "localhost:8080",
        "",
        "ftp://localhost",
        "http://",
        "http://a b",
    ] {
        let ran = Cli::of_topics(1).run(&["--base-url", bad]);
        assert_eq!(ran.exit, 2, "{ran}");
        assert!(
            ran.stderr.contains(&format!("--base-url is {bad:?}")),
            "{ran}"
        );
        assert!(ran.stderr.contains("http://localhost:8080/v1"), "{ran}");
    }
    let ran = Cli::of_topics(1)
        .env("OPENAI_BASE_URL", "localhost:8080")
        .run(&[]);
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(
        ran.stderr
            .contains("$OPENAI_BASE_URL is \"localhost:8080\""),
        "it was not typed: {ran}"
    );
}

#[test]
fn a_run_without_a_model_or_without_prompts_says_so() {
    let silence = Silence::new();
    let cli = Cli::of_topics(1);
    let ran = cli.paceline(&["run", "prompts.txt", "--base-url", &silence.url()]);
    silence.assert_bad(&ran, &["-m NAME"]);
    silence.assert_bad(&cli.paceline(&["run"]), &["PROMPTS"]);
    silence.assert_bad(&cli.paceline(&[]), &["Usage: paceline"]);
}

#[test]
fn file_key_and_model_are_checked_together() {
    let ran = Cli::of("").paceline(&["run", "nowhere.txt", "--burst", "2"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{ran}");
    let errors: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 4, "{ran}");
    assert_eq!(errors[0], "error: --burst needs --rpm as well");
    assert_eq!(errors[1], "error: there is no API key in $OPENAI_API_KEY");
    assert!(errors[2].starts_with("error: cannot read prompts from nowhere.txt: "));
    assert_eq!(errors[3], "error: no model is given");
    let help = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("  help: "))
        .count();
    assert_eq!(help, 6, "{ran}");
}

// ---- The input ------------------------------------------------------------------------------------------------------

#[test]
fn a_file_without_prompts_is_bad_input() {
    for nothing in ["", "\n\r\n \n", "\u{feff}"] {
        assert_bad(&Cli::of(nothing), &[], &["prompts.txt holds no prompt"]);
    }
}

#[test]
fn binary_junk_names_its_line() {
    assert_bad(
        &Cli::of(b"fine\nbad \xff\n"),
        &[],
        &["prompts.txt: line 2, byte 5: not UTF-8"],
    );
    assert_bad(
        &Cli::of(b"\x7fELF\x02\x01\x01\x00\xff\xfe\x80"),
        &[],
        &["prompts.txt: line 1"],
    );
}

/// Runs a file of this name, or standard input if the name is `-`, and sees to it that nothing is sent.
#[track_caller]
fn assert_refused(name: &str, content: impl AsRef<[u8]>, options: &[&str], said: &[&str]) {
    let silence = Silence::new();
    let mut cli = Cli::of("");
    if name == "-" {
        cli = cli.stdin(std::str::from_utf8(content.as_ref()).unwrap());
    } else {
        std::fs::write(cli.path(name), content).unwrap();
    }
    let args = ["run", name, "-m", "m", "--base-url", &silence.url()];
    let ran = cli.paceline(&[&args, options].concat());
    let place: &[&str] = &[&format!("{name}: line ")];
    silence.assert_bad(&ran, &[place, said].concat());
}

#[test]
fn what_may_not_be_lines_of_prompts_is_refused_with_its_line_and_the_option_that_helps() {
    let utf16: Vec<u8> = "one\ntwo\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let table: &[(&str, &[u8], &str)] = &[
        (
            "a.txt",
            b"{\"prompt\":\"one\"}\n",
            "line 1: this looks like JSON",
        ),
        (
            "a.md",
            b"\n[\n{\"prompt\":\"one\"}]",
            "line 2: this looks like JSON",
        ),
        ("a.txt", b"id,prompt\n1,one\n", "--format csv"),
        ("a.txt", b"id\tprompt\n1\tone\n", "--format tsv"),
        ("-", b"prompt\none\n", "--format csv"),
        ("-", b"\"one\"\n", "--format jsonl"),
        ("a.yaml", b"- prompt: one\n", "like a document"),
        ("-", b"%PDF-1.7\n", "like a document"),
        ("a.txt", b"one\rtwo\r", "carriage returns"),
    ];
    for (name, content, said) in table {
        assert_refused(name, content, &[], &[said, "--format text"]);
    }
    let binary: [(&str, &[u8]); 4] = [
        ("a.txt", &utf16),
        ("a.csv", &utf16),
        ("a.zip", b"PK\x03\x04\x14\0\0\0\x08\0"),
        ("a", b"one\ntwo\0three\n"),
    ];
    for (name, content) in binary {
        assert_refused(name, content, &[], &["a NUL byte: this is no text"]);
        assert_refused(name, content, &["--format=text"], &["a NUL byte"]);
    }
    assert_refused("-", "PK\0\n", &[], &["a NUL byte"]);
}

#[test]
fn a_row_with_an_id_and_an_empty_prompt_is_not_dropped() {
    let said = ["line 2: its prompt is empty"];
    assert_refused("a.csv", "id,prompt\n1,\n2,two\n", &[], &said);
    assert_refused("a.tsv", "id\tprompt\n1\t \n2\ttwo\n", &[], &said);
    assert_refused(
        "a.jsonl",
        "\"one\"\n{\"id\":1,\"prompt\":\"\"}\n",
        &[],
        &said,
    );
    assert_refused(
        "-",
        "{\"id\":1,\"prompt\":\"\"}\n",
        &[],
        &["line 1: its prompt is empty"],
    );
}

#[test]
fn a_row_that_asks_for_what_cannot_be_sent_is_refused_with_its_line() {
    let table = [
        (
            r#"{"prompt":"p","messages":[{"role":"user","content":"a"}]}"#,
            "it has both",
        ),
        (
            r#"{"messages":[]}"#,
            "in \"messages\" the user says nothing",
        ),
        (
            r#"{"messages":[{"role":"system","content":"a"}],"image":"none.png"}"#,
            "the user says nothing",
        ),
        (
            r#"{"messages":[{"role":"user","content":" "}]}"#,
            "the user says nothing",
        ),
        (
            r#"{"messages":[{"role":"user","content":[]}]}"#,
            "the user says nothing",
        ),
        (
            r#"{"body":{"messages":"a"}}"#,
            "expected \"messages\" to be a list, found \"a\"",
        ),
        (
            r#"{"messages":{"role":"user","content":"a"}}"#,
            "expected \"messages\" to be a list, found {",
        ),
        (
            r#"{"prompt":null,"messages":null,"city":"Rome"}"#,
            "expected a \"prompt\" or \"messages\", found city; rename",
        ),
        (
            r#"{"image":"https://example.org/a.png"}"#,
            "expected a \"prompt\" or \"messages\", found image",
        ),
        (r#"{"prompt":"","image":"none.png"}"#, "its prompt is empty"),
        (
            r#"{"messages":[{"content":"a"}]}"#,
            "to have a \"role\" and \"content\"",
        ),
        (
            r#"{"prompt":"p","max_tokens":"many"}"#,
            "expected \"max_tokens\" to be a number, found \"many\"",
        ),
        (
            r#"{"prompt":"p","temperature":[1]}"#,
            "expected \"temperature\" to be a number",
        ),
        (
            r#"{"prompt":"p","model":7}"#,
            "expected \"model\" to be a text, found 7",
        ),
        (
            r#"{"prompt":"p","images":[7]}"#,
            "expected \"images\" to name files, found 7",
        ),
        (
            r#"{"prompt":"p","image":"none.png"}"#,
            "none.png: No such file",
        ),
        (
            r#"{"prompt":"p","image":"prompts.txt"}"#,
            "prompts.txt: no PNG, JPEG, GIF, WebP or PDF",
        ),
        (
            r#"{"prompt":"p","image":{"url":"a.png"}}"#,
            "expected \"image\" to name files, found {\"url\":\"a.png\"}",
        ),
    ];
    for (row, said) in table {
        assert_refused(
            "a.jsonl",
            format!("\"first\"\n{row}\n"),
            &[],
            &["line 2", said],
        );
    }
    let conversation = r#"{"messages":[{"role":"user","content":"a"}]}"#;
    let said = ["takes no messages or files"];
    assert_refused("a.jsonl", conversation, &["--api", "embeddings"], &said);
}

#[test]
fn a_template_that_takes_nothing_from_the_rows_is_refused() {
    let cli = Cli::of_topics(2);
    for (source, said) in [
        ("Answer: {prompt}", "write {{prompt}}"),
        ("Hello", "it uses no field"),
        ("{{id}}: {prompt}", "{prompt} in single braces"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{{prompt}}",
            "fuel",
        ),
    ] {
        std::fs::write(cli.path("t.txt"), source).unwrap();
        assert_bad(&cli, &["--template", "t.txt"], &[said]);
    }
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let silence = Silence::new();
    for (input, why) in [
        (
            "nowhere.txt",
            "cannot read prompts from nowhere.txt: No such file",
        ),
        (".", "prompts.txt: the file is empty"),
    ] {
        let args = ["run", input, "-m", "m", "--base-url", &silence.url()];
        silence.assert_bad(&Cli::of("").paceline(&args), &[why]);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named_before_anything_is_sent() {
    for output in ["nowhere/results.jsonl", "."] {
        assert_bad(
            &Cli::of_topics(1),
            &["-o", output],
            &["cannot write results to", output, "write elsewhere with -o"],
        );
    }
}
