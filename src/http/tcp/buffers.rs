//! The memory that a connection has: what is to be sent, and what was received and not yet used.
//!
//! It is the system that makes memory real, page by page, when it is first written to. So nothing is written here before
//! there is something to write: of a thousand connections with small answers, each has a few pages.

use ureq::unversioned::transport::Buffers;

#[derive(Debug)]
pub(super) struct Paper {
    /// Received; of it, `used..filled` is still to be used. It grows when it is full of what cannot be used yet.
    input: Vec<u8>,
    used: usize,
    filled: usize,
    /// To be sent: the first `kept` bytes.
    output: Vec<u8>,
    kept: usize,
    /// Whether the last look at the input used any of it.
    progress: bool,
    sizes: (usize, usize),
}

impl Paper {
    /// Of these sizes in bytes, for what is received and for what is sent. It takes no memory until it is used.
    pub(super) fn new(input: usize, output: usize) -> Self {
        let (empty, sizes) = (Vec::new, (input, output));
        Paper { input: empty(), used: 0, filled: 0, output: empty(), kept: 0, progress: false, sizes }
    }

    /// So many bytes more are to be sent.
    pub(super) fn keep(&mut self, amount: usize) {
        self.kept += amount;
    }

    pub(super) fn to_send(&self) -> &[u8] {
        &self.output[..self.kept]
    }

    pub(super) fn sent(&mut self) {
        self.kept = 0;
    }

    /// Whether at least half of the room is left for what is to be sent.
    pub(super) fn is_roomy(&self) -> bool {
        self.output.len() >= self.kept * 2
    }

    /// `vec!` asks the system for zeroes; to fill memory with them would make it real.
    fn unfold(&mut self) {
        if self.output.is_empty() {
            (self.input, self.output) = (vec![0; self.sizes.0], vec![0; self.sizes.1]);
        }
    }

    /// Moves what is still to be used to the beginning, and makes room after it if there is none.
    fn make_room(&mut self) {
        self.input.copy_within(self.used..self.filled, 0);
        (self.used, self.filled) = (0, self.filled - self.used);
        if self.filled == self.input.len() {
            self.input.resize(self.filled * 2, 0);
        }
    }
}

impl Buffers for Paper {
    fn output(&mut self) -> &mut [u8] {
        self.unfold();
        &mut self.output[self.kept..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.used..self.filled]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.unfold();
        self.make_room();
        &mut self.input[self.filled..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.filled += amount;
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.used += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.unfold();
        self.make_room();
        (&mut self.input[self.filled..], &mut self.output[self.kept..])
    }

    fn can_use_input(&self) -> bool {
        self.used < self.filled && self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(paper: &mut Paper, bytes: &[u8]) {
        paper.input_append_buf()[..bytes.len()].copy_from_slice(bytes);
        paper.input_appended(bytes.len());
    }

    #[test]
    fn what_is_received_is_kept_until_it_is_used() {
        let mut paper = Paper::new(4, 4);
        receive(&mut paper, b"abc");
        paper.input_consume(2);
        assert!(paper.can_use_input());
        receive(&mut paper, b"def");
        assert_eq!(paper.input(), b"cdef");
        paper.input_consume(0);
        assert!(!paper.can_use_input(), "it takes more to use it");
        assert_eq!(paper.input_append_buf().len(), 4, "and there is room for more");
        receive(&mut paper, b"g");
        assert_eq!(paper.input(), b"cdefg");
        paper.input_consume(5);
        assert!(paper.input().is_empty() && !paper.can_use_input());
    }

    #[test]
    fn what_is_to_be_sent_comes_together() {
        let mut paper = Paper::new(4, 8);
        for (part, roomy) in [(b"ab", true), (b"cd", true), (b"ef", false)] {
            paper.output()[..2].copy_from_slice(part);
            paper.keep(2);
            assert_eq!(paper.is_roomy(), roomy);
        }
        assert_eq!(paper.to_send(), b"abcdef");
        assert_eq!(paper.tmp_and_output().1.len(), 2);
        paper.sent();
        assert!(paper.to_send().is_empty() && paper.output().len() == 8);
    }
}
