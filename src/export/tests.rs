//! Whole exports, of results as a run leaves them.

use super::*;
use serde_json::{Value, json};
use std::io::Cursor;

/// Out of order: an answer cut short, a failure, the failure's retry, an empty answer.
fn results() -> String {
    let line = |line: u64, prompt: &str, rest: Value| {
        let mut record = json!({"id": format!("pl_{line}_ca978112ca1bbdca"), "custom_id": format!("line-{line}"),
            "prompt": prompt, "text": null, "finish_reason": null, "response": null, "error": null, "attempts": []});
        record
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        format!("{record}\n")
    };
    [
        line(4, "d", json!({"text": "", "finish_reason": "stop"})),
        line(3, "c", json!({"error": {"code": "x", "message": "first"}})),
        line(
            1,
            "a, \"b\"\nc",
            json!({"text": "- one\n- two", "finish_reason": "length", "attempts": [{}, {"n": 2}],
            "response": {"status_code": 200, "request_id": null, "body": {"n": 1.0}}}),
        ),
        line(
            3,
            "c",
            json!({"error": {"code": "bad", "message": "second\ntime"}, "response": {"status_code": 400}}),
        ),
        line(2, "b\u{2028}", json!({"text": "fine\n", "finish_reason": "stop"})),
    ]
    .concat()
}

fn made(options: Options) -> (String, Exported) {
    let mut to = Vec::new();
    let exported = export(&mut Results::new(Cursor::new(results())), &options, &mut to).unwrap();
    (String::from_utf8(to).unwrap(), exported)
}

fn plain(format: Format) -> String {
    made(Options::new(format)).0
}

fn error(text: &str, options: Options) -> (String, Vec<u8>) {
    let mut to = Vec::new();
    let error = export(&mut Results::new(Cursor::new(text)), &options, &mut to).unwrap_err();
    (error.to_string(), to)
}

#[test]
fn a_table_has_a_row_a_prompt_in_input_order_and_the_last_record_wins() {
    let expected = "\
custom_id,prompt,text,finish_reason,error,status,attempts
line-1,\"a, \"\"b\"\"\nc\",\"- one\n- two\",length,,200,2
line-2,b\u{2028},\"fine\n\",stop,,,0
line-3,c,,,\"bad: second\ntime\",400,0
line-4,d,,stop,,,0
";
    assert_eq!(plain(Format::Csv), expected);
}

#[test]
fn a_table_for_a_spreadsheet_runs_no_formulas() {
    let options = Options {
        spreadsheet: true,
        ..Options::new(Format::Csv)
    };
    let (text, exported) = made(options);
    assert!(
        text.starts_with("\u{feff}custom_id,")
            && text.contains("\"'- one\n- two\",length,,200,2\r\n"),
        "{text}"
    );
    assert_eq!(
        (
            exported.formulas,
            made(Options::new(Format::Csv)).1.formulas
        ),
        (1, 1)
    );
}

#[test]
fn lines_of_json_have_the_fields_that_people_ask_for() {
    let lines = plain(Format::Jsonl);
    let first = r#"{"custom_id":"line-1","prompt":"a, \"b\"\nc","text":"- one\n- two","finish_reason":"length","error":null}"#;
    assert_eq!(lines.split('\n').next(), Some(first));
    assert_eq!(lines.split_terminator('\n').count(), 4);
    assert!(lines.contains(
        r#""text":null,"finish_reason":null,"error":{"code":"bad","message":"second\ntime"}"#
    ));
}

#[test]
fn batch_lines_carry_the_response_to_the_letter() {
    let lines = plain(Format::Batch);
    let first = r#"{"id":"pl_1_ca978112ca1bbdca","custom_id":"line-1","response":{"status_code":200,"request_id":null,"body":{"n":1.0}},"error":null}"#;
    assert_eq!(lines.split('\n').next(), Some(first));
    assert!(lines.contains(r#""custom_id":"line-2","response":null,"error":null}"#));
}

#[test]
fn a_document_has_a_section_a_prompt_and_says_what_went_wrong() {
    let expected = "\
# a, \"b\"

- one
- two

*The answer ended with: length.*

# b

fine

# c

**Failed** (bad): second time

# d

*An empty answer.*
";
    assert_eq!(plain(Format::Md), expected);
}

#[test]
fn text_is_the_answers_with_a_blank_line_between() {
    assert_eq!(plain(Format::Txt), "- one\n- two\n\nfine\n\n\n");
}

#[test]
fn everything_is_counted() {
    let (_, exported) = made(Options::new(Format::Txt));
    let expected = Exported {
        answered: 3,
        flagged: 2,
        failed: 1,
        written: 3,
        formulas: 0,
        torn: 0,
    };
    assert_eq!(exported, expected);
}

#[test]
fn the_order_of_completion_is_that_of_the_last_records() {
    let options = Options {
        order: Order::Completion,
        ..Options::new(Format::Batch)
    };
    let ids: Vec<_> = made(options)
        .0
        .lines()
        .map(|line| line[10..11].to_owned())
        .collect();
    assert_eq!(ids, ["4", "1", "3", "2"]);
}

#[test]
fn failed_prompts_can_be_left_out_or_be_all_there_is() {
    let count = |failed| {
        made(Options {
            failed,
            ..Options::new(Format::Jsonl)
        })
        .0
        .lines()
        .count()
    };
    assert_eq!(
        [Failed::Include, Failed::Exclude, Failed::Only].map(count),
        [4, 3, 1]
    );
    let (error, _) = error(
        "",
        Options {
            failed: Failed::Only,
            ..Options::new(Format::Txt)
        },
    );
    assert!(error.starts_with("txt has answers only"), "{error}");
}

#[test]
fn an_unfinished_last_line_is_left_out_and_counted() {
    let mut to = Vec::new();
    let mut results = Results::new(Cursor::new(results() + "{\"id\":\"pl_9"));
    let exported = export(&mut results, &Options::new(Format::Jsonl), &mut to).unwrap();
    assert_eq!((exported.torn, exported.written), (11, 4));
}

#[test]
fn a_broken_line_is_named_before_anything_is_written() {
    let (error, to) = error(
        &(results() + "{\"id\":1}\n" + &results()),
        Options::new(Format::Csv),
    );
    assert!(
        error.starts_with("line 6 is not a whole record (invalid type: integer"),
        "{error}"
    );
    assert!(to.is_empty());
}

#[test]
fn a_pipe_that_nobody_reads_is_known_as_one_in_every_format() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (name, format) in Format::NAMES {
        let error = export(
            &mut Results::new(Cursor::new(results())),
            &Options::new(format),
            Gone,
        )
        .unwrap_err();
        assert!(
            matches!(error, ExportError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe),
            "{name}"
        );
    }
}

#[test]
fn names_of_formats_are_read_and_endings_of_files_too() {
    for name in ["csv", "jsonl", "md", "txt", "batch"] {
        assert_eq!(name.parse::<Format>().unwrap().to_string(), name);
    }
    assert_eq!(
        "pdf".parse::<Format>().unwrap_err().to_string(),
        "give csv, jsonl, md, txt, batch"
    );
    assert_eq!(Format::of_file(Path::new("a/b.MD")), Some(Format::Md));
    assert_eq!(Format::of_file(Path::new("csv")), None);
}
