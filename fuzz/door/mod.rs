//! One function for each parser that meets bytes of strangers. None may panic, hang, or break what its function checks.
//!
//! `cargo fuzz` calls them with what it invents (`fuzz/fuzz_targets`); the tests here call them with any bytes, and with
//! the examples in `fuzz/examples`, changed in a few places.

use std::time::{Duration, SystemTime};

use crate::api::{ApiKind, assembled};
use crate::hints::Hints;
use crate::journal::{Index, Record, Results};
use crate::json::repaired;
use crate::practice::wire;
use crate::prompts::{Format, Prompts, Reading, Template};
use crate::store::RedisUrl;

/// Prompts in each format, by the first byte, perhaps compressed.
pub fn prompts(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let formats = [Format::Json, Format::Csv, Format::Tsv, Format::Text].map(Some);
    let format = formats.get(usize::from(*kind % 8)).copied().flatten();
    read_all(bytes, format, None);
}

/// Reads prompts to their end: they come in order, none is blank, and an error is the last that comes.
fn read_all(bytes: &[u8], format: Option<Format>, template: Option<Template>) {
    let reading = Reading {
        format,
        template,
        ..Reading::default()
    };
    let mut prompts = Prompts::new(bytes, reading);
    let mut before = 0;
    for prompt in prompts.by_ref() {
        let Ok(prompt) = prompt else {
            break;
        };
        assert!(prompt.line > before, "{prompt:?}");
        before = prompt.line;
    }
    assert!(prompts.next().is_none());
}

/// A template, and what it makes of a row.
pub fn template(bytes: &[u8]) {
    const ROW: &[u8] = br#"{"prompt":"why","id":"a","to":"French","n":3,"list":[1,"b",null]}"#;
    let source = String::from_utf8_lossy(bytes);
    if let Ok(template) = Template::new(&source, "template") {
        read_all(ROW, Some(Format::Json), Some(template));
    }
}

/// Headers, one a line, and after a blank line the body of an error. No wait is longer than a week.
pub fn hints(bytes: &[u8]) {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let body = serde_json::from_str(body).ok();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_795_200);
    let hints = Hints::read(&headers, body.as_ref(), now);
    let waits = [hints.retry_after, hints.until_reset()];
    assert!(
        waits.iter().flatten().all(|wait| *wait <= WEEK),
        "{hints:?}"
    );
}

/// The body of a response of each API, by the first byte: as an answer, repaired, and as a failure with each status.
pub fn answers(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let kinds = [
        ApiKind::Chat,
        ApiKind::Responses,
        ApiKind::Messages,
        ApiKind::Gemini,
        ApiKind::Embeddings,
    ];
    let api = kinds[usize::from(*kind) % kinds.len()].api();
    let _ = api.completion(&String::from_utf8_lossy(bytes));
    let _ = api.completion(&repaired(bytes));
    for status in [200, 400, 403, 429, 503] {
        let error = api.failure(status, &[], bytes);
        assert_eq!(error.status, Some(status));
    }
}

/// A stream of each API, by the first byte, in pieces of the second. It brings the same whatever the pieces, or nothing.
pub fn stream(bytes: &[u8]) {
    const PATHS: [&str; 4] = [
        "/chat/completions",
        "/responses",
        "/messages",
        ":generateContent",
    ];
    let [kind, size, bytes @ ..] = bytes else {
        return;
    };
    let path = PATHS[usize::from(*kind) % PATHS.len()];
    let cut = assembled(path, bytes.chunks(usize::from(*size).max(1)), 1 << 20);
    let whole = assembled(path, [bytes], 1 << 20);
    assert_eq!(cut, whole);
}

/// A results file. All of it is whole lines, an unfinished one, or an error that comes again.
pub fn journal(bytes: &[u8]) {
    let mut results = Results::new(bytes);
    while let Ok(Some(line)) = results.next_line() {
        if let Ok(record) = line.parse::<Record>() {
            let written = serde_json::to_vec(&record).expect("a record can be written");
            let read: Record = serde_json::from_slice(&written).expect("and read again");
            assert_eq!(read, record);
        }
    }
    assert!(results.whole + results.torn <= bytes.len() as u64);
    let mut results = Results::new(bytes);
    if Index::read(&mut results).is_ok() {
        assert_eq!(results.whole + results.torn, bytes.len() as u64);
    }
}

/// The URL of a Redis server, and a reply of one.
pub fn redis(bytes: &[u8]) {
    let _ = RedisUrl::parse(&String::from_utf8_lossy(bytes), Some("secret"));
    if let Ok(value) = redis::parse_redis_value(bytes) {
        let _ = redis::from_redis_value::<[u64; 10]>(value);
    }
}

/// A request to the practice server or the gate.
pub fn request(bytes: &[u8]) {
    if let Ok(request) = wire::of_bytes(bytes) {
        assert!(request.body.len() <= bytes.len());
    }
}

#[cfg(test)]
mod tests;
