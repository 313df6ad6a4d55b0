//! What the practice server says: prose about the prompt, the same for the same seed, and never to be mistaken for a
//! model's.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The `model` of every practice answer, whatever model was asked for.
pub const MODEL: &str = "paceline-practice";

/// What is asked, in whatever API.
#[derive(Debug)]
pub(super) struct Question {
    /// What the user said last; of embeddings, each text.
    pub(super) topics: Vec<String>,
    /// The tokens of all that was sent.
    pub(super) input: u32,
    /// The most tokens that the answer may have.
    pub(super) max_tokens: Option<u32>,
    /// How long the vectors are to be.
    pub(super) dimensions: usize,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) text: String,
    /// Whether it had to end before its end.
    pub(super) cut: bool,
}

impl Said {
    pub(super) fn tokens(&self) -> u32 {
        tokens(&self.text)
    }
}

impl Question {
    pub(super) fn answer(&self, seed: u64, empty: bool) -> Said {
        let text = if empty {
            String::new()
        } else {
            prose(&self.topics[0], seed)
        };
        match self.max_tokens {
            Some(most) if tokens(&text) > most => Said {
                text: text.chars().take(most as usize * 4).collect(),
                cut: true,
            },
            _ => Said { text, cut: false },
        }
    }

    /// What the answer is called.
    pub(super) fn name(&self, seed: u64) -> String {
        format!(
            "practice-{:08x}",
            chance(&self.topics[0], seed).random::<u32>()
        )
    }
}

/// A direction that depends on the text and the seed alone, of length 1.
pub(super) fn vector(text: &str, seed: u64, dimensions: usize) -> Vec<f64> {
    let mut chance = chance(text, seed);
    let vector: Vec<f64> = (0..dimensions)
        .map(|_| chance.random_range(-1.0..1.0))
        .collect();
    let length = vector.iter().map(|part| part * part).sum::<f64>().sqrt();
    vector
        .iter()
        .map(|part| (part / length * 1e6).round() / 1e6)
        .collect()
}

/// The list of models: one.
pub(super) fn models() -> Value {
    json!({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "paceline"}]})
}

/// About four characters are a token.
pub(super) fn tokens(text: &str) -> u32 {
    u32::try_from(text.chars().count().div_ceil(4)).unwrap_or(u32::MAX)
}

/// Chance that depends on the topic and the seed alone.
fn chance(topic: &str, seed: u64) -> StdRng {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(topic)
        .finalize();
    StdRng::from_seed(digest.into())
}

const OPENINGS: &[&str] = &[
    "Most people meet \"{}\" long before they give it a second thought.",
    "There are three things worth knowing about \"{}\", and the first is that it rewards patience.",
    "Ask ten people about \"{}\" and you will hear eleven opinions.",
    "A good place to begin with \"{}\" is with what it is not.",
];
const MIDDLES: &[&str] = &[
    "Start small, write down what you see, and change one thing at a time.",
    "The usual mistake is to hurry: a steady pace gets further than a sprint and a rest.",
    "It helps to look at an example first, and at the rule behind it only then.",
    "What works on Monday with five items may fail on Friday with two hundred.",
    "Experts disagree on the details and agree on the order in which to learn them.",
    "Costs matter here, so measure before you buy, and again a month later.",
];
const CLOSINGS: &[&str] = &[
    "If you remember one thing, let it be this: begin, then improve.",
    "The rest is practice.",
    "Come back to it in a year and you will be surprised how simple it looks.",
];

fn prose(topic: &str, seed: u64) -> String {
    let mut chance = chance(topic, seed);
    let opening = OPENINGS
        .choose(&mut chance)
        .expect("there are some")
        .replace("{}", &short(topic));
    let count = chance.random_range(2..=4);
    let middle: Vec<&str> = MIDDLES.sample(&mut chance, count).copied().collect();
    let closing = CLOSINGS.choose(&mut chance).expect("there are some");
    format!("[practice] {opening} {} {closing}", middle.join(" "))
}

/// The beginning of a topic, on one line.
fn short(topic: &str) -> String {
    const MOST: usize = 60;
    let start: String = topic.chars().take(4 * MOST).collect();
    let line = start.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST {
        line
    } else {
        line.chars().take(MOST).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(prompt: &str, max_tokens: Option<u32>) -> Said {
        Question {
            topics: vec![prompt.to_owned()],
            input: 1,
            max_tokens,
            dimensions: 0,
        }
        .answer(7, false)
    }

    #[test]
    fn an_answer_is_about_the_prompt_and_marked_as_practice() {
        let Said { text, cut } = ask("bees in winter", None);
        assert!(text.starts_with("[practice] ") && text.contains("bees in winter") && !cut);
        assert_eq!(ask("bees in winter", None).text, text);
        assert_ne!(ask("bees in summer", None).text, text);
    }

    #[test]
    fn an_answer_is_cut_at_max_tokens() {
        let said = ask("bees", Some(5));
        assert_eq!((said.text.len(), said.tokens(), said.cut), (20, 5, true));
    }

    #[test]
    fn any_prompt_will_do() {
        for prompt in [
            "",
            "\u{1f41d}".repeat(5000).as_str(),
            "a\u{2028}b\n\"c\"",
            "\u{0}",
        ] {
            assert!(ask(prompt, None).text.chars().count() < 900);
        }
    }

    #[test]
    fn a_vector_is_of_length_one() {
        let vector = vector("bees", 7, 64);
        assert!((vector.iter().map(|part| part * part).sum::<f64>() - 1.0).abs() < 1e-3);
    }
}
