//! The key to an API: sent in one header, and never shown.

use std::fmt::{self, Debug};

/// An API key. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Makes a key of a text, without the white space and the quotes around it. `None` if nothing is left, or if it
    /// has characters that a header cannot carry.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches(['"', '\'']);
        let sendable = !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        sendable.then(|| Key(text.to_owned()))
    }

    /// The key itself, for the header that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_checked_and_never_shown() {
        let key = Key::new(" sk-secret\n").unwrap();
        assert_eq!(key.expose(), "sk-secret");
        assert_eq!(Key::new("\"sk-secret\"\n"), Some(key.clone()));
        assert_eq!(format!("{key:?}"), "Key(…)");
        assert_eq!(
            (Key::new("  "), Key::new("two words"), Key::new("smörgås")),
            (None, None, None)
        );
    }
}
