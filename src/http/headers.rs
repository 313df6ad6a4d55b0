//! The headers of a response, as they came: most are never asked for.

use std::str::FromStr;

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

/// Headers by their names. Only values that are text are to be had.
#[derive(Clone, Debug, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    pub(super) fn of(map: HeaderMap) -> Self {
        Headers(map)
    }

    /// The first header of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    /// All of them, their names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// Leaves `...` wherever a header has this text.
    pub(crate) fn conceal(&mut self, text: &str) {
        for value in self.0.values_mut() {
            let has_it = value.to_str().ok().filter(|value| value.contains(text));
            if let Some(concealed) = has_it.map(|value| value.replace(text, "...")) {
                *value = concealed.parse().unwrap_or(HeaderValue::from_static("..."));
            }
        }
    }
}

/// What no header can be is left out.
impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let header = |(name, value)| {
            Some((
                HeaderName::from_str(name).ok()?,
                HeaderValue::from_str(value).ok()?,
            ))
        };
        Headers(pairs.into_iter().filter_map(header).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_its_name_and_read_if_it_is_text() {
        let mut map: HeaderMap = [("A", "1"), ("A", "2")]
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .into_iter()
            .collect();
        map.insert("odd", HeaderValue::from_bytes(b"\xff").unwrap());
        let headers = Headers::of(map);
        let got = ["a", "odd", "b", "\n"].map(|name| headers.get(name));
        assert_eq!(got, [Some("1"), None, None, None]);
        assert!(headers.iter().eq([("a", "1"), ("a", "2")]));
    }

    #[test]
    fn what_is_concealed_is_gone() {
        let mut headers: Headers = [("a", "of sk-1, of sk-1"), ("b", "of sk-2")]
            .into_iter()
            .collect();
        headers.conceal("sk-1");
        assert_eq!(
            (headers.get("a"), headers.get("b")),
            (Some("of ..., of ..."), Some("of sk-2"))
        );
    }
}
