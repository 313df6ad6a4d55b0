//! The text of an answer: prose about the prompt, the same for the same seed, and never to be mistaken for a model's.

use std::hash::{DefaultHasher, Hash, Hasher};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

/// The text of an answer.
#[derive(Debug)]
pub(super) struct Prose {
    pub(super) text: String,
    /// Whether it was cut off at the most tokens that were asked for.
    pub(super) is_cut: bool,
}

impl Prose {
    pub(super) fn whole(text: String) -> Self {
        let is_cut = false;
        Prose { text, is_cut }
    }

    /// The same JSON with another type: of its first field, if it is an object.
    pub(super) fn spoilt(self) -> Self {
        let other = |value: &Value| match value {
            Value::Object(_) => json!("wrong"),
            _ => json!({"wrong": true}),
        };
        let mut value: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let fields = value.as_object_mut();
        let first = fields.and_then(|fields| fields.values_mut().next());
        match first {
            Some(field) => *field = other(field),
            None => value = other(&value),
        }
        Prose::whole(value.to_string())
    }

    /// The text, cut off after `max_tokens`.
    pub(super) fn within(text: String, max_tokens: Option<u32>) -> Self {
        match max_tokens {
            Some(max) if tokens(&text) > max => Prose {
                text: text.chars().take(max as usize * 4).collect(),
                is_cut: true,
            },
            _ => Prose::whole(text),
        }
    }

    /// The first word, or the second if the text was cut off.
    pub(super) fn reason(&self, whole: &'static str, cut: &'static str) -> &'static str {
        if self.is_cut { cut } else { whole }
    }

    pub(super) fn tokens(&self) -> u32 {
        tokens(&self.text)
    }
}

/// A vector of length 1 whose direction depends on the text and the seed alone, as JSON.
pub(super) fn vector(text: &str, seed: u64, dimensions: usize) -> String {
    let mut random = random(text, seed);
    let draw = |_| random.random_range(-1.0..1.0);
    let numbers: Vec<f64> = (0..dimensions).map(draw).collect();
    let squares = numbers.iter().map(|number| number * number);
    let length = squares.sum::<f64>().sqrt();
    let mut json = String::with_capacity(dimensions * 10 + 2);
    for number in numbers {
        json.push(if json.is_empty() { '[' } else { ',' });
        json.push_str(&format!("{:.6}", number / length));
    }
    json + "]"
}

/// A number of tokens: about one for four characters.
pub(super) fn tokens(text: &str) -> u32 {
    u32::try_from(text.chars().count().div_ceil(4)).unwrap_or(u32::MAX)
}

/// Random numbers that depend on the topic and the seed alone.
pub(super) fn random(topic: &str, seed: u64) -> StdRng {
    let mut hasher = DefaultHasher::new();
    (seed, topic).hash(&mut hasher);
    StdRng::seed_from_u64(hasher.finish())
}

/// JSON that fits a schema.
pub(super) fn example(schema: &Value, topic: &str, seed: u64) -> String {
    let example = Example {
        schema,
        topic,
        seed,
    };
    example.of(schema, 0).to_string()
}

/// Makes values that fit a schema.
struct Example<'a> {
    /// The whole schema, which references point into.
    schema: &'a Value,
    topic: &'a str,
    seed: u64,
}

impl Example<'_> {
    /// References may go in circles: below this depth, only what must be there is made.
    const DEEP: usize = 5;
    /// Below this depth a value is null: the schema demands an endless one.
    const DEEPEST: usize = 20;

    fn of(&self, part: &Value, depth: usize) -> Value {
        let reference = part["$ref"].as_str();
        let there = reference.and_then(|place| self.schema.pointer(place.strip_prefix('#')?));
        let choice = |name: &&str| {
            let choices = part[*name].as_array()?;
            let is_end = |choice: &&Value| depth > Self::DEEP && choice["type"] == "null";
            choices.iter().find(is_end).or(choices.first())
        };
        let fixed = part.get("const").or(choice(&"enum"));
        let instead = there.or_else(|| ["anyOf", "oneOf", "allOf"].iter().find_map(choice));
        match (fixed, instead) {
            _ if depth > Self::DEEPEST => Value::Null,
            (Some(value), _) => value.clone(),
            (None, Some(part)) => self.of(part, depth + 1),
            (None, None) => self.typed(part, depth),
        }
    }

    fn typed(&self, part: &Value, depth: usize) -> Value {
        let kind = part["type"].as_str().or_else(|| part["type"][0].as_str());
        let least = |name: &str| part[name].as_u64().unwrap_or(0);
        let number = random(self.topic, self.seed).random_range(0..100_u32);
        let low = part["minimum"].as_f64().unwrap_or(0.0);
        let high = part["maximum"].as_f64().unwrap_or(low + 100.0);
        let is_deep = depth > Self::DEEP;
        match kind {
            Some("integer") => ((low + f64::from(number)).min(high) as i64).into(),
            Some("number") => (low + f64::from(number)).min(high).into(),
            Some("boolean") => (number % 2 == 0).into(),
            Some("null") => Value::Null,
            Some("array") => {
                let count = least("minItems").clamp(u64::from(!is_deep), 100);
                let items = (0..count).map(|_| self.of(&part["items"], depth + 1));
                items.collect()
            }
            _ if kind == Some("object") || part["properties"].is_object() => {
                let required = part["required"].as_array();
                let needs = |name: &String| required.is_some_and(|all| all.contains(&json!(name)));
                let fields = part["properties"].as_object().into_iter().flatten();
                let fields = fields.filter(|(name, _)| !is_deep || needs(name));
                let made = fields.map(|(name, field)| (name.clone(), self.of(field, depth + 1)));
                made.collect::<Map<_, _>>().into()
            }
            _ => {
                let most = part["maxLength"].as_u64().unwrap_or(80) as usize;
                let width = least("minLength").min(10_000) as usize;
                let text = format!("[practice] {}", heading(self.topic));
                let text = format!("{text:<width$}");
                text.chars()
                    .take(most.max(width))
                    .collect::<String>()
                    .into()
            }
        }
    }
}

const OPENINGS: &[&str] = &[
    "Most people meet \"{}\" long before they give it a second thought.",
    "There are three things worth knowing about \"{}\", and the first is that it rewards patience.",
    "Ask ten people about \"{}\" and you will hear eleven opinions.",
    "A good place to begin with \"{}\" is with what it is not.",
];
const SENTENCES: &[&str] = &[
    "Start small, write down what you see, and change one thing at a time.",
    "The usual mistake is to hurry: a steady pace gets further than a sprint and a rest.",
    "It helps to look at an example first, and at the rule behind it only then.",
    "What works on Monday with five items may fail on Friday with two hundred.",
    "Experts disagree on the details and agree on the order in which to learn them.",
    "Costs matter here, so measure before you buy, and again a month later.",
    "Come back to it in a year and you will be surprised how simple it looks.",
];

/// Some sentences about a topic.
pub(super) fn sentences(topic: &str, seed: u64) -> String {
    let mut random = random(topic, seed);
    let opening = OPENINGS.choose(&mut random).expect("there are some");
    let opening = opening.replace("{}", &heading(topic));
    let count = random.random_range(3..=5);
    let others: Vec<&str> = SENTENCES.sample(&mut random, count).copied().collect();
    format!("[practice] {opening} {}", others.join(" "))
}

/// The beginning of a topic, on one line.
fn heading(topic: &str) -> String {
    const MAX: usize = 60;
    let start: String = topic.chars().take(4 * MAX).collect();
    let line = start.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX {
        return line;
    }
    line.chars().take(MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(prompt: &str, max_tokens: Option<u32>) -> Prose {
        Prose::within(sentences(prompt, 7), max_tokens)
    }

    #[test]
    fn an_answer_is_about_the_prompt_and_marked_as_practice() {
        let Prose { text, is_cut } = about("bees in winter", None);
        assert!(text.starts_with("[practice] ") && text.contains("bees in winter") && !is_cut);
        assert_eq!(about("bees in winter", None).text, text);
        assert_ne!(about("bees in summer", None).text, text);
    }

    #[test]
    fn an_answer_is_cut_at_max_tokens() {
        let prose = about("bees", Some(5));
        assert_eq!(
            (prose.text.len(), prose.tokens(), prose.is_cut),
            (20, 5, true)
        );
    }

    #[test]
    fn every_prompt_gets_a_short_answer() {
        let bees = "\u{1f41d}".repeat(5000);
        for prompt in ["", &bees, "a\u{2028}b\n\"c\"", "\u{0}"] {
            assert!(about(prompt, None).text.chars().count() < 900);
        }
    }

    #[test]
    fn a_vector_has_length_one() {
        let vector: Vec<f64> = serde_json::from_str(&vector("bees", 7, 64)).unwrap();
        assert_eq!(vector.len(), 64);
        assert!((vector.iter().map(|part| part * part).sum::<f64>() - 1.0).abs() < 1e-3);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn an_example_fits_its_schema_also_where_that_refers_to_itself() {
        let text = json!({"type": "string"});
        let branch = json!({"$ref": "#/$defs/tree"});
        let tree = json!({"type": "object", "properties": {"name": text, "left": branch, "right": branch},
            "required": ["name"]});
        let end = json!({"anyOf": [{"$ref": "#"}, {"type": "null"}]});
        let many = json!({"type": "array", "items": {"$ref": "#"}});
        for schema in [
            json!({"$ref": "#/$defs/tree", "$defs": {"tree": tree}}),
            json!({"type": "object", "properties": {"next": end}, "required": ["next"]}),
            json!({"type": "object", "properties": {"all": many}, "required": ["all"]}),
            json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "integer"}}}),
        ] {
            let example = example(&schema, "bees", 7);
            assert!(example.len() < 10_000, "{schema}");
            let value = serde_json::from_str(&example).unwrap();
            assert!(jsonschema::is_valid(&schema, &value), "{schema}: {example}");
        }
    }
}
