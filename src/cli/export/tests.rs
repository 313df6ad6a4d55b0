//! Whole exports of results as a run leaves them.

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

fn made(format: ExportFormat, options: ExportOptions) -> (String, Exported) {
    let mut to = Vec::new();
    let mut results = Results::new(Cursor::new(results()));
    let exported = export(&mut results, format, &options, &mut to).unwrap();
    (String::from_utf8(to).unwrap(), exported)
}

fn plain(format: ExportFormat) -> String {
    made(format, ExportOptions::default()).0
}

fn error(text: &str, format: ExportFormat, options: ExportOptions) -> (String, Vec<u8>) {
    let mut to = Vec::new();
    let mut results = Results::new(Cursor::new(text));
    let error = export(&mut results, format, &options, &mut to).unwrap_err();
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
    assert_eq!(plain(ExportFormat::Csv), expected);
}

#[test]
fn a_table_for_a_spreadsheet_runs_no_formulas() {
    let options = ExportOptions {
        spreadsheet: true,
        ..ExportOptions::default()
    };
    let (text, exported) = made(ExportFormat::Csv, options);
    let (_, unsafe_export) = made(ExportFormat::Csv, ExportOptions::default());
    assert!(
        text.starts_with("\u{feff}custom_id,")
            && text.contains("\"'- one\n- two\",length,,200,2\r\n"),
        "{text}"
    );
    assert_eq!((exported.formulas, unsafe_export.formulas), (1, 1));
}

#[test]
fn lines_of_json_have_the_fields_that_people_ask_for() {
    let lines = plain(ExportFormat::Jsonl);
    let first = r#"{"custom_id":"line-1","prompt":"a, \"b\"\nc","text":"- one\n- two","finish_reason":"length","error":null}"#;
    assert_eq!(lines.split('\n').next(), Some(first));
    assert_eq!(lines.split_terminator('\n').count(), 4);
    assert!(lines.contains(
        r#""text":null,"finish_reason":null,"error":{"code":"bad","message":"second\ntime"}"#
    ));
}

#[test]
fn batch_lines_carry_the_response_to_the_letter() {
    let lines = plain(ExportFormat::Batch);
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
    assert_eq!(plain(ExportFormat::Md), expected);
}

#[test]
fn text_is_the_answers_with_a_blank_line_between() {
    assert_eq!(plain(ExportFormat::Txt), "- one\n- two\n\nfine\n\n\n");
}

#[test]
fn everything_is_counted() {
    let (_, exported) = made(ExportFormat::Txt, ExportOptions::default());
    let expected = Exported {
        answered: 3,
        flags: exported.flags,
        failed: 1,
        written: 3,
        formulas: 0,
        torn: 0,
    };
    assert_eq!(exported, expected);
    assert_eq!((exported.flags.cut, exported.flags.empty), (1, 1));
}

#[test]
fn the_order_of_completion_is_that_of_the_last_records() {
    let options = ExportOptions {
        order: ExportOrder::Completion,
        ..ExportOptions::default()
    };
    let ids: Vec<_> = made(ExportFormat::Batch, options)
        .0
        .lines()
        .map(|line| line[10..11].to_owned())
        .collect();
    assert_eq!(ids, ["4", "1", "3", "2"]);
}

#[test]
fn failed_prompts_can_be_left_out_or_be_all_there_is() {
    let count = |failed| {
        let options = ExportOptions {
            failed,
            ..ExportOptions::default()
        };
        made(ExportFormat::Jsonl, options).0.lines().count()
    };
    assert_eq!(
        [
            FailedPrompts::Include,
            FailedPrompts::Exclude,
            FailedPrompts::Only
        ]
        .map(count),
        [4, 3, 1]
    );
    let (error, _) = error(
        "",
        ExportFormat::Txt,
        ExportOptions {
            failed: FailedPrompts::Only,
            ..ExportOptions::default()
        },
    );
    assert!(
        error.starts_with("txt has no place for failed prompts"),
        "{error}"
    );
}

#[test]
fn an_unfinished_last_line_is_left_out_and_counted() {
    let mut to = Vec::new();
    let mut results = Results::new(Cursor::new(results() + "{\"id\":\"pl_9"));
    let options = ExportOptions::default();
    let exported = export(&mut results, ExportFormat::Jsonl, &options, &mut to).unwrap();
    assert_eq!((exported.torn, exported.written), (11, 4));
}

#[test]
fn a_broken_line_is_named_before_anything_is_written() {
    let (error, to) = error(
        &(results() + "{\"id\":1}\n" + &results()),
        ExportFormat::Csv,
        ExportOptions::default(),
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
    for format in ExportFormat::value_variants() {
        let error = export(
            &mut Results::new(Cursor::new(results())),
            *format,
            &ExportOptions::default(),
            Gone,
        )
        .unwrap_err();
        assert!(
            matches!(error, ExportError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe),
            "{format:?}"
        );
    }
}

#[test]
fn the_ending_of_a_file_names_the_format() {
    let of = |path: &str| ExportFormat::of_file(Path::new(path));
    assert_eq!(of("a/b.MD"), Some(ExportFormat::Md));
    assert_eq!((of("csv"), of("a.pdf")), (None, None));
}

#[test]
fn no_cell_of_a_spreadsheet_begins_as_a_formula_of_any_kind() {
    for start in ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"] {
        let record = json!({"id": "pl_1_ca978112ca1bbdca", "custom_id": "line-1", "text": format!("{start}1+1")});
        let mut to = Vec::new();
        let options = ExportOptions {
            spreadsheet: true,
            ..ExportOptions::default()
        };
        let mut results = Results::new(Cursor::new(format!("{record}\n")));
        assert_eq!(
            export(&mut results, ExportFormat::Csv, &options, &mut to)
                .unwrap()
                .formulas,
            1,
            "{start:?}"
        );
        let text = String::from_utf8(to).unwrap();
        assert!(text.contains(&format!("'{start}1+1")), "{text:?}");
    }
}

#[test]
fn documents_and_text_hold_no_control_character_and_all_else_is_to_the_letter() {
    let nasty = "a\u{1b}[31m\u{9b}2J\u{7}\u{0}b\r\nc\td";
    let record = json!({"id": "pl_1_ca978112ca1bbdca", "custom_id": "line-1", "prompt": nasty, "text": nasty,
        "finish_reason": nasty});
    let made = |format| {
        let mut to = Vec::new();
        let mut results = Results::new(Cursor::new(format!("{record}\n")));
        export(&mut results, format, &ExportOptions::default(), &mut to).unwrap();
        String::from_utf8(to).unwrap()
    };
    for format in [ExportFormat::Md, ExportFormat::Txt] {
        let text = made(format);
        assert!(text.contains("b\nc\td"), "{text:?}");
        assert!(
            !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')),
            "{text:?}"
        );
    }
    assert!(made(ExportFormat::Csv).contains(nasty));
}
