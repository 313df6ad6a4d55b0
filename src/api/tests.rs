//! What the APIs have in common; how a client reads what comes over the wire.

mod chat;
mod embeddings;
mod gemini;
mod messages;
mod responses;
#[allow(dead_code)] // shared with the end-to-end tests, which use more of it
#[path = "../../tests/common/tcp.rs"]
mod tcp;
mod trust;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::request::join;
use super::{Api, Ask, Client, Completion, Params, Row, StreamLimits};

/// All parameters, and these fields.
fn params_with(extra: Value) -> Params {
    Params {
        model: "m".into(),
        system: Some("Be brief.".into()),
        max_tokens: Some(9),
        temperature: Some(0.5),
        extra: extra.as_object().unwrap().clone(),
    }
}

/// The model's name and nothing else.
fn plain_params() -> Params {
    Params {
        model: "m".into(),
        ..Params::default()
    }
}

/// Whether each body of a table is read as this text, which ended for this reason.
fn assert_read(
    api: &dyn Api,
    table: impl IntoIterator<Item = (Value, &'static str, Option<&'static str>)>,
) {
    for (body, text, reason) in table {
        let read = api.completion(&body.to_string()).unwrap();
        let read = (read.text.as_str(), read.finish_reason.as_deref());
        assert_eq!(read, (text, reason), "{body}");
    }
}

/// Whether none of these bodies is an answer.
fn assert_no_answer(api: &dyn Api, bodies: impl IntoIterator<Item = Value>) {
    for body in bodies {
        assert_eq!(api.completion(&body.to_string()), None, "{body}");
    }
}

/// An API of somebody's own, at the path of chat completions.
#[derive(Debug)]
struct Counted;

impl Api for Counted {
    fn base_url(&self) -> &str {
        "http://host"
    }

    fn path(&self, _model: &str) -> String {
        "/chat/completions".to_owned()
    }

    fn body(&self, prompt: &str, _params: &Params) -> Value {
        json!({"words": prompt, "length": prompt.len()})
    }

    fn completion(&self, _body: &str) -> Option<Completion> {
        None
    }
}

#[test]
fn an_api_of_ones_own_is_not_taken_for_another_with_the_same_path() {
    let client = || Client::new(Box::new(Counted), None, None, plain_params());
    for prompt in ["Why?", "Why is the sky blue?"] {
        let request: Value = serde_json::from_slice(&client().request(prompt)).unwrap();
        assert_eq!(request, json!({"words": prompt, "length": prompt.len()}));
    }
    let row: Row = serde_json::from_value(json!({"files": ["https://host/a.png"]})).unwrap();
    let error = client().request_row("Why?", &row).unwrap_err();
    assert!(error.contains("takes no messages or files"), "{error}");
    let limits = StreamLimits {
        first_token: Duration::MAX,
        idle: Duration::MAX,
        meter: Arc::default(),
    };
    assert!(client().streaming(limits).is_err() && client().at_flex(None).is_err());
}

#[test]
fn what_is_put_into_a_body_wins_and_objects_are_joined() {
    let mut body = json!({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": {"g": 4}});
    let extra = json!({"a": null, "b": {"d": {"h": 5}, "c": [6]}, "f": 7, "i": {"j": 8}});
    join(&mut body, extra.as_object().unwrap());
    assert_eq!(
        body,
        json!({"a": null, "b": {"c": [6], "d": {"e": 3, "h": 5}}, "f": 7, "i": {"j": 8}})
    );
}
