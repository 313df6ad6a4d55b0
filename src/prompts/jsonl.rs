//! Reads a prompt from one line of JSON lines: an object with a `prompt`, a string, or a line of an OpenAI Batch file.
//!
//! A Batch line brings its request with it, which is sent byte for byte; other fields are kept only for a template.
//! Every error names the column at which it was found, in characters, as an editor counts them.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{InputRow, PromptError, Reading, short};

/// Reads the line with this number.
pub(super) fn row(number: u64, text: &str, reading: &Reading) -> Result<InputRow, PromptError> {
    let line = JsonLine { number, text };
    let json = text.trim_start();
    match json.bytes().next() {
        Some(b'"') => Ok(InputRow::new(number, Some(line.parse(text)?))),
        Some(b'{') => JsonObject {
            line,
            json,
            fields: line.parse(text)?,
        }
        .row(reading),
        _ => {
            let expected = "expected JSON, an object {…} or a string \"…\" on each line";
            Err(line.error(json, format!("{expected}, found {}", short(json))))
        }
    }
}

/// A line; errors point at parts of it.
#[derive(Clone, Copy)]
struct JsonLine<'a> {
    number: u64,
    text: &'a str,
}

impl<'a> JsonLine<'a> {
    /// An error at the beginning of this part of the line.
    fn error(&self, part: &str, problem: String) -> PromptError {
        PromptError::Json {
            line: self.number,
            column: self.column(part, 0),
            problem,
        }
    }

    /// The column of a byte of a part of the line, from 1, in characters.
    fn column(&self, part: &str, byte: usize) -> usize {
        let at = part.as_ptr() as usize - self.text.as_ptr() as usize + byte;
        let before = &self.text[..self.text.floor_char_boundary(at)];
        before.chars().count() + 1
    }

    /// Reads this part of the line.
    fn parse<T: serde::Deserialize<'a>>(&self, part: &'a str) -> Result<T, PromptError> {
        serde_json::from_str(part).map_err(|error| {
            let message = error.to_string();
            // Its line is always 1, and its column counts bytes.
            let reason = message.split(" at line ").next().unwrap_or_default();
            let problem = if error.is_eof() {
                format!(
                    "the line ends before its JSON does ({reason}); each line holds one whole value"
                )
            } else {
                format!("not JSON: {reason}")
            };
            PromptError::Json {
                line: self.number,
                column: self.column(part, error.column().saturating_sub(1)),
                problem,
            }
        })
    }
}

/// An object whose fields are not read yet.
struct JsonObject<'a> {
    line: JsonLine<'a>,
    json: &'a str,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> JsonObject<'a> {
    fn row(&self, reading: &Reading) -> Result<InputRow, PromptError> {
        let has_template = reading.template.is_some();
        if self.is_batch_line(has_template) {
            return self.batch(reading);
        }
        let prompt = match self.field("prompt") {
            Some(json) => Some(self.string("prompt", json)?),
            None if has_template => None,
            None => {
                let found = self.names();
                let problem = format!(
                    "expected a \"prompt\", found {found}; rename a field, or use a template"
                );
                return Err(self.line.error(self.json, problem));
            }
        };
        Ok(InputRow {
            id: self.id()?,
            fields: if has_template {
                self.all_fields()?
            } else {
                Map::new()
            },
            ..InputRow::new(self.line.number, prompt)
        })
    }

    /// With a template, `body` and `url` may be fields for it; only all three together are a request.
    fn is_batch_line(&self, has_template: bool) -> bool {
        let names = ["method", "url", "body"];
        let found = names.iter().filter(|name| self.field(name).is_some());
        let least = if has_template { names.len() } else { 1 };
        found.count() >= least && self.field("prompt").is_none()
    }

    fn batch(&self, reading: &Reading) -> Result<InputRow, PromptError> {
        if reading.template.is_some() {
            let problem = "a Batch line brings its own request: leave the template out";
            return Err(self.line.error(self.json, problem.to_owned()));
        }
        let Some(id) = self.id()? else {
            return Err(self.missing("custom_id"));
        };
        let method = self.required("method")?;
        if self.string("method", method)? != "POST" {
            return Err(self.unlike("method", method, "POST"));
        }
        let url = self.required("url")?;
        if !self.string("url", url)?.ends_with(&reading.api_path) {
            return Err(PromptError::OtherApi {
                line: self.line.number,
                column: self.line.column(url, 0),
                path: reading.api_path.clone(),
                found: short(url),
            });
        }
        let json = self.required("body")?;
        if !json.starts_with('{') {
            return Err(self.unlike("body", json, "an object"));
        }
        let body: Value = self.line.parse(json)?;
        let text = question(&body).unwrap_or_else(|| body.to_string());
        Ok(InputRow {
            id: Some(id),
            body: Some(json.to_owned()),
            ..InputRow::new(self.line.number, Some(text))
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

    fn all_fields(&self) -> Result<Map<String, Value>, PromptError> {
        let fields = self.fields.iter();
        fields
            .map(|(name, json)| Ok((name.clone(), self.line.parse(json.get())?)))
            .collect()
    }

    fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(|json| json.get())
    }

    fn required(&self, name: &str) -> Result<&'a str, PromptError> {
        self.field(name).ok_or_else(|| self.missing(name))
    }

    fn string(&self, name: &str, json: &'a str) -> Result<String, PromptError> {
        if json.starts_with('"') {
            self.line.parse(json)
        } else {
            Err(self.unlike(name, json, "a string"))
        }
    }

    fn unlike(&self, name: &str, json: &str, expected: &str) -> PromptError {
        let found = short(json);
        let problem = format!("expected \"{name}\" to be {expected}, found {found}");
        self.line.error(json, problem)
    }

    fn missing(&self, name: &str) -> PromptError {
        let found = self.names();
        let problem = format!("expected a Batch line to have \"{name}\", found only {found}");
        self.line.error(self.json, problem)
    }

    /// The names of its fields, for people.
    fn names(&self) -> String {
        let names: Vec<_> = self.fields.keys().map(String::as_str).collect();
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
    let said = messages.and_then(|messages| {
        let mut said = messages.iter().rev();
        content(&said.find(|message| message["role"] == "user")?["content"])
    });
    let plain = body["input"].as_str().or(body["prompt"].as_str());
    said.or(plain.map(str::to_owned))
        .filter(|text| !text.trim().is_empty())
}

/// The text of a message, which may have several parts, some of them pictures.
fn content(content: &Value) -> Option<String> {
    let Value::Array(parts) = content else {
        return content.as_str().map(str::to_owned);
    };
    let texts: Vec<_> = parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect();
    Some(texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Prompt, Prompts};
    use super::*;

    fn reading() -> Reading {
        Reading {
            format: Format::Jsonl,
            api_path: "/chat/completions".to_owned(),
            ..Reading::default()
        }
    }

    fn read(text: &str) -> Vec<Prompt> {
        Prompts::with(text.as_bytes(), reading())
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn error(text: &str) -> String {
        Prompts::with(text.as_bytes(), reading())
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
    fn blank_prompts_are_skipped() {
        assert_eq!(read("\"\"\n{\"prompt\":\" \\n\"}\n\"x\"").len(), 1);
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
                "line 1, column 1: expected JSON, an object {…} or a string \"…\" on each line, found oops",
            ),
            (
                "\"a\"\n  [1]",
                "line 2, column 3: expected JSON, an object {…} or a string \"…\" on each line, found [1]",
            ),
            (
                "{\"prompt\":\"ö\",}",
                "line 1, column 15: not JSON: trailing comma",
            ),
            (
                "\"a\" \"b\"",
                "line 1, column 5: not JSON: trailing characters",
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
                "line 1, column 1: expected a \"prompt\", found n, text; rename a field, or use a template",
            ),
            (
                "{}",
                "line 1, column 1: expected a \"prompt\", found an empty object; rename a field, or use a template",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn a_value_that_goes_on_in_the_next_line_is_an_error_that_says_so() {
        let expected = "line 1, column 1: the line ends before its JSON does (EOF while parsing an object); \
                        each line holds one whole value";
        assert_eq!(error("{\n\"prompt\":\"a\"\n}"), expected);
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
                "expected \"url\" to be an address that ends with /chat/completions, found \"/v1/embeddings\"",
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
        assert_eq!(
            read(&format!(r#"{{"prompt":"p","unused":{deep}}}"#))[0].text,
            "p"
        );
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
