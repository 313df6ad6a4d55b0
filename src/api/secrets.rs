//! Keeps the secrets of a run out of everything that a server repeats.
//!
//! A response is searched as bytes before anything reads it, so that no record, message, log or report
//! can have a secret. It is found as it is, with JSON escapes (also those of JSON inside a text), with
//! percent signs, and in base64, and where these are mixed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::http::HttpResponse;

/// What is hidden. `Debug` does not show it.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// What each secret may look like; the longest first, because a long one may begin with a short one.
    forms: Arc<[String]>,
    /// Keys that may be any word, such as the placeholders for local servers. They are hidden in failures, where the server
    /// says that they are keys.
    short: Arc<[String]>,
}

impl Secrets {
    /// Shorter texts may be any word.
    const SHORTEST: usize = 8;
    const HIDDEN: &str = "…";

    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        let (long, short): (Vec<_>, Vec<_>) =
            secrets.partition(|secret| secret.len() >= Self::SHORTEST);
        let mut forms: Vec<_> = long.into_iter().flat_map(forms).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Secrets {
            forms: forms.into(),
            short: short.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Hides the secrets in a response.
    pub(crate) fn hide_in(&self, response: &mut HttpResponse) {
        let is_failure = !(200..300).contains(&response.status);
        if let Some(body) = self.without(&response.body, Self::HIDDEN, is_failure) {
            response.body = body;
        }
        for (_, value) in &mut response.headers {
            if let Some(text) = self.without(value.as_bytes(), "...", is_failure) {
                *value = String::from_utf8_lossy(&text).into_owned();
            }
        }
    }

    /// Bytes without the secrets.
    pub(super) fn hide_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.without(&bytes, Self::HIDDEN, false).unwrap_or(bytes)
    }

    /// A text without the secrets.
    pub(super) fn hide(&self, text: String) -> String {
        match self.without(text.as_bytes(), Self::HIDDEN, true) {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => text,
        }
    }

    /// The bytes with something in place of each secret; `None` if there is none.
    fn without(&self, bytes: &[u8], hidden: &str, is_failure: bool) -> Option<Vec<u8>> {
        let short = self.short.iter().filter(|_| is_failure);
        let short = short.map(|secret| (secret, is_called_a_key as IsSecret));
        let any: IsSecret = |_, _| true;
        let forms = self.forms.iter().map(|secret| (secret, any));
        let mut result: Option<Vec<u8>> = None;
        for (secret, is_it) in forms.chain(short) {
            let bytes = result.as_deref().unwrap_or(bytes);
            if let Some(without) = replaced(bytes, secret.as_bytes(), hidden.as_bytes(), is_it) {
                result = Some(without);
            }
        }
        result
    }
}

/// Whether what was found at this place of a text is the secret, and no word like it.
type IsSecret = fn(&[u8], Range<usize>) -> bool;

/// Whether a word stands alone, and after one that announces a key: `Bearer abc`, `"x-api-key":"abc"`, `key provided: abc`.
fn is_called_a_key(text: &[u8], place: Range<usize>) -> bool {
    const WORDS: [&[u8]; 7] = [
        b"key",
        b"apikey",
        b"token",
        b"bearer",
        b"authorization",
        b"provided",
        b"password",
    ];
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric();
    let before = &text[..place.start];
    let last = before.iter().rposition(is_letter);
    let end = last.map_or(0, |last| last + 1);
    let start = before[..end].iter().rposition(|byte| !is_letter(byte));
    let word = before[start.map_or(0, |gap| gap + 1)..end].to_ascii_lowercase();
    let stands_alone = end < place.start && !text.get(place.end).is_some_and(is_letter);
    stands_alone && WORDS.contains(&&*word)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// A secret as it is, in hexadecimal digits, and what it looks like in the base64 of a text that it is a part of.
fn forms(secret: &str) -> Vec<String> {
    // One backslash stands for a run of them: that many is a question of escapes.
    let mut runs = secret.to_owned();
    while runs.contains("\\\\") {
        runs = runs.replace("\\\\", "\\");
    }
    let digits = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![runs, digits];
    for before in 0..3 {
        let text = [&[0; 2][..before.min(2)], secret.as_bytes()].concat();
        for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&text);
            // The first characters depend on what is before, the last on what follows.
            let start = before + usize::from(before > 0);
            let end = encoded.len() - usize::from(text.len() % 3 > 0);
            forms.push(encoded[start..end].to_owned());
        }
    }
    forms
}

fn replaced(bytes: &[u8], secret: &[u8], hidden: &[u8], is_it: IsSecret) -> Option<Vec<u8>> {
    let (mut result, mut kept, mut at) = (Vec::new(), 0, 0);
    while let Some(next) = bytes[at..].iter().position(|byte| may_begin(*byte, secret)) {
        at += next;
        let length = length_at(&bytes[at..], secret);
        match length.filter(|length| is_it(bytes, at..at + length)) {
            Some(length) => {
                result.extend_from_slice(&bytes[kept..at]);
                result.extend_from_slice(hidden);
                at += length;
                kept = at;
            }
            None => at += 1,
        }
    }
    (kept > 0).then(|| {
        result.extend_from_slice(&bytes[kept..]);
        result
    })
}

fn may_begin(byte: u8, secret: &[u8]) -> bool {
    byte.eq_ignore_ascii_case(&secret[0]) || byte == b'\\' || byte == b'%'
}

/// The length of the secret at the start of a text, however its characters are written.
fn length_at(text: &[u8], secret: &[u8]) -> Option<usize> {
    let mut length = 0;
    for byte in secret {
        length += written(&text[length..], *byte)?;
    }
    Some(length)
}

/// The length of a character at the start of a text: `/`, `\/`, `\u002f`, `\\\/`, `%2F`.
fn written(text: &[u8], byte: u8) -> Option<usize> {
    let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
    let is_hex = |digits: Option<&[u8]>| {
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) == Some(byte)
    };
    match &text[slashes..] {
        // An odd one belongs to what follows.
        _ if byte == b'\\' && slashes > 0 => Some(slashes.min(1).max(slashes / 2 * 2)),
        [first, ..] if first.eq_ignore_ascii_case(&byte) => Some(slashes + 1),
        [b'u', b'0', b'0', rest @ ..] if slashes > 0 && is_hex(rest.get(..2)) => Some(slashes + 5),
        [b'%', rest @ ..] if is_hex(rest.get(..2)) => Some(slashes + 3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header_named;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
    use proptest::prelude::*;

    const KEY: &str = "sk/test\"12345+\\x";

    fn hidden(text: &str) -> String {
        Secrets::new([KEY, "other-key-1"]).hide(text.to_owned())
    }

    #[test]
    fn a_short_key_is_hidden_where_a_failure_calls_it_a_key() {
        let hidden = |status: u16, text: &str| {
            let mut response = HttpResponse {
                status,
                headers: Vec::new(),
                body: text.as_bytes().to_vec(),
            };
            Secrets::new(["test"]).hide_in(&mut response);
            String::from_utf8(response.body).unwrap()
        };
        for text in [
            "Incorrect API key provided: test.",
            "Bearer test",
            "{\"x-api-key\":\"test\"}",
            "unknown token 't\\u0065st'",
        ] {
            let shown = hidden(401, text);
            assert!(shown.contains('…') && !shown.contains("st"), "{shown}");
        }
        for text in [
            "the key tests well",
            "a test of the key",
            "monkeytest",
            "key: latest",
        ] {
            assert_eq!(hidden(401, text), text);
        }
        assert_eq!(
            hidden(200, "The key test is passed."),
            "The key test is passed."
        );
    }

    #[test]
    fn a_secret_is_found_however_its_characters_are_written() {
        let json = serde_json::to_string(KEY).unwrap();
        let nested = serde_json::to_string(&json).unwrap();
        for text in [
            KEY.to_owned(),
            json,
            nested,
            KEY.replace('/', "\\/"),
            KEY.replace("sk", "\\u0073\\u006B"),
            "sk%2Ftest%2212345%2b%5Cx".to_owned(),
            KEY.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        ] {
            let shown = hidden(&format!("bad key {text}, other-key-1."));
            assert!(
                !shown.contains("12345") && !shown.contains("test"),
                "{shown}"
            );
            assert!(
                shown.starts_with("bad key ") && shown.ends_with(", …."),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_secret_is_found_in_hexadecimal_digits_and_in_other_letters() {
        let digits: String = KEY.bytes().map(|byte| format!("{byte:02X}")).collect();
        for text in [
            digits.clone(),
            digits.to_lowercase(),
            "OTHER-KEY-1".to_owned(),
        ] {
            assert_eq!(hidden(&format!("key {text}.")), "key ….");
        }
    }

    #[test]
    fn a_secret_is_found_in_the_base64_of_any_text_around_it() {
        for before in ["", "a", "Bearer ", "key:"] {
            let text = format!("{before}{KEY}{before}");
            for encoded in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)] {
                let shown = hidden(&encoded.replace('/', "\\/"));
                assert!(
                    shown.contains('…') && shown.len() < 2 * before.len() + 16,
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn other_texts_and_short_secrets_stay() {
        for text in ["sk/test", "\\", "%", "%2", "\\u00", "…", ""] {
            assert_eq!(hidden(text), text);
        }
        assert_eq!(Secrets::new(["test"]).hide("a test".to_owned()), "a test");
    }

    #[test]
    fn a_response_has_no_secret_in_its_body_or_its_headers() {
        let pairs = [("x-request-id", "req-other-key-1"), ("date", "today")];
        let mut response = HttpResponse {
            status: 200,
            headers: pairs
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            body: b"{\"a\":\"other\\u002dkey-1\"}".to_vec(),
        };
        Secrets::new(["other-key-1"]).hide_in(&mut response);
        assert_eq!(response.body, "{\"a\":\"…\"}".as_bytes());
        assert_eq!(
            header_named(&response.headers, "x-request-id"),
            Some("req-...")
        );
        assert_eq!(header_named(&response.headers, "date"), Some("today"));
    }

    proptest! {
        #[test]
        fn json_stays_json_and_has_no_secret(before: String, after: String, key in "[!-~]{8,20}") {
            prop_assert!(!shown_as_json(&before, &key, &after).contains(&key));
        }
    }

    #[test]
    fn a_key_that_begins_with_backslashes_is_hidden_in_json() {
        let key = r"\\AaAA0!";
        assert_eq!(shown_as_json("", key, ""), "…");
    }

    /// The text of a JSON string whose secrets are hidden.
    fn shown_as_json(before: &str, key: &str, after: &str) -> String {
        let json = serde_json::to_string(&format!("{before}{key}{after}")).unwrap();
        serde_json::from_str(&Secrets::new([key]).hide(json)).unwrap()
    }
}
