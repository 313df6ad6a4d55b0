//! Texts that come from outside (prompts, answers, messages of a server, file names), cleaned for people, so that no
//! control character reaches a terminal or a document. HTML and JSON have escapes of their own.

mod figures;

pub(crate) use figures::*;

#[cfg(any(test, feature = "cli"))]
use std::borrow::Cow;

/// A text of several lines without control characters (C0 with ESC, DEL and C1): each becomes U+FFFD, but for line
/// feeds and tabs, and for the carriage return before a line feed, which is dropped.
#[cfg(any(test, feature = "cli"))]
pub(crate) fn cleaned(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_harmful) {
        return text.into();
    }
    text.replace("\r\n", "\n")
        .replace(is_harmful, "\u{fffd}")
        .into()
}

/// JSON in which the control characters that it may hold unescaped (DEL and C1) are escaped, too. It means the same.
#[cfg(any(test, feature = "cli"))]
pub(crate) fn cleaned_json(json: &str) -> Cow<'_, str> {
    if !json.contains(char::is_control) {
        return json.into();
    }
    let mut cleaned = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' => cleaned += &format!("\\u{:04x}", u32::from(character)),
            other => cleaned.push(other),
        }
    }
    cleaned.into()
}

/// A text on one line: each run of white space becomes a space, each other control character U+FFFD, also one that turns
/// the direction of what follows.
pub(crate) fn one_line(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .join(" ")
        .replace(|c: char| c.is_control() || turns(c), "\u{fffd}")
}

/// A text on one line and of at most `most` characters; what was cut off shows as `…`.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let line = one_line(text);
    if line.chars().count() <= most {
        return line;
    }
    let kept: String = line.chars().take(most.saturating_sub(1)).collect();
    kept.trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_turns_the_direction_of_a_line() {
        assert_eq!(
            one_line("a\u{202e}b\u{2066}\u{2028}c"),
            "a\u{fffd}b\u{fffd} c"
        );
    }

    #[test]
    fn no_control_character_is_left_in_a_text() {
        let nasty = "a\u{1b}[31m\u{9b}2J\u{7}\u{0}\u{7f}b\rc\r\nd\te";
        let expected = "a\u{fffd}[31m\u{fffd}2J\u{fffd}\u{fffd}\u{fffd}b\u{fffd}c\nd\te";
        assert_eq!(cleaned(nasty), expected);
        assert!(matches!(cleaned("é\n\tü"), Cow::Borrowed("é\n\tü")));
        assert_eq!(
            one_line(" a\n\tb\u{2028}c\u{85}d\u{1b} "),
            "a b c d\u{fffd}"
        );
    }

    #[test]
    fn json_keeps_its_meaning_without_raw_control_characters() {
        let nasty = serde_json::json!({"a\u{9b}": "\u{1b}[2J\u{7f}\u{85} é\n"});
        let json = nasty.to_string();
        let cleaned = cleaned_json(&json);
        assert!(!cleaned.contains(char::is_control), "{cleaned}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&cleaned).unwrap(),
            nasty
        );
        assert!(matches!(cleaned_json("{\"a\":\"é\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_text_is_shortened_between_characters() {
        assert_eq!(shortened(&"é".repeat(9), 5), "éééé…");
        assert_eq!(shortened("a\nb", 3), "a b");
        assert_eq!(shortened("ab cd", 4), "ab…");
        assert_eq!(shortened("ab", 0), "…");
    }
}
