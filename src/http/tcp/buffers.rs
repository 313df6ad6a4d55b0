//! The memory that a connection has: what is to be sent, and what was received and not yet used.
//!
//! It begins small and grows with what comes, and is given back when all is sent, so that a thousand connections with small
//! questions and answers need little.

use ureq::unversioned::transport::Buffers;

/// A connection's two buffers.
#[derive(Debug, Default)]
pub(super) struct Paper {
    /// Received; of it, `used..filled` is still to be used.
    input: Vec<u8>,
    used: usize,
    filled: usize,
    /// To be sent: the first `kept` bytes.
    output: Vec<u8>,
    kept: usize,
    /// Whether the last look at the input used any of it.
    progress: bool,
}

impl Paper {
    /// What each begins with, once it is used. A line of a head must fit into the output, and some keys are long.
    const INPUT: usize = 2 << 10;
    /// See [`INPUT`](Paper::INPUT).
    const OUTPUT: usize = 8 << 10;
    /// What both grow to; the input grows further only while nothing of it can be used yet, as with a large head.
    const USUAL: usize = 16 << 10;

    /// So many bytes more are to be sent. Makes room for others, or says that it is time to send.
    pub(super) fn keep(&mut self, amount: usize) -> bool {
        self.kept += amount;
        let is_full = self.kept * 2 > self.output.len();
        if is_full && self.output.len() < Self::USUAL {
            self.output.resize(self.output.len() * 2, 0);
            return false;
        }
        is_full
    }

    pub(super) fn to_send(&self) -> &[u8] {
        &self.output[..self.kept]
    }

    pub(super) fn sent(&mut self) {
        self.kept = 0;
    }

    fn unfold_output(&mut self) {
        if self.output.is_empty() {
            self.output = vec![0; Self::OUTPUT];
        }
    }

    /// Who waits for an answer has nothing to send, and most connections wait most of the time.
    fn fold_output(&mut self) {
        if self.kept == 0 {
            self.output = Vec::new();
        }
    }

    /// Moves what is still to be used to the beginning; and there is more room if the last receive left none.
    fn make_room(&mut self) {
        if self.input.is_empty() {
            self.input = vec![0; Self::INPUT];
        }
        let was_full = self.filled == self.input.len();
        self.input.copy_within(self.used..self.filled, 0);
        (self.used, self.filled) = (0, self.filled - self.used);
        if was_full && (self.input.len() < Self::USUAL || self.filled == self.input.len()) {
            self.input.resize(self.input.len() * 2, 0);
        }
    }
}

impl Buffers for Paper {
    fn output(&mut self) -> &mut [u8] {
        self.unfold_output();
        &mut self.output[self.kept..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.used..self.filled]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.fold_output();
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
        self.unfold_output();
        self.make_room();
        (
            &mut self.input[self.filled..],
            &mut self.output[self.kept..],
        )
    }

    fn can_use_input(&self) -> bool {
        self.used < self.filled && self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(paper: &mut Paper, byte: u8, amount: usize) {
        paper.input_append_buf()[..amount].fill(byte);
        paper.input_appended(amount);
    }

    #[test]
    fn what_is_received_is_kept_until_it_is_used() {
        let mut paper = Paper::default();
        receive(&mut paper, b'a', 2000);
        paper.input_consume(1999);
        assert!(paper.can_use_input());
        receive(&mut paper, b'b', 2047);
        assert_eq!(
            (paper.input().len(), paper.input()[0], paper.input()[1]),
            (2048, b'a', b'b')
        );
        paper.input_consume(0);
        assert!(!paper.can_use_input(), "it takes more to use it");
        assert_eq!(
            paper.input_append_buf().len(),
            2048,
            "and there is room for more"
        );
        paper.input_consume(2048);
        assert!(paper.input().is_empty() && !paper.can_use_input());
    }

    #[test]
    fn it_grows_where_much_comes_and_further_where_nothing_of_it_can_be_used() {
        let mut paper = Paper::default();
        for _ in 0..10 {
            let room = paper.input_append_buf().len();
            receive(&mut paper, b'a', room);
            paper.input_consume(room);
        }
        assert_eq!(paper.input_append_buf().len(), Paper::USUAL);
        receive(&mut paper, b'a', Paper::USUAL);
        paper.input_consume(0);
        assert_eq!(
            paper.input_append_buf().len(),
            Paper::USUAL,
            "as much again"
        );
    }

    #[test]
    fn what_is_to_be_sent_comes_together_until_there_is_much() {
        let mut paper = Paper::default();
        let mut kept = 0;
        let is_time = loop {
            paper.output()[..1000].fill(b'x');
            kept += 1000;
            if paper.keep(1000) {
                break kept;
            }
            assert!(!paper.output().is_empty());
        };
        assert!(
            (Paper::USUAL / 2..=Paper::USUAL).contains(&is_time),
            "{is_time}"
        );
        assert_eq!(paper.to_send().len(), is_time);
        paper.sent();
        assert!(paper.to_send().is_empty() && paper.output().len() == Paper::USUAL);
        paper.input_append_buf();
        assert!(
            paper.output.is_empty(),
            "nothing is to be sent while the answer is awaited"
        );
        assert_eq!(paper.output().len(), Paper::OUTPUT);
    }
}
