//! `paceline export` over the built binary: what only a real pipe and real exit statuses show.

#![cfg(feature = "cli")]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn export(results: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.arg("export").arg(results).env_remove("RUST_LOG");
    command
}

/// A results file with this many answers.
fn results(folder: &Path, count: usize) -> std::path::PathBuf {
    let path = folder.join("r.jsonl");
    let line = |n| {
        format!(
            "{{\"id\":\"pl_{n}_ca978112ca1bbdca\",\"custom_id\":\"line-{n}\",\"text\":\"answer {n}\"}}\n"
        )
    };
    fs::write(&path, (1..=count).rev().map(line).collect::<String>()).unwrap();
    path
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_output_is_for_programs_and_the_count_is_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let output = export(&results(folder.path(), 2))
        .args(["-f", "txt"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "answer 1\n\nanswer 2\n"
    );
    assert_eq!(said(&output), "2 answered, 0 failed\n");
}

#[test]
fn a_reader_that_has_had_enough_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["csv", "jsonl", "md", "txt", "batch"] {
        let mut command = export(&results(folder.path(), 20_000));
        command
            .args(["-f", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), said(&output).as_str()),
            (Some(0), ""),
            "{format}"
        );
    }
}

#[test]
fn the_ending_of_the_file_chooses_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let (results, out) = (results(folder.path(), 1), folder.path().join("out.md"));
    assert_eq!(
        export(&results)
            .arg("-o")
            .arg(&out)
            .output()
            .unwrap()
            .status
            .code(),
        Some(0)
    );
    assert_eq!(fs::read_to_string(&out).unwrap(), "# line-1\n\nanswer 1\n");
    let output = export(&results).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        said(&output),
        "error: which format? Give --format csv, jsonl, md, txt or batch\n"
    );
}

#[test]
fn results_that_cannot_be_used_are_status_2_and_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = results(folder.path(), 2);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replacen("\"text\"", "text", 1)).unwrap();
    let output = export(&path).args(["-f", "csv"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(
        said(&output).contains("r.jsonl: line 1 is not a whole record"),
        "{}",
        said(&output)
    );
}

#[test]
fn columns_of_the_input_are_written_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.jsonl");
    let line = |n: u64, columns: &str| {
        format!(
            "{{\"id\":\"pl_{n}_ca978112ca1bbdca\",\"custom_id\":\"{n}\",\"text\":\"t\",\"columns\":{columns}}}\n"
        )
    };
    let lines = [
        line(1, r#"{"topic":"bees, all","n":1}"#),
        line(2, r#"{"n":[2],"more":"=x"}"#),
    ];
    fs::write(&path, lines.concat()).unwrap();
    let made = |options: &[&str]| {
        let output = export(&path).args(options).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout.clone()).unwrap(),
            said(&output),
        )
    };
    let (_, csv, said) = made(&["-f", "csv", "--columns"]);
    let rest = "custom_id,prompt,text,finish_reason,error,status,attempts";
    assert_eq!(
        csv,
        format!("{rest},topic,n,more\n1,,t,,,,0,\"bees, all\",1,\n2,,t,,,,0,,[2],=x\n")
    );
    assert!(said.contains("1 cell as formulas"), "{said}");
    let (_, csv, _) = made(&["-f", "csv", "--columns=n"]);
    assert_eq!(csv, format!("{rest},n\n1,,t,,,,0,1\n2,,t,,,,0,[2]\n"));
    let (_, json, _) = made(&["-f", "jsonl", "--columns=topic"]);
    assert!(
        json.contains(r#""columns":{"topic":"bees, all"}}"#),
        "{json}"
    );
    let (exit, out, said) = made(&["-f", "csv", "--columns=other"]);
    assert_eq!((exit, out.as_str()), (Some(2), ""));
    assert!(
        said.contains("no row has a column other; there are more, n, topic"),
        "{said}"
    );
}
