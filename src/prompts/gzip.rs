//! Reads the text of a gzip file as it comes, with errors in plain words.
//!
//! A file may have several members, one after the other, as `cat a.gz b.gz` makes them. A file that was cut short is an
//! error, and never looks like the end of its text.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

/// Reads the text of a gzip file.
///
/// # Errors
/// Reading fails where the file is damaged or cut short; [`Prompts`](super::Prompts) adds the line.
///
/// ```
/// use paceline::prompts::{Prompts, gunzip};
///
/// // What `gzip` makes of one line: "hi".
/// let zipped = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\xc8\xe4\x02\0\x7a\x7a\x6f\xed\x03\0\0\0";
/// let mut prompts = Prompts::new(gunzip(&zipped[..]));
/// assert_eq!(prompts.next().unwrap().unwrap().text, "hi");
///
/// let torn = Prompts::new(gunzip(&zipped[..15])).last();
/// assert_eq!(torn.unwrap().unwrap_err().to_string(), "line 2: the gzip data ends too early: the file was cut short");
/// ```
pub fn gunzip<R: BufRead>(reader: R) -> impl BufRead {
    BufReader::with_capacity(64 << 10, Gunzip(MultiGzDecoder::new(reader)))
}

struct Gunzip<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(in_plain_words)
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

    use super::super::Prompts;
    use super::*;

    fn zipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The texts that are read, and the error at the end if there is one.
    fn read(bytes: &[u8]) -> (Vec<String>, Option<String>) {
        let (mut texts, mut error) = (Vec::new(), None);
        for prompt in Prompts::new(gunzip(bytes)) {
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
}
