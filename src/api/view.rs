//! A body looked into: a view of its JSON, out of which only what is asked for is taken, and nothing is copied.
//!
//! A parser that makes a tree of it would allocate each text of each answer in each thread, only for most of them to be
//! thrown away.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Usage;
use crate::json::unescaped;

/// A part of a body. What is not there is null.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a>(&'a str);

impl<'a> View<'a> {
    /// The whole body: a text that is thought to be JSON.
    pub(super) fn of(body: &'a str) -> Self {
        View(body.trim_ascii())
    }

    /// A field of an object.
    pub(super) fn get(self, name: &str) -> Self {
        let [field] = self.fields([name]);
        field
    }

    /// Fields of an object, found in one reading.
    pub(super) fn fields<const N: usize>(self, names: [&str; N]) -> [Self; N] {
        let mut found = [View::default(); N];
        if self.is_object() {
            // An error only says that the rest is no JSON.
            let _ = serde_json::Deserializer::from_str(self.0).deserialize_map(Find {
                names,
                found: &mut found,
            });
        }
        found
    }

    /// The items of an array.
    pub(super) fn items(self) -> Option<Vec<Self>> {
        let items: Vec<&'a RawValue> = serde_json::from_str(self.0).ok()?;
        Some(items.into_iter().map(|item| View(item.get())).collect())
    }

    /// The text of a string.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let inside = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(unescaped(inside))
    }

    /// A number of tokens.
    fn tokens(self) -> Option<u32> {
        self.0.parse().ok()
    }

    /// The JSON as it stands there.
    pub(super) fn json(self) -> &'a str {
        self.0
    }

    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub(super) fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether it is of this type, by its own account.
    pub(super) fn is_a(self, name: &str) -> bool {
        self.get("type").text().is_some_and(|kind| kind == name)
    }

    /// A field that is a number of tokens.
    pub(super) fn count(self, name: &str) -> Option<u32> {
        self.get(name).tokens()
    }

    /// What it says of tokens, by the names of the two numbers. Who wrote nothing may leave the second out.
    pub(super) fn spent(self, input: &str, output: &str) -> Option<Usage> {
        let [input, output] = self.fields([input, output]).map(View::tokens);
        Some(Usage {
            input: input?,
            output: output.unwrap_or(0),
        })
    }
}

/// The texts of these parts, one after the other.
pub(super) fn joined<'a>(parts: impl IntoIterator<Item = View<'a>>) -> String {
    let mut texts = parts.into_iter().filter_map(|part| part.get("text").text());
    let first = texts.next().unwrap_or_default().into_owned();
    texts.fold(first, |before, text| before + &text)
}

/// What is left out is null.
impl Default for View<'_> {
    fn default() -> Self {
        View("null")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for View<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| View(raw.get()))
    }
}

/// Looks for fields. Of those with the same name the last counts, as for most who read JSON.
struct Find<'n, 'a, const N: usize> {
    names: [&'n str; N],
    found: &'n mut [View<'a>; N],
}

impl<'a, const N: usize> Visitor<'a> for Find<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(at) = map.next_key_seed(Among(&self.names))? {
            match at {
                Some(at) => self.found[at] = View(map.next_value::<&RawValue>()?.get()),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// At which of these names a key is.
struct Among<'n>(&'n [&'n str]);

impl<'a> DeserializeSeed<'a> for Among<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Among<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_null() {
        let body = View::of(r#" {"a": {"b": [1, {"c": "x\ny"}]}, "k\u0065y": true, "d": {}}"#);
        let items = body.get("a").get("b").items().unwrap();
        assert_eq!(
            (items[0].tokens(), items[1].get("c").text().as_deref()),
            (Some(1), Some("x\ny"))
        );
        assert_eq!(
            (body.get("key").json(), body.get("d").json()),
            ("true", "{}")
        );
        for nothing in [
            body.get("e"),
            body.get("a").get("c"),
            items[0].get("c"),
            items[1].get("c").get("x"),
        ] {
            assert!(nothing.is_null() && nothing.text().is_none() && nothing.items().is_none());
        }
        assert!(
            body.is_object() && body.get("a").get("b").is_array() && items[1].get("c").is_string()
        );
    }

    #[test]
    fn tokens_are_whole_numbers() {
        let count = |number: &str| View(&format!(r#"{{"n":{number}}}"#)).count("n");
        assert_eq!((count("0"), count("4294967295")), (Some(0), Some(u32::MAX)));
        for number in ["-1", "1.5", "1e3", "4294967296", "\"7\"", "null"] {
            assert_eq!(count(number), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn every_field_of_any_object_is_found(fields: std::collections::HashMap<String, String>) {
            let body = json!(fields).to_string();
            for (name, text) in &fields {
                prop_assert_eq!(View::of(&body).get(name).text().unwrap(), text.as_str());
            }
        }

        #[test]
        fn what_is_no_json_does_no_harm(body in r#"[\[\]{}":,a ]{0,12}"#) {
            let view = View::of(&body);
            view.items().into_iter().flatten().chain([view.get("a"), view]).for_each(|part| drop(part.text()));
        }
    }
}
