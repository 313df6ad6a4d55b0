//! Reads an input that may be compressed with gzip, with errors in plain words.
//!
//! gzip is known by its first byte, which no text begins with. A file may have several members, one after the other, as
//! `cat a.gz b.gz` makes them, and zeros after them, as tapes and block devices do. A file that was cut short is an error,
//! and never looks like the end of its text.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// The text of an input.
#[derive(Debug)]
pub(super) enum Inflated<R> {
    Plain(R),
    /// `None` after the last member.
    Gzip(Option<Box<GzDecoder<R>>>),
}

impl<R: BufRead> Inflated<R> {
    /// Waits for the first byte, unless it is gzip whatever that is.
    pub(super) fn new(mut reader: R, is_gzip: bool) -> Self {
        // An error shows again when the reader is read.
        match is_gzip || matches!(peek(&mut reader), Ok(Some(0x1f))) {
            true => Inflated::Gzip(Some(Box::new(GzDecoder::new(reader)))),
            false => Inflated::Plain(reader),
        }
    }
}

/// The next member, after zeros.
fn next_member<R: BufRead>(mut reader: R) -> io::Result<Option<Box<GzDecoder<R>>>> {
    while peek(&mut reader)? == Some(0) {
        reader.consume(1);
    }
    let has_more = peek(&mut reader)?.is_some();
    Ok(has_more.then(|| Box::new(GzDecoder::new(reader))))
}

/// The next byte.
fn peek(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            bytes => return Ok(bytes?.first().copied()),
        }
    }
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let member = match self {
            Inflated::Plain(reader) => return reader.read(buffer),
            Inflated::Gzip(member) => member,
        };
        while let Some(mut decoder) = member.take() {
            match decoder.read(buffer) {
                Ok(0) => *member = next_member(decoder.into_inner())?,
                result => {
                    *member = Some(decoder);
                    return result.map_err(in_plain_words);
                }
            }
        }
        Ok(0)
    }
}

fn in_plain_words(error: io::Error) -> io::Error {
    let words = match error.kind() {
        ErrorKind::UnexpectedEof => {
            "the gzip data ends too early: the file was cut short".to_owned()
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            format!("the gzip data is damaged, or no gzip data ({error})")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{Prompts, Reading};

    fn zipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The texts that are read, and the error at the end if there is one.
    fn read(bytes: &[u8]) -> (Vec<String>, Option<String>) {
        let reading = Reading {
            path: "a.gz".into(),
            ..Reading::default()
        };
        let (mut texts, mut error) = (Vec::new(), None);
        for prompt in Prompts::new(bytes, reading) {
            match prompt {
                Ok(prompt) => texts.push(prompt.text),
                Err(source) => error = Some(source.to_string()),
            }
        }
        (texts, error)
    }

    #[test]
    fn the_members_of_a_file_are_one_text() {
        let bytes = [zipped(b"one\ntw"), zipped(b""), zipped(b"o\nthree")].concat();
        assert_eq!(
            read(&bytes),
            (["one", "two", "three"].map(str::to_owned).into(), None)
        );
    }

    #[test]
    fn a_file_that_is_cut_short_anywhere_is_an_error() {
        let first = zipped(b"one\ntwo\n");
        let whole = [first.clone(), zipped(b"three\nfour\n")].concat();
        for end in (0..whole.len()).filter(|end| *end != first.len()) {
            let (_, error) = read(&whole[..end]);
            let error = error.unwrap_or_else(|| panic!("no error at {end}"));
            assert!(
                error.ends_with("ends too early: the file was cut short"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_with_the_line_reached() {
        let mut bytes = zipped(b"one\ntwo\n");
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        let (texts, error) = read(&bytes);
        assert_eq!(texts, ["one", "two"]);
        assert!(
            error
                .unwrap()
                .starts_with("line 3: the gzip data is damaged")
        );
        assert!(
            read(b"plain text")
                .1
                .unwrap()
                .starts_with("line 1: the gzip data is damaged, or no gzip")
        );
    }

    #[test]
    fn zeros_after_the_data_are_padding() {
        let bytes = [
            zipped(b"one\n"),
            vec![0; 3],
            zipped(b"two\n"),
            vec![0; 70_000],
        ]
        .concat();
        assert_eq!(
            read(&bytes),
            (["one", "two"].map(str::to_owned).into(), None)
        );
        let (_, error) = read(&[zipped(b"one\n"), vec![0, 0, b'x']].concat());
        assert!(error.unwrap().contains("the gzip data"));
    }

    #[test]
    fn gzip_is_known_without_its_name_too() {
        let bytes = zipped(b"one\n");
        let mut prompts = Prompts::new(&bytes[..], Reading::default());
        assert_eq!(prompts.next().unwrap().unwrap().text, "one");
    }
}
