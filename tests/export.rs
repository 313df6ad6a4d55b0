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
