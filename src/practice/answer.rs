//! What the practice server says: prose about the prompt, the same for the same seed, and never to be mistaken for a
//! model's.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The `model` of every practice answer, whatever model was asked for.
pub const MODEL: &str = "paceline-practice";

/// A request for a chat completion, as far as it matters here.
#[derive(Debug)]
pub(super) struct Chat {
    /// What the user said last.
    topic: String,
    prompt_tokens: u32,
    max_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Body {
    messages: Vec<Message>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// What an answer is thought to cost before it is made.
const USUAL_TOKENS: u32 = 100;

impl Chat {
    /// `None`: it is not such a request.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let Body { mut messages, max_tokens, max_completion_tokens } = serde_json::from_slice(body).ok()?;
        let prompt_tokens = messages.iter().map(|message| tokens(&message.content) + 4).sum();
        let last = messages.iter().rposition(|message| message.role == "user")?;
        let topic = messages.swap_remove(last).content;
        Some(Chat { topic, prompt_tokens, max_tokens: max_completion_tokens.or(max_tokens) })
    }

    /// The tokens that it counts for.
    pub(super) fn cost(&self) -> u32 {
        self.prompt_tokens.saturating_add(self.max_tokens.unwrap_or(USUAL_TOKENS))
    }

    /// The answer, as OpenAI would wrap it.
    pub(super) fn answer(&self, seed: u64, empty: bool) -> Value {
        let whole = if empty { String::new() } else { prose(&self.topic, seed) };
        let (text, finish_reason) = cut(whole, self.max_tokens);
        let completion = tokens(&text);
        json!({
            "id": format!("chatcmpl-practice-{:08x}", chance(&self.topic, seed).random::<u32>()),
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }],
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": completion,
                "total_tokens": self.prompt_tokens + completion,
            },
        })
    }
}

/// The list of models: one.
pub(super) fn models() -> Value {
    json!({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "paceline"}]})
}

/// About four characters are a token.
fn tokens(text: &str) -> u32 {
    u32::try_from(text.chars().count().div_ceil(4)).unwrap_or(u32::MAX)
}

fn cut(text: String, max_tokens: Option<u32>) -> (String, &'static str) {
    match max_tokens {
        Some(most) if tokens(&text) > most => (text.chars().take(most as usize * 4).collect(), "length"),
        _ => (text, "stop"),
    }
}

/// Chance that depends on the topic and the seed alone.
fn chance(topic: &str, seed: u64) -> StdRng {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(topic).finalize();
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
    let opening = OPENINGS.choose(&mut chance).expect("there are some").replace("{}", &short(topic));
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
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(prompt: &str, max_tokens: Option<u32>) -> Value {
        let body = json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": prompt}],
            "max_tokens": max_tokens});
        Chat::parse(body.to_string().as_bytes()).unwrap().answer(7, false)
    }

    fn text(answer: &Value) -> &str {
        answer["choices"][0]["message"]["content"].as_str().unwrap()
    }

    #[test]
    fn an_answer_is_about_the_prompt_and_marked_as_practice() {
        let answer = ask("bees in winter", None);
        assert!(text(&answer).starts_with("[practice] ") && text(&answer).contains("bees in winter"));
        assert_eq!(answer["model"], MODEL);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        assert_eq!(answer["usage"]["completion_tokens"], tokens(text(&answer)));
        assert_eq!(ask("bees in winter", None), answer);
        assert_ne!(text(&ask("bees in summer", None)), text(&answer));
    }

    #[test]
    fn an_answer_is_cut_at_max_tokens() {
        let answer = ask("bees", Some(5));
        assert_eq!((text(&answer).len(), answer["usage"]["completion_tokens"].as_u64()), (20, Some(5)));
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }

    #[test]
    fn any_prompt_will_do() {
        for prompt in ["", "\u{1f41d}".repeat(5000).as_str(), "a\u{2028}b\n\"c\"", "\u{0}"] {
            assert!(text(&ask(prompt, None)).chars().count() < 900);
        }
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        for body in ["", "{", "{}", "[1]", r#"{"messages":[]}"#, r#"{"messages":[{"role":"user"}]}"#] {
            assert!(Chat::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
