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

use super::request::join;
use serde_json::json;

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
