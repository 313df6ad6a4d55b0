//! What a worker has taken out of the queue and not finished, and which of it is asked just now.

use std::collections::HashMap;

/// The prompts in hand, by line.
#[derive(Debug, Default)]
pub(super) struct Taken {
    prompts: HashMap<u64, InHand>,
    /// Nothing more is begun.
    closed: bool,
}

#[derive(Debug)]
struct InHand {
    /// Its entry in the queue.
    entry: String,
    asked: bool,
}

impl Taken {
    /// It was given to us. False: it is in our hands already, from before it was handed on, and this entry stands for it
    /// now.
    pub(super) fn take(&mut self, line: u64, entry: String) -> bool {
        let asked = self.prompts.get(&line).map(|held| held.asked);
        let held = InHand {
            entry,
            asked: asked.unwrap_or(false),
        };
        self.prompts.insert(line, held);
        asked.is_none()
    }

    pub(super) fn has(&self, entry: &str) -> bool {
        self.prompts.values().any(|held| held.entry == entry)
    }

    /// A call for it is about to leave. False: it may not, because what was not begun is handed back.
    pub(super) fn begin(&mut self, line: u64) -> bool {
        if !self.closed
            && let Some(held) = self.prompts.get_mut(&line)
        {
            held.asked = true;
        }
        !self.closed
    }

    /// The call has failed: for the moment it is not asked.
    pub(super) fn failed(&mut self, line: u64) {
        if let Some(held) = self.prompts.get_mut(&line) {
            held.asked = false;
        }
    }

    /// The entry of a prompt.
    pub(super) fn entry(&self, line: u64) -> Option<String> {
        self.prompts.get(&line).map(|held| held.entry.clone())
    }

    /// It is finished.
    pub(super) fn finish(&mut self, line: u64) {
        self.prompts.remove(&line);
    }

    /// No further call may leave. Returns the entries of what is not asked just now, and lets go of them; of one that
    /// comes later, only itself.
    pub(super) fn close(&mut self) -> Vec<String> {
        self.closed = true;
        let idle = self.prompts.extract_if(|_, held| !held.asked);
        idle.map(|(_, held)| held.entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_kept_and_all_else_handed_back() {
        let mut taken = Taken::default();
        for line in 1..=3 {
            assert!(taken.take(line, format!("{line}-0")));
        }
        assert!(taken.begin(1) && taken.begin(2));
        taken.failed(2);
        let mut back = taken.close();
        back.sort();
        assert_eq!(back, ["2-0", "3-0"]);
        assert!(!taken.begin(1) && taken.has("1-0") && !taken.has("2-0"));
        taken.finish(1);
        assert_eq!(taken.entry(1), None);
    }

    #[test]
    fn what_was_handed_on_and_comes_back_is_not_asked_twice() {
        let mut taken = Taken::default();
        assert!(taken.take(1, "1-0".into()) && taken.begin(1));
        assert!(!taken.take(1, "9-0".into()), "it is being asked");
        assert_eq!(taken.entry(1).as_deref(), Some("9-0"));
        assert!(taken.close().is_empty());
    }
}
