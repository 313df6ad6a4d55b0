//! The targets of the fuzzer as property tests: with any bytes, and with examples that are changed in a few places.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index as Place;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 8] = [
    ("prompts", super::prompts),
    ("template", super::template),
    ("hints", super::hints),
    ("answers", super::answers),
    ("stream", super::stream),
    ("journal", super::journal),
    ("redis", super::redis),
    ("request", super::request),
];

/// The examples for a target.
fn examples(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = fs::read_dir(root.join("fuzz/examples").join(target)).unwrap();
    let mut files: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One change: a byte is replaced, a part is removed, repeated or put in from elsewhere, or the end is cut off.
#[derive(Clone, Debug)]
enum Change {
    Set(Place, u8),
    Remove(Place, usize),
    Repeat(Place, usize),
    Insert(Place, &'static str),
    Cut(Place),
}

fn change() -> impl Strategy<Value = Change> {
    const WORDS: [&str; 14] = [
        "{", "}", "[", "]", "\"", "\\", "\n", ",", ":", "null", "-1", "1e999", "\u{2028}", "\0",
    ];
    prop_oneof![
        (any::<Place>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Place>(), 1..8usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Place>(), 1..40usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<Place>(), prop::sample::select(&WORDS[..]))
            .prop_map(|(at, word)| Change::Insert(at, word)),
        any::<Place>().prop_map(Change::Cut),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let place = |at: &Place| at.index(bytes.len() + 1);
        match change {
            Change::Set(at, byte) => {
                let at = place(at);
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Change::Remove(at, length) => {
                let at = place(at);
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Change::Repeat(at, length) => {
                let at = place(at);
                let part = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Insert(at, word) => {
                let at = place(at);
                bytes.splice(at..at, word.bytes());
            }
            Change::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

#[test]
fn the_examples_are_played_as_they_are() {
    for (name, target) in TARGETS {
        let examples = examples(name);
        assert!(!examples.is_empty(), "{name}");
        examples.iter().for_each(|example| target(example));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }

    #[test]
    fn no_change_of_an_example_makes_a_parser_panic(
        which: Place,
        changes in prop::collection::vec(change(), 1..6),
    ) {
        for (name, target) in TARGETS {
            let examples = examples(name);
            target(&changed(examples[which.index(examples.len())].clone(), &changes));
        }
    }
}
