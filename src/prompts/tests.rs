//! Text, and what holds for every format whatever the bytes.

use std::io::Write;

use std::io::BufReader;

use proptest::prelude::*;

use super::*;

/// Lines of text, whatever they look like.
fn text() -> Reading {
    Reading {
        format: Some(Format::Text),
        ..Reading::default()
    }
}

fn read(bytes: &[u8]) -> Vec<(String, String)> {
    let pair = |prompt: Result<Prompt, _>| {
        prompt
            .map(|prompt| (prompt.custom_id, prompt.text))
            .unwrap()
    };
    Prompts::new(bytes, text()).map(pair).collect()
}

fn error(bytes: &[u8]) -> String {
    let mut prompts = Prompts::new(bytes, text());
    let error = prompts.find_map(Result::err).unwrap().to_string();
    assert!(prompts.next().is_none(), "an error ends the stream");
    error
}

#[test]
fn one_prompt_a_line_named_by_its_line() {
    let expected = [("line-1", "one"), ("line-2", " two "), ("line-5", "five")];
    let expected = expected.map(|(id, text)| (id.to_owned(), text.to_owned()));
    assert_eq!(read(b"one\n two \n\n \t\nfive"), expected);
    assert_eq!(
        read(b"\xef\xbb\xbfone\r\n two \r\n\r\n \t\r\nfive\r\n"),
        expected
    );
}

#[test]
fn an_input_without_prompts_is_empty() {
    assert!(read(b"").is_empty());
    assert!(read(b"\n\r\n\n").is_empty());
    assert!(read(b"\xef\xbb\xbf").is_empty());
}

#[test]
fn lines_end_at_line_feeds_only() {
    let text = "a\u{2028}b\u{85}c\u{0b}d\re";
    assert_eq!(
        read(text.as_bytes()),
        [("line-1".to_owned(), text.to_owned())]
    );
}

#[test]
fn what_is_not_utf_8_names_its_line_and_byte() {
    assert_eq!(
        error(b"fine\nbad \xff\n"),
        "line 2, byte 5: not UTF-8; save a text as UTF-8 (pictures and archives are no prompts)"
    );
}

#[test]
fn a_line_may_be_sixteen_mebibytes_long_but_no_longer() {
    assert_eq!(read(&vec![b'x'; LONGEST]).len(), 1);
    assert_eq!(
        error(&vec![b'x'; LONGEST + 1]),
        "line 1: longer than 16 MiB; one prompt is one line, and quotes must be closed"
    );
}

#[test]
fn a_prompt_without_a_body_is_an_error_where_there_is_no_model() {
    let reading = Reading {
        format: Some(Format::Json),
        bodies_only: true,
        ..Reading::default()
    };
    let batch = r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}"#;
    let input = format!("{batch}\n\"why\"\n");
    let mut prompts = Prompts::new(input.as_bytes(), reading);
    assert_eq!(prompts.next().unwrap().unwrap().body.as_deref(), Some("{}"));
    let error = prompts.next().unwrap().unwrap_err().to_string();
    assert!(
        error.starts_with("line 2: this prompt has no body"),
        "{error}"
    );
    assert!(prompts.next().is_none());
}

#[test]
fn an_input_that_begins_like_gzip_and_is_cut_is_an_error_and_such_a_text_must_be_zipped() {
    let cut = error(&[GZIP]);
    assert_eq!(
        cut,
        "line 1: the gzip data ends too early: the file was cut short"
    );
    assert_eq!(
        read(&zipped(&[GZIP])),
        [("line-1".to_owned(), "\u{1f}".to_owned())]
    );
}

#[test]
fn prompts_may_go_to_another_thread_if_their_reader_may() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&Prompts::new(&b""[..], text()));
}

/// Bytes that begin with it are gzip, and never plain text.
const GZIP: u8 = 0x1f;

const FORMATS: [Format; 4] = [Format::Text, Format::Json, Format::Csv, Format::Tsv];

/// Bytes as they come, and bytes that get further: made of the words that the formats know.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: [&[u8]; 22] = [
        b"\n",
        b"\r\n",
        b"\r",
        b"\"",
        b"\"\"",
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"\\",
        b"prompt",
        b"\"prompt\"",
        b"id",
        b"\"body\"",
        b"7",
        b"a",
        b" ",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xe2\x80\xa8",
    ];
    let words = prop::collection::vec(prop::sample::select(&WORDS[..]), 0..40)
        .prop_map(|words| words.concat());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), words]
}

fn template() -> Option<Template> {
    Some(Template::new("{{line}} {{prompt}} {{id}}", "t").unwrap())
}

fn zipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// What is read, with the error, if there is one, in words.
fn outcome(reader: impl BufRead, reading: &Reading) -> Vec<Result<Prompt, String>> {
    Prompts::new(reader, reading.clone())
        .map(|prompt| prompt.map_err(|error| error.to_string()))
        .collect()
}

/// Prompts that come in order, one a line at most, none of them blank, and no more after an error.
fn check(outcome: &[Result<Prompt, String>]) {
    let (last, before) = outcome
        .split_last()
        .map_or((None, &[][..]), |(last, before)| (Some(last), before));
    assert!(before.iter().all(Result::is_ok), "{outcome:?}");
    let prompts: Vec<_> = before.iter().chain(last).flatten().collect();
    assert!(
        prompts.iter().all(|prompt| !prompt.text.trim().is_empty()),
        "{outcome:?}"
    );
    assert!(
        prompts.windows(2).all(|pair| pair[0].line < pair[1].line),
        "{outcome:?}"
    );
}

/// The texts as a file of this format.
fn written(format: Format, texts: &[String]) -> String {
    let line = |text: &String| match format {
        Format::Text => text.clone(),
        Format::Json => serde_json::json!({"prompt": text}).to_string(),
        Format::Csv | Format::Tsv => format!("\"{}\"", text.replace('"', "\"\"")),
    };
    let header = matches!(format, Format::Csv | Format::Tsv).then(|| "prompt".to_owned());
    let lines: Vec<_> = header.into_iter().chain(texts.iter().map(line)).collect();
    lines.join("\n")
}

/// What a file of this format can hold: a text ends at the end of its line, and does not begin with a byte order mark.
fn can_hold(format: Format, text: &str) -> bool {
    let fits = format != Format::Text
        || !(text.contains('\n') || text.ends_with('\r') || text.starts_with('\u{feff}'));
    let is_binary = format != Format::Json && text.contains('\0');
    fits && !is_binary && !text.trim().is_empty()
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let character = prop_oneof![
        any::<char>(),
        prop::sample::select(&['\n', '\r', '"', ',', '\\', ' ', 'x', '\u{2028}', '\u{feff}'][..])
    ];
    let text = prop::collection::vec(character, 0..12)
        .prop_map(|characters| characters.into_iter().collect());
    prop::collection::vec(text, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_prompts_or_one_error(bytes in bytes(), with_template: bool) {
        for format in FORMATS {
            let template = if with_template { template() } else { None };
            let reading = Reading { format: Some(format), template, ..Reading::default() };
            let plain = outcome(&bytes[..], &reading);
            check(&plain);
            prop_assert_eq!(&outcome(BufReader::with_capacity(1, &bytes[..]), &reading), &plain, "in pieces");
            if bytes.first() != Some(&GZIP) {
                prop_assert_eq!(&outcome(&zipped(&bytes)[..], &reading), &plain, "zipped");
            }
        }
    }

    #[test]
    fn any_bytes_as_gzip_are_prompts_or_one_error(bytes in bytes(), at: prop::sample::Index, change: u8) {
        let mut damaged = zipped(&bytes);
        let at = at.index(damaged.len());
        damaged[at] ^= change;
        for format in FORMATS {
            let reading = Reading { format: Some(format), ..Reading::default() };
            check(&outcome(&bytes[..], &reading));
            check(&outcome(&damaged[..], &reading));
        }
    }

    #[test]
    fn what_is_written_is_read_back(texts in texts()) {
        for format in FORMATS {
            let texts: Vec<_> = texts.iter().filter(|text| can_hold(format, text)).cloned().collect();
            let reading = Reading { format: Some(format), ..Reading::default() };
            let file = written(format, &texts);
            let prompts = Prompts::new(file.as_bytes(), reading).map(|prompt| prompt.unwrap().text);
            prop_assert_eq!(prompts.collect::<Vec<_>>(), texts, "{:?}", format);
        }
    }
}
