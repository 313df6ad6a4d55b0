//! A record's name, from which both the place of its prompt and the request that was sent can be told.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

/// Names a prompt by its place in the input and by the request that is sent for it.
///
/// It is written `pl_17_` and 16 hexadecimal digits, the beginning of the request's SHA-256. The same place with another
/// model or another text is another record, and the same text in another place too.
///
/// ```
/// use paceline::journal::RecordId;
///
/// let id = RecordId::of(17, b"a");
/// assert_eq!(id.to_string(), "pl_17_ca978112ca1bbdca");
/// assert_eq!("pl_17_ca978112ca1bbdca".parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The line of the prompt, from 1.
    pub line: u64,
    /// The first 64 bits of the SHA-256 of the request's body.
    pub digest: u64,
}

impl RecordId {
    /// The name for this line and this request's body.
    #[must_use]
    pub fn of(line: u64, request: &[u8]) -> Self {
        RecordId {
            line,
            digest: digest(request),
        }
    }
}

/// The first 64 bits of the SHA-256.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes)
        .iter()
        .take(8)
        .fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}

/// 63 bits of a digest, and in place of the last one a bit for something else: what must fit in 16 bytes a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    pub(super) fn new(digest: u64, bit: bool) -> Self {
        Tag((digest & !1) | u64::from(bit))
    }

    pub(super) fn bit(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether it was made of this digest.
    pub(super) fn is_of(self, digest: u64) -> bool {
        self.0 >> 1 == digest >> 1
    }

    pub(super) fn with(self, bit: bool) -> Self {
        Tag::new(self.0, bit)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pl_{}_{:016x}", self.line, self.digest)
    }
}

/// A text that names no record of Paceline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not the id of a record: that is pl_, a line number, _ and 16 hexadecimal digits")]
pub struct ForeignId;

impl FromStr for RecordId {
    type Err = ForeignId;

    /// Takes what `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, ForeignId> {
        let parts = text
            .strip_prefix("pl_")
            .and_then(|rest| rest.split_once('_'));
        let (line, digits) = parts.ok_or(ForeignId)?;
        let in_our_hand = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 16
            || !digits.bytes().all(in_our_hand)
            || !line.starts_with(|c| ('1'..='9').contains(&c))
        {
            return Err(ForeignId);
        }
        let digest = u64::from_str_radix(digits, 16).map_err(|_| ForeignId)?;
        Ok(RecordId {
            line: line.parse().map_err(|_| ForeignId)?,
            digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_tells_places_and_requests_apart() {
        let ids = [(1, "a"), (2, "a"), (1, "b"), (11, "")]
            .map(|(line, text)| RecordId::of(line, text.as_bytes()));
        assert_eq!(
            ids.iter().collect::<std::collections::HashSet<_>>().len(),
            4
        );
        assert_eq!(
            ids[0].to_string(),
            "pl_1_ca978112ca1bbdca",
            "the well-known digest of \"a\" begins so"
        );
    }

    #[test]
    fn other_peoples_ids_are_told_apart_from_ours() {
        let foreign = [
            "",
            "batch_req_123",
            "pl_",
            "pl_1",
            "pl_1_",
            "pl_0_ca978112ca1bbdca",
            "pl_+1_ca978112ca1bbdca",
            "pl_01_ca978112ca1bbdca",
            "pl_1_CA978112CA1BBDCA",
            "pl_1_+a978112ca1bbdca",
            "pl_1_ca978112ca1bbdca0",
            "pl_99999999999999999999_ca978112ca1bbdca",
            " pl_1_ca978112ca1bbdca",
        ];
        for text in foreign {
            assert_eq!(text.parse::<RecordId>(), Err(ForeignId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_reads_back_as_it_was_written(line in 1u64.., digest: u64) {
            let id = RecordId { line, digest };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn what_reads_as_an_id_is_written_the_same(text in "pl_[0-9a-f_+]{1,22}") {
            if let Ok(id) = text.parse::<RecordId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
