//! The prompts that a worker has taken from the queue and not finished, and which of them have a call in flight.

use std::collections::HashMap;

/// The prompts that this worker holds, by line.
#[derive(Debug, Default)]
pub(super) struct HeldPrompts {
    prompts: HashMap<u64, HeldPrompt>,
    /// No more calls may begin.
    closed: bool,
}

#[derive(Debug)]
struct HeldPrompt {
    /// The ID of its entry in the queue.
    entry: String,
    in_flight: bool,
}

impl HeldPrompts {
    /// Adds a prompt. Returns false if this worker held it already, before it was handed on; the new entry then replaces
    /// the old one.
    pub(super) fn take(&mut self, line: u64, entry: String) -> bool {
        let in_flight = self.prompts.get(&line).map(|held| held.in_flight);
        let held = HeldPrompt {
            entry,
            in_flight: in_flight.unwrap_or(false),
        };
        self.prompts.insert(line, held);
        in_flight.is_none()
    }

    /// Whether it holds this entry.
    pub(super) fn has(&self, entry: &str) -> bool {
        self.prompts.values().any(|held| held.entry == entry)
    }

    /// A call is about to be sent. Returns false if it must not be: the prompts are being handed back.
    pub(super) fn begin(&mut self, line: u64) -> bool {
        if !self.closed
            && let Some(held) = self.prompts.get_mut(&line)
        {
            held.in_flight = true;
        }
        !self.closed
    }

    /// The call has failed: it is no longer in flight.
    pub(super) fn failed(&mut self, line: u64) {
        if let Some(held) = self.prompts.get_mut(&line) {
            held.in_flight = false;
        }
    }

    /// The ID of the entry of a prompt.
    pub(super) fn entry(&self, line: u64) -> Option<String> {
        self.prompts.get(&line).map(|held| held.entry.clone())
    }

    /// Removes a finished prompt.
    pub(super) fn finish(&mut self, line: u64) {
        self.prompts.remove(&line);
    }

    /// Lets no more calls begin. Removes all prompts that have no call in flight, and returns their entries.
    pub(super) fn close(&mut self) -> Vec<String> {
        self.closed = true;
        let idle = self.prompts.extract_if(|_, held| !held.in_flight);
        idle.map(|(_, held)| held.entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_in_flight_are_kept_and_all_others_are_handed_back() {
        let mut held = HeldPrompts::default();
        for line in 1..=3 {
            assert!(held.take(line, format!("{line}-0")));
        }
        assert!(held.begin(1) && held.begin(2));
        held.failed(2);
        let mut back = held.close();
        back.sort();
        assert_eq!(back, ["2-0", "3-0"]);
        assert!(!held.begin(1) && held.has("1-0") && !held.has("2-0"));
        held.finish(1);
        assert_eq!(held.entry(1), None);
    }

    #[test]
    fn a_prompt_that_was_handed_on_and_comes_back_is_not_sent_twice() {
        let mut held = HeldPrompts::default();
        assert!(held.take(1, "1-0".into()) && held.begin(1));
        assert!(!held.take(1, "9-0".into()), "its call is in flight");
        assert_eq!(held.entry(1).as_deref(), Some("9-0"));
        assert!(held.close().is_empty());
    }
}
