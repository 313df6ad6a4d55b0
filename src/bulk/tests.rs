//! A batch is looked for in the provider's list, whatever that says.

use super::*;
use crate::api::Params;

fn found_in(list: &str) -> Result<Option<String>, CallError> {
    let mut server = mockito::Server::new();
    let path = mockito::Matcher::Regex("^/v1/batches".to_owned());
    server.mock("GET", path).with_body(list).create();
    let client = Client::new(
        ApiKind::Chat.api(),
        Some(&server.url()),
        None,
        Params::default(),
    );
    let bulk = Bulk {
        api: BulkApi::OpenAi,
        client: &client,
        retry: Retry::new(),
        poll: Duration::from_secs(1),
        cancel: &CancelToken::new(),
    };
    bulk.find(&Part::new())
}

#[test]
fn a_list_that_cannot_be_read_does_not_say_that_nothing_was_submitted() {
    assert_eq!(found_in(r#"{"data":[],"has_more":false}"#), Ok(None));
    for list in [
        r#"{"data":7}"#,
        "{}",
        r#"{"data":[{"id":"b","created_at":9e12}],"has_more":true}"#,
    ] {
        assert!(found_in(list).is_err(), "{list}");
    }
}
