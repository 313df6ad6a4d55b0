//! Reads prompts from JSON: objects with a `prompt`, strings, or lines of an OpenAI Batch file.
//!
//! The values follow one another, one a line or not, or stand in an array; each is cut out of the input alone. It is known
//! by the line at which it begins, or the next that is free where several begin on one line. A Batch line brings its
//! request with it, which is sent byte for byte; other fields are kept only for a template. Every error names the line
//! and the column at which it was found, in characters, as an editor counts them.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::lines::Lines;
use super::{InputRow, LONGEST, PromptError, Reading, asked, short};

#[derive(Debug)]
pub(super) struct JsonRows<R> {
    lines: Lines<R>,
    /// How much of the current line is read, in bytes.
    read: usize,
    /// The number of the last value.
    last: u64,
    array: Array,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Array {
    /// Nothing is read yet.
    Unknown,
    Open,
    /// It has ended, or there is none.
    Closed,
}

impl<R: BufRead> JsonRows<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        JsonRows {
            lines,
            read: usize::MAX,
            last: 0,
            array: Array::Unknown,
        }
    }

    /// The next value as a row.
    pub(super) fn next(&mut self, reading: &Reading) -> Result<Option<InputRow>, PromptError> {
        while let Some(first) = self.skip_to_value()? {
            match (first, self.array) {
                ('[', Array::Unknown) => self.array = Array::Open,
                (']', Array::Open) => self.array = Array::Closed,
                ('{' | '"', _) => {
                    let text = self.cut_value()?;
                    return text.row(self.last, reading).map(Some);
                }
                _ => return Err(self.unexpected()),
            }
            self.read += 1;
        }
        if self.array == Array::Open {
            let problem = "the array is not closed: the file was cut short";
            return Err(PromptError::at(self.lines.number(), problem));
        }
        Ok(None)
    }

    /// The first character of the next value.
    fn skip_to_value(&mut self) -> Result<Option<char>, PromptError> {
        loop {
            let rest = self.lines.current().get(self.read..).unwrap_or_default();
            let value = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(first) = value.chars().next() {
                self.read += rest.len() - value.len();
                return Ok(Some(first));
            }
            if self.lines.next_filled()?.is_none() {
                return Ok(None);
            }
            self.read = 0;
        }
    }

    /// Cuts out the value that begins here.
    fn cut_value(&mut self) -> Result<JsonText, PromptError> {
        let mut value = self.text_at(String::new());
        let mut end = ValueEnd::default();
        if self.array == Array::Unknown {
            self.array = Array::Closed;
        }
        self.last = value.line.max(self.last + 1);
        loop {
            let rest = &self.lines.current()[self.read..];
            if let Some(length) = end.find(rest) {
                value.text += &rest[..length];
                self.read += length;
                return Ok(value);
            }
            value.text += rest;
            if value.text.len() > LONGEST || !self.lines.advance()? {
                value.parse::<IgnoredAny>(&value.text)?;
                // Not reached: a value that is JSON has an end.
                return Err(value.error(&value.text, "not JSON".to_owned()));
            }
            self.read = 0;
        }
    }

    fn unexpected(&self) -> PromptError {
        let rest = self.text_at(self.lines.current()[self.read..].trim_end().to_owned());
        let found = short(&rest.text);
        let expected = "expected JSON, an object {…} or a string \"…\" for each prompt";
        rest.error(&rest.text, format!("{expected}, found {found}"))
    }

    /// A text that begins here.
    fn text_at(&self, text: String) -> JsonText {
        let before = &self.lines.current()[..self.read];
        JsonText {
            line: self.lines.number(),
            column: before.chars().count() + 1,
            text,
        }
    }
}

/// Finds the end of a value whose text comes in pieces.
#[derive(Default)]
struct ValueEnd {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl ValueEnd {
    /// The bytes of this piece that belong to the value, if it ends here.
    fn find(&mut self, piece: &str) -> Option<usize> {
        for (at, byte) in piece.bytes().enumerate() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => continue,
            }
            if self.depth == 0 && !self.in_string {
                return Some(at + 1);
            }
        }
        None
    }
}

/// The text of a value, and where it begins; errors point at parts of it.
struct JsonText {
    line: u64,
    /// From 1, in characters.
    column: usize,
    text: String,
}

impl JsonText {
    /// Reads the row with this number.
    fn row(&self, number: u64, reading: &Reading) -> Result<InputRow, PromptError> {
        if self.text.starts_with('"') {
            return Ok(InputRow {
                line: number,
                prompt: Some(self.parse(&self.text)?),
                ..InputRow::default()
            });
        }
        let object = JsonObject {
            number,
            json: self,
            fields: self.parse(&self.text)?,
        };
        object.row(reading)
    }

    /// An error at the beginning of this part of the text.
    fn error(&self, part: &str, problem: String) -> PromptError {
        self.error_at(
            part.as_ptr() as usize - self.text.as_ptr() as usize,
            problem,
        )
    }

    /// An error at this byte of the text.
    fn error_at(&self, byte: usize, problem: String) -> PromptError {
        let before = &self.text[..self.text.floor_char_boundary(byte)];
        let line = self.line + before.matches('\n').count() as u64;
        let column = match before.rsplit_once('\n') {
            Some((_, last)) => last.chars().count() + 1,
            None => before.chars().count() + self.column,
        };
        PromptError::within(format!("line {line}, column {column}"), problem)
    }

    /// Reads this part of the text.
    fn parse<'a, T: serde::Deserialize<'a>>(&self, part: &'a str) -> Result<T, PromptError> {
        serde_json::from_str(part).map_err(|error| {
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default();
            let problem = match error.is_eof() {
                true => format!("the input ends before its JSON does ({reason})"),
                false => format!("not JSON: {reason}"),
            };
            // Its columns count bytes.
            let lines = part.split_inclusive('\n').take(error.line() - 1);
            let before = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
            let begin = part.as_ptr() as usize - self.text.as_ptr() as usize;
            self.error_at(begin + before.min(part.len()), problem)
        })
    }
}

/// An object whose fields are not read yet.
struct JsonObject<'a> {
    number: u64,
    json: &'a JsonText,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> JsonObject<'a> {
    fn row(&self, reading: &Reading) -> Result<InputRow, PromptError> {
        let has_template = reading.template.is_some();
        let fields: Map<String, Value> = self.json.parse(&self.json.text)?;
        if self.is_batch_line(has_template, &fields) {
            return self.batch(reading);
        }
        let has_messages = asked::messages(&fields).is_some();
        let prompt = self.field("prompt").filter(|json| *json != "null");
        let prompt = prompt.map(|json| self.string("prompt", json)).transpose()?;
        let prompt = prompt.filter(|text| !has_messages || !text.trim().is_empty());
        if prompt.is_none() && !has_template && !has_messages {
            let found = self.names();
            let problem = format!(
                "expected a \"prompt\" or \"messages\", found {found}; rename a field, or use a template"
            );
            return Err(self.json.error(&self.json.text, problem));
        }
        Ok(InputRow {
            line: self.number,
            id: self.id()?,
            prompt,
            body: None,
            fields,
        })
    }

    /// With a template, `body` and `url` may be fields for it; only all three together are a request. A body without an
    /// address may hold a conversation for any.
    fn is_batch_line(&self, has_template: bool, fields: &Map<String, Value>) -> bool {
        let names = ["method", "url", "body"];
        let found = names.iter().filter(|name| self.field(name).is_some());
        let is_conversation = asked::messages(fields).is_some() && self.field("url").is_none();
        let least = if has_template { names.len() } else { 1 };
        found.count() >= least && self.field("prompt").is_none() && !is_conversation
    }

    fn batch(&self, reading: &Reading) -> Result<InputRow, PromptError> {
        if reading.template.is_some() {
            let problem = "a Batch line brings its own request: leave the template out";
            return Err(self.json.error(&self.json.text, problem.to_owned()));
        }
        let Some(id) = self.id()? else {
            return Err(self.missing("custom_id"));
        };
        self.required("method", "POST", |method| method == "POST")?;
        let path = &reading.api_path;
        let expected = format!("an address that ends with {path} (or choose another --api)");
        self.required("url", &expected, |url| {
            url.as_str().is_some_and(|url| url.ends_with(path))
        })?;
        let json = self.required("body", "an object", Value::is_object)?;
        let body: Value = self.json.parse(json)?;
        let text = question(&body).unwrap_or_else(|| body.to_string());
        Ok(InputRow {
            id: Some(id),
            body: Some(json.to_owned()),
            line: self.number,
            prompt: Some(text),
            ..InputRow::default()
        })
    }

    /// Its `custom_id`, or else its `id`. Null and blank count as missing.
    fn id(&self) -> Result<Option<String>, PromptError> {
        for name in ["custom_id", "id"] {
            let json = self.field(name).unwrap_or("null");
            let id = match json.as_bytes()[0] {
                b'n' => continue,
                b'-' | b'0'..=b'9' => json.to_owned(),
                b'"' => self.string(name, json)?,
                _ => return Err(self.unlike(name, json, "a string or a number")),
            };
            if !id.trim().is_empty() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(|json| json.get())
    }

    /// A field that has to be there, and to be right.
    fn required(
        &self,
        name: &str,
        expected: &str,
        is_right: impl Fn(&Value) -> bool,
    ) -> Result<&'a str, PromptError> {
        let json = self.field(name).ok_or_else(|| self.missing(name))?;
        match is_right(&self.json.parse(json)?) {
            true => Ok(json),
            false => Err(self.unlike(name, json, expected)),
        }
    }

    fn string(&self, name: &str, json: &'a str) -> Result<String, PromptError> {
        if json.starts_with('"') {
            self.json.parse(json)
        } else {
            Err(self.unlike(name, json, "a string"))
        }
    }

    fn unlike(&self, name: &str, json: &str, expected: &str) -> PromptError {
        let found = short(json);
        let problem = format!("expected \"{name}\" to be {expected}, found {found}");
        self.json.error(json, problem)
    }

    fn missing(&self, name: &str) -> PromptError {
        let found = self.names();
        let problem = format!("expected a Batch line to have \"{name}\", found only {found}");
        self.json.error(&self.json.text, problem)
    }

    /// The names of its fields, for people.
    fn names(&self) -> String {
        let filled = self.fields.iter().filter(|(_, json)| json.get() != "null");
        let names: Vec<_> = filled.map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            "an empty object".to_owned()
        } else {
            short(&names.join(", "))
        }
    }
}

/// The question in a ready-made request: the last thing that the user says.
fn question(body: &Value) -> Option<String> {
    let messages = body["messages"].as_array().or(body["input"].as_array());
    let plain = body["input"].as_str().or(body["prompt"].as_str());
    let plain = plain.filter(|text| !text.trim().is_empty());
    messages
        .and_then(|messages| asked::question(messages))
        .or(plain.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Prompt, Prompts};
    use super::*;

    fn reading() -> Reading {
        Reading {
            format: Some(Format::Json),
            api_path: "/chat/completions".to_owned(),
            ..Reading::default()
        }
    }

    fn read(text: &str) -> Vec<Prompt> {
        Prompts::new(text.as_bytes(), reading())
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn error(text: &str) -> String {
        Prompts::new(text.as_bytes(), reading())
            .find_map(Result::err)
            .unwrap()
            .to_string()
    }

    fn batch(body: &str) -> String {
        format!(r#"{{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{body}}}"#)
    }

    #[test]
    fn a_line_is_an_object_or_a_string() {
        let text = "\u{feff}{\"prompt\":\"one\",\"more\":[1]}\r\n\r\n \"two\" \n{\"id\":\"x\",\"prompt\":\"a\\nb\"}";
        let expected = [(1, "line-1", "one"), (3, "line-3", "two"), (4, "x", "a\nb")];
        let found = read(text);
        let found: Vec<_> = found
            .iter()
            .map(|p| (p.line, &*p.custom_id, &*p.text))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_end_at_line_feeds_only() {
        assert_eq!(read("\"a\u{2028}b\u{85}c\"")[0].text, "a\u{2028}b\u{85}c");
    }

    #[test]
    fn an_id_is_a_string_or_a_number_kept_as_it_is_written() {
        let table = [
            (r#""id":7"#, "7"),
            (r#""id":-7.0"#, "-7.0"),
            (
                r#""id":123456789012345678901234567890"#,
                "123456789012345678901234567890",
            ),
            (r#""custom_id":"c","id":"i""#, "c"),
            (r#""id":null"#, "line-1"),
            (r#""custom_id":" ","id":"i""#, "i"),
        ];
        for (id, expected) in table {
            assert_eq!(
                read(&format!(r#"{{"prompt":"p",{id}}}"#))[0].custom_id,
                expected,
                "{id}"
            );
        }
    }

    #[test]
    fn names_may_come_twice() {
        let names: Vec<_> = read("{\"id\":1,\"prompt\":\"a\"}\n{\"id\":1,\"prompt\":\"b\"}")
            .into_iter()
            .map(|p| p.custom_id)
            .collect();
        assert_eq!(names, ["1", "1"]);
    }

    #[test]
    fn rows_without_content_are_skipped_and_an_empty_prompt_with_an_id_is_an_error() {
        assert_eq!(
            read("\"\"\n{\"prompt\":\" \\n\",\"id\":null}\n\"x\"").len(),
            1
        );
        let expected =
            "line 2: its prompt is empty, but other fields are not: fill it, or remove the row";
        assert_eq!(error("\"x\"\n{\"prompt\":\"\",\"id\":1}"), expected);
    }

    #[test]
    fn the_body_of_a_batch_line_is_passed_on_byte_for_byte() {
        let body =
            r#"{ "messages": [ {"role":"user","content":"Why?"} ], "seed": 1e400, "seed": 2 }"#;
        let body = body.replace("1e400", "1.00");
        let prompts = read(&batch(&body));
        assert_eq!((&*prompts[0].custom_id, &*prompts[0].text), ("a", "Why?"));
        assert_eq!(prompts[0].body.as_deref(), Some(&*body));
    }

    #[test]
    fn the_text_of_a_batch_line_is_what_the_user_said_last() {
        let table = [
            (
                r#"{"messages":[{"role":"user","content":"1"},{"role":"user","content":"2"}]}"#,
                "2",
            ),
            (
                r#"{"messages":[{"role":"user","content":"1"},{"role":"assistant","content":"2"}]}"#,
                "1",
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"text":"a"},{"image_url":1},{"text":"b"}]}]}"#,
                "a\nb",
            ),
            (
                r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}]}"#,
                "hi",
            ),
            (r#"{"input":"in"}"#, "in"),
            (r#"{"prompt":"old"}"#, "old"),
            (r#"{ "input" : ["a", "b"] }"#, r#"{"input":["a","b"]}"#),
            (
                r#"{"messages":[{"role":"user","content":" "}]}"#,
                r#"{"messages":[{"role":"user","content":" "}]}"#,
            ),
            ("{}", "{}"),
        ];
        for (body, text) in table {
            assert_eq!(read(&batch(body))[0].text, text, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_has_its_column() {
        let table = [
            (
                "oops",
                "line 1, column 1: expected JSON, an object {…} or a string \"…\" for each prompt, found oops",
            ),
            (
                "\"a\"\n  [1]",
                "line 2, column 3: expected JSON, an object {…} or a string \"…\" for each prompt, found [1]",
            ),
            (
                "{\"prompt\":\"ö\",}",
                "line 1, column 15: not JSON: trailing comma",
            ),
            (
                "{\"ö\":1,\"prompt\":7}",
                "line 1, column 17: expected \"prompt\" to be a string, found 7",
            ),
            (
                r#"{"prompt":"p","id":[1]}"#,
                "line 1, column 20: expected \"id\" to be a string or a number, found [1]",
            ),
            (
                r#"{"text":"p","n":1}"#,
                "line 1, column 1: expected a \"prompt\" or \"messages\", found n, text; rename a field, or use a template",
            ),
            (
                "{}",
                "line 1, column 1: expected a \"prompt\" or \"messages\", found an empty object; rename a field, or use a template",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn values_may_take_several_lines_or_share_one_or_stand_in_an_array() {
        let table = [
            "{\n  \"id\": \"a\",\n  \"prompt\": \"one }\\\" [\"\n}\n{\n\"prompt\":\"two\"}",
            "[{\"id\":\"a\",\"prompt\":\"one }\\\" [\"},\n{\"prompt\":\n\"two\"}]\n",
            "\u{feff}[\n {\"id\":\"a\",\"prompt\":\"one }\\\" [\"}\n,\n \"two\"\n]",
            "{\"id\":\"a\",\"prompt\":\"one }\\\" [\"} \"two\"",
        ];
        let ids = ["line-5", "line-2", "line-4", "line-2"];
        for (text, id) in table.into_iter().zip(ids) {
            let found = read(text);
            let found: Vec<_> = found.iter().map(|p| (&*p.custom_id, &*p.text)).collect();
            assert_eq!(found, [("a", "one }\" ["), (id, "two")], "{text}");
        }
        assert!(read("[]").is_empty());
    }

    #[test]
    fn what_is_cut_short_or_broken_has_its_line() {
        let table = [
            (
                "[{\"prompt\":\"a\"},\n",
                "line 2: the array is not closed: the file was cut short",
            ),
            (
                "{\"prompt\":\"a\"}\n{\"prompt\":\n",
                "line 3, column 1: the input ends before its JSON does (EOF while parsing a value)",
            ),
            (
                "{\"prompt\":\"a\"\n{\"prompt\":\"b\"}\n",
                "line 2, column 1: not JSON: expected `,` or `}`",
            ),
            (
                "[\n {\"prompt\":\n\"a\",}]",
                "line 3, column 5: not JSON: trailing comma",
            ),
            (
                "[\"a\"] x",
                "line 1, column 7: expected JSON, an object {…} or a string \"…\" for each prompt, found x",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn a_batch_line_is_checked() {
        let table = [
            (
                r#"{"method":"POST","url":"/v1/chat/completions","body":{}}"#,
                "expected a Batch line to have \"custom_id\", found only body, method, url",
            ),
            (
                r#"{"custom_id":"a","url":"/v1/chat/completions","body":{}}"#,
                "expected a Batch line to have \"method\", found only body, custom_id, url",
            ),
            (
                r#"{"custom_id":"a","method":"GET","url":"u","body":{}}"#,
                "expected \"method\" to be POST, found \"GET\"",
            ),
            (
                r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{}}"#,
                "expected \"url\" to be an address that ends with /chat/completions (or choose another --api), found \"/v1/embeddings\"",
            ),
            (
                r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}"#,
                "expected a Batch line to have \"body\", found only custom_id, method, url",
            ),
            (
                r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":"x"}"#,
                "expected \"body\" to be an object, found \"x\"",
            ),
        ];
        for (line, expected) in table {
            assert!(error(line).ends_with(expected), "{}", error(line));
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_an_overflow() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        let error = error(&batch(&format!(r#"{{"deep":{deep}}}"#)));
        assert!(
            error.ends_with("not JSON: recursion limit exceeded"),
            "{error}"
        );
    }

    #[test]
    fn half_a_character_is_an_error() {
        assert!(error(r#"{"prompt":"\ud83d"}"#).contains("not JSON: unexpected end of hex escape"));
    }
}
