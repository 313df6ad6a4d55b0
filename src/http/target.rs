//! Where calls go and what each says before its body: made once, for many calls.

use std::fmt;
use std::str::FromStr;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder};

use super::TransportError;

/// An address, and the headers of the calls that go there.
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    headers: HeaderMap,
}

impl Target {
    /// Reads an address and headers. One that comes twice is sent twice.
    ///
    /// # Errors
    /// [`TransportError::Unsendable`]: a bad address, a header with a line break in it.
    pub fn new<'a>(
        url: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TransportError> {
        let uri = url.parse().map_err(unsendable)?;
        let header = |(name, value): (&str, &str)| {
            Ok((
                HeaderName::from_str(name).map_err(unsendable)?,
                HeaderValue::from_str(value).map_err(unsendable)?,
            ))
        };
        let headers = headers.into_iter().map(header).collect::<Result<_, _>>()?;
        Ok(Target { uri, headers })
    }

    /// A call with a body of so many bytes.
    pub(super) fn request(&self, agent: &Agent, length: usize) -> RequestBuilder<WithBody> {
        let mut request = agent.post(&self.uri);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        request
    }
}

/// Without the headers, one of which is the key.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.uri)
    }
}

fn unsendable(error: impl Into<ureq::http::Error>) -> TransportError {
    TransportError::Unsendable(ureq::Error::Http(error.into()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_call_can_be_made_with_is_told_at_once() {
        let header = |name, value| Target::new("http://localhost/v1", [(name, value)]);
        assert!(header("content-type", "application/json").is_ok());
        for bad in [
            Target::new("http://no host/", []),
            header("a b", "c"),
            header("a", "b\nc"),
        ] {
            assert!(matches!(bad, Err(TransportError::Unsendable(_))), "{bad:?}");
        }
    }

    #[test]
    fn it_is_shown_without_its_headers() {
        let target = Target::new(
            "http://localhost/v1",
            [("authorization", "Bearer sk-secret")],
        )
        .unwrap();
        assert_eq!(format!("{target:?}"), "Target(http://localhost/v1)");
    }
}
