//! A header that the user adds to every call.

use ureq::http::{HeaderName, HeaderValue};

/// The headers that concern one connection (RFC 9110, section 7.6.1), and not the one after it.
pub(crate) const OF_A_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header beside those of the API. `Debug` hides its value.
#[derive(Clone, Debug)]
pub(crate) struct ExtraHeader {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

impl ExtraHeader {
    /// What a call itself decides.
    const OWNED: [&str; 3] = ["accept-encoding", "content-encoding", "content-type"];

    /// Checks a name and a value. A secret value is hidden wherever a server repeats it.
    ///
    /// # Errors
    /// Why a call cannot carry it, for people.
    pub(crate) fn new(name: &str, value: &str, is_secret: bool) -> Result<Self, String> {
        let known: HeaderName = name
            .parse()
            .map_err(|_| "does not begin with the name of a header".to_owned())?;
        let owned = [&Self::OWNED, OF_A_CONNECTION].concat();
        if owned.contains(&known.as_str()) {
            return Err(format!("sets {known}, which each call sets itself"));
        }
        let mut value = HeaderValue::from_str(value)
            .ok()
            .filter(|value| !value.is_empty() && value.to_str().is_ok())
            .ok_or("has no value, or one with line breaks or characters that are not ASCII")?;
        let is_secret = is_secret || known == "authorization";
        value.set_sensitive(is_secret);
        Ok(ExtraHeader { name: known, value })
    }

    /// Whether it has this name, in upper or lower case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.as_str().eq_ignore_ascii_case(name)
    }

    pub(super) fn value(&self) -> &str {
        self.value.to_str().unwrap_or_default()
    }

    /// The value, if it is to be hidden.
    pub(crate) fn secret(&self) -> Option<&str> {
        self.value.is_sensitive().then(|| self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_name_and_a_value_that_can_be_sent() {
        let header = ExtraHeader::new("OpenAI-Organization", "org-1", false).unwrap();
        assert!(header.is("openai-organization") && header.secret().is_none());
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("X-\u{e9}", "x"),
            ("x", ""),
            ("x", "a\r\nb: c"),
            ("x", "a\0"),
            ("x", "\u{e9}"),
            ("Content-Length", "1"),
            ("HOST", "x"),
            ("transfer-encoding", "chunked"),
        ] {
            assert!(
                ExtraHeader::new(name, value, false).is_err(),
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn a_secret_header_is_not_shown() {
        for (name, is_secret) in [("x-secret", true), ("Authorization", false)] {
            let header = ExtraHeader::new(name, "sk-secret-1", is_secret).unwrap();
            assert_eq!(header.secret(), Some("sk-secret-1"));
            assert!(!format!("{header:?}").contains("sk-secret"));
        }
    }
}
