//! The id of a record: the line of its prompt, and a digest of the request that was sent for it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Identifies a prompt by its line in the input and by the request that is sent for it.
///
/// It is written `pl_17_` and 16 hexadecimal digits, the beginning of the request's SHA-256. The same line with another
/// model or another text has another id, and so has the same text at another line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordId {
    /// The line of the prompt, from 1.
    pub line: u64,
    /// The first 64 bits of the SHA-256 of the request's body.
    pub digest: u64,
}

impl RecordId {
    /// The id for this line and this request's body.
    pub(crate) fn of(line: u64, request: &[u8]) -> Self {
        let sha256 = Sha256::digest(request);
        let digest = sha256[..8]
            .iter()
            .fold(0, |digest, byte| digest << 8 | u64::from(*byte));
        RecordId { line, digest }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pl_{}_{:016x}", self.line, self.digest)
    }
}

impl FromStr for RecordId {
    type Err = &'static str;

    /// Takes what `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (line, digits) = text.strip_prefix("pl_")?.split_once('_')?;
            let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            let is_written_so = digits.len() == 16
                && digits.bytes().all(is_digit)
                && line.starts_with(|first: char| matches!(first, '1'..='9'));
            is_written_so.then_some(RecordId {
                line: line.parse().ok()?,
                digest: u64::from_str_radix(digits, 16).ok()?,
            })
        };
        read().ok_or(
            "not the id of a record, which is pl_, a line number, _ and 16 hexadecimal digits",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_the_line_and_the_beginning_of_the_hash() {
        let id = RecordId::of(17, b"a");
        assert_eq!(id.to_string(), "pl_17_ca978112ca1bbdca");
        assert_eq!("pl_17_ca978112ca1bbdca".parse(), Ok(id));
    }

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
            assert!(text.parse::<RecordId>().is_err(), "{text}");
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
