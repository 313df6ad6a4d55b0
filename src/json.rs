//! JSON kept as its original text, and the repair of slightly broken JSON.
//!
//! A record keeps the digits that the server sent, so a body is not parsed and serialized again. `RawValue` checks the
//! syntax; this file adds equality, and puts the text into one line, as records need it.

use std::fmt::{self, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON text in one line. A text of one line is kept unchanged; from a longer one, white space between tokens is removed.
///
/// Two values are equal if their texts are: `1.0` is not equal to `1`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Json(String);

impl Json {
    /// Checks a text and keeps it.
    ///
    /// # Errors
    /// Returns the text itself if it is not JSON.
    pub(crate) fn read(text: String) -> Result<Self, String> {
        match serde_json::from_str::<&RawValue>(&text) {
            Ok(_) => Ok(Json(in_one_line(text))),
            Err(_) => Err(text),
        }
    }

    /// The text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The parsed text; null if a number does not fit into a [`Value`].
    #[must_use]
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }
}

/// Removes the white space between the tokens of a JSON text that has several lines.
pub(crate) fn in_one_line(mut json: String) -> String {
    json.truncate(json.trim_ascii_end().len());
    if !json.contains(['\n', '\r']) {
        return json;
    }
    let mut in_string = false;
    let mut escaped = false;
    json.retain(|character| {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            return true;
        }
        in_string = character == '"';
        !matches!(character, ' ' | '\n' | '\r' | '\t')
    });
    json
}

/// Repairs the known mistakes of servers: a string cut inside a character, half of a surrogate pair, `NaN`, raw control
/// characters, a byte order mark, more after the end. An unreadable character becomes U+FFFD, and a number that JSON does
/// not have becomes null.
pub(crate) fn repaired(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut repaired = String::with_capacity(rest.len());
    let mut in_string = false;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '\\' if in_string => push_escape(&mut repaired, rest),
            ..' ' if in_string => {
                let _ = write!(repaired, "\\u{:04x}", u32::from(first)); // writing to a String cannot fail
                1
            }
            '-' | 'A'..='Z' | 'a'..='z' | '0'..='9' if !in_string => push_word(&mut repaired, rest),
            _ => {
                in_string ^= first == '"';
                repaired.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    let mut values = serde_json::Deserializer::from_str(&repaired).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(first)) => first.get().to_owned(),
        _ => repaired,
    }
}

/// Pushes the escape at the start of the text, and returns its length.
fn push_escape(repaired: &mut String, text: &str) -> usize {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let is_pair = text.get(6..8) == Some("\\u");
    let valid = match text.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
        Some(b'u') => match (unit(2), unit(8).filter(|_| is_pair)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => return push_unreadable(repaired, 6),
            (Some(_), _) => 6,
            (None, _) => return push_unreadable(repaired, 2),
        },
        // A backslash that escapes nothing stands for itself.
        _ => {
            repaired.push_str("\\\\");
            return 1;
        }
    };
    repaired.push_str(&text[..valid]);
    valid
}

/// Pushes U+FFFD, and returns the length of the text that it replaces.
fn push_unreadable(repaired: &mut String, length: usize) -> usize {
    repaired.push(char::REPLACEMENT_CHARACTER);
    length
}

/// Pushes a number or a word, or null for a number that JSON does not have or that is too large. Returns its length.
fn push_word(repaired: &mut String, text: &str) -> usize {
    let is_end = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '+' | '.');
    let word = &text[..text.find(is_end).unwrap_or(text.len())];
    let is_unknown = word.parse::<f64>().is_ok_and(|number| !number.is_finite());
    repaired.push_str(if is_unknown { "null" } else { word });
    word.len()
}

/// Null.
impl Default for Json {
    fn default() -> Self {
        Json::from(Value::Null)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Json(value.to_string())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer)
            .map(|raw| Json(in_one_line(Box::<str>::from(raw).into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_text_of_several_lines_is_put_into_one_and_its_digits_stay() {
        let body = Json::read("{\n  \"n\": 1.50\n}".to_owned()).unwrap();
        assert_eq!(body.as_str(), r#"{"n":1.50}"#);
        assert_eq!(body.value()["n"], 1.5);
        assert_eq!(Json::read("<html>".to_owned()), Err("<html>".to_owned()));
    }

    #[test]
    fn a_text_of_one_line_is_kept_unchanged() {
        for line in [
            r#"{ "a" : [ 1 , 2.50 ] }"#,
            "[\t\" \u{2028} \"]",
            "12345678901234567890123",
        ] {
            assert_eq!(Json::read(format!("{line}\r\n")).unwrap().as_str(), line);
        }
    }

    #[test]
    fn white_space_between_tokens_is_removed_from_several_lines() {
        let table = [
            (
                "{\n\t\"a\" : [ 1 ,\r\n 2.50 , 1e2 ]\n}",
                r#"{"a":[1,2.50,1e2]}"#,
            ),
            ("[\n\" a \\\" b \\\\\" ]", r#"[" a \" b \\"]"#),
            (
                "{\"a\\\\\" :\r\" \u{2028} \"}",
                "{\"a\\\\\":\" \u{2028} \"}",
            ),
            (
                "{\"\\\"\":\n\" \",\"\\\\\": \"\\\" ,\"}",
                r#"{"\"":" ","\\":"\" ,"}"#,
            ),
        ];
        for (given, kept) in table {
            assert_eq!(Json::read(given.into()).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn a_text_that_is_not_json_is_an_error() {
        for text in ["", "1 2", "tru e", "{", "[1,]", "\"a", "{\"a\":1}}", "NaN"] {
            assert_eq!(Json::read(text.into()), Err(text.into()));
        }
    }

    #[test]
    fn it_is_written_into_a_line_and_read_back() {
        let list = serde_json::to_string(&[Json::read("{\n\"n\": 1.0}".into()).unwrap()]).unwrap();
        assert_eq!(list, r#"[{"n":1.0}]"#);
        let spaced: Vec<Json> = serde_json::from_str("[ {\"n\" :\n1.0} ]").unwrap();
        assert_eq!(serde_json::to_string(&spaced).unwrap(), list);
        assert_eq!(serde_json::from_str::<Option<Json>>("null").unwrap(), None);
    }

    fn text(inside: &str) -> String {
        serde_json::from_str(&repaired(format!("\"{inside}\"").as_bytes())).unwrap()
    }

    #[test]
    fn a_text_means_what_its_escapes_say() {
        let table = [
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u00e9\u00E9!\ud83d\udeb4\u0000", "éé!🚴\0"),
            (
                r"half \ud83d, \udeb4\ud83d\u0041",
                "half \u{fffd}, \u{fffd}\u{fffd}A",
            ),
            (r"no number \u, \u00é", "no number \u{fffd}, \u{fffd}00é"),
            ("é", "é"),
        ];
        for (inside, expected) in table {
            assert_eq!(text(inside), expected);
        }
    }

    #[test]
    fn what_servers_are_known_to_break_is_repaired() {
        let table: [(&[u8], &str); 9] = [
            (b"[1e999,true,0.5e-7]", "[null,true,0.5e-7]"),
            (b"{\"a\":\"b\xe2\x82\"}", "{\"a\":\"b\u{fffd}\"}"),
            (b"\xef\xbb\xbf{}", "{}"),
            (b"{\"a\":1}\n\0\0", "{\"a\":1}"),
            (b"{\"a\":1}{\"b\":2}", "{\"a\":1}"),
            (b"{\"a\":[NaN,-Infinity,-1]}", "{\"a\":[null,null,-1]}"),
            (b"{\"a\":\"NaN\n\"}", "{\"a\":\"NaN\\u000a\"}"),
            (b"{\"a\":\"\\x \\\" -\"}", "{\"a\":\"\\\\x \\\" -\"}"),
            (b"{\"a\":\"\\ud83d\"}", "{\"a\":\"\u{fffd}\"}"),
        ];
        for (body, text) in table {
            assert_eq!(repaired(body), text);
        }
    }

    proptest! {
        #[test]
        fn valid_json_is_not_changed_by_the_repair(key: String, text: String, number: f64) {
            let json = json!({key: [text, number]}).to_string();
            prop_assert_eq!(repaired(json.as_bytes()), json);
        }

        #[test]
        fn any_text_in_a_string_can_be_read(inside in r#"[^"\\]*(\\?[^"\\])*"#) {
            text(&inside);
        }

        #[test]
        fn the_repair_takes_any_bytes(body: Vec<u8>) {
            repaired(&body);
        }

        #[test]
        fn it_means_the_same_however_it_was_laid_out(key: String, text: String, number: i64) {
            let value = json!({key: [text, {"n": number}], " ": null});
            let pretty = Json::read(serde_json::to_string_pretty(&value).unwrap()).unwrap();
            prop_assert_eq!(pretty.value(), value.clone());
            prop_assert_eq!(pretty, Json::from(value));
        }
    }
}
