//! JSON kept as the text that it came as.
//!
//! What a server says goes on record digit by digit; and who only passes it on need not take it apart and put it together
//! again.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON text in one line: as it came, or, if it had several, without the white space between its parts.
///
/// Two are the same if their texts are: `1.0` is not `1`.
///
/// ```
/// use paceline::json::Json;
///
/// let body = Json::read("{\n  \"n\": 1.50\n}".to_owned()).unwrap();
/// assert_eq!(body.as_str(), r#"{"n":1.50}"#);
/// assert_eq!(body.value()["n"], 1.5);
/// assert_eq!(Json::read("<html>".to_owned()), Err("<html>".to_owned()));
/// ```
// No `RawValue`, which takes a block of just its length: of so many sizes, each thread's allocator would keep one of each.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Takes a text over.
    ///
    /// # Errors
    /// What was given: it is no JSON.
    pub fn read(text: String) -> Result<Self, String> {
        match serde_json::from_str::<&RawValue>(&text) {
            Ok(_) => Ok(Json(in_one_line(text))),
            Err(_) => Err(text),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes it apart. A number that no [`Value`] can hold makes it null.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }
}

/// As it is, or, if it has several lines, without the white space between its parts.
pub(crate) fn in_one_line(mut json: String) -> String {
    json.truncate(json.trim_ascii_end().len());
    if !json.contains('\n') && !json.contains('\r') {
        return json;
    }
    let (mut in_string, mut escaped) = (false, false);
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

/// The text that a string means, given what stands between its quotation marks. What is half of a character (a lone
/// surrogate) becomes the sign for an unreadable one.
///
/// It takes one allocation, of a size that is known before, where a parser's buffer grows: what each of many threads has
/// grown so is kept for it by the allocator.
pub(crate) fn unescaped(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((before, escaped)) = rest.split_once('\\') {
        text.push_str(before);
        let (character, length) = character(escaped);
        text.push(character);
        rest = &escaped[length..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character that these letters after a backslash stand for, and how many they are.
fn character(escaped: &str) -> (char, usize) {
    let letter = escaped
        .chars()
        .next()
        .unwrap_or(char::REPLACEMENT_CHARACTER);
    match letter {
        'u' => by_number(escaped),
        'b' => ('\u{8}', 1),
        'f' => ('\u{c}', 1),
        'n' => ('\n', 1),
        'r' => ('\r', 1),
        't' => ('\t', 1),
        itself => (itself, itself.len_utf8().min(escaped.len())),
    }
}

/// `u00e9`, or both halves of a character beyond: `ud83d\udeb4`.
fn by_number(escaped: &str) -> (char, usize) {
    let unit = |text: Option<&str>| u16::from_str_radix(text?, 16).ok();
    let first = unit(escaped.get(1..5));
    let second = unit(escaped.get(5..11).and_then(|more| more.strip_prefix("\\u")));
    let mut characters = char::decode_utf16(first.into_iter().chain(second));
    match characters.next() {
        Some(Ok(character)) => (
            character,
            if u32::from(character) > 0xFFFF { 11 } else { 5 },
        ),
        _ => (
            char::REPLACEMENT_CHARACTER,
            if first.is_some() { 5 } else { 1 },
        ),
    }
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

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    fn one_line_is_kept_as_it_is() {
        for line in [
            r#"{ "a" : [ 1 , 2.50 ] }"#,
            "[\t\" \u{2028} \"]",
            "12345678901234567890123",
        ] {
            assert_eq!(Json::read(format!("{line}\r\n")).unwrap().as_str(), line);
        }
    }

    #[test]
    fn of_several_lines_only_the_white_space_between_the_parts_is_left_out() {
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
    fn what_is_no_json_is_not_taken_for_it() {
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
        for (inside, text) in table {
            assert_eq!(unescaped(inside), text);
        }
        assert!(matches!(unescaped("as it is"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn a_text_reads_back_as_a_parser_reads_it(text: String) {
            let json = Json::from(json!(text));
            prop_assert_eq!(unescaped(&json.as_str()[1..json.as_str().len() - 1]), text);
        }

        #[test]
        fn no_text_is_too_odd(inside: String) {
            unescaped(&inside);
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
