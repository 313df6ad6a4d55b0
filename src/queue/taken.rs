//! The prompts that a worker has taken from the queue and not finished, and which of them have a call in flight.

use std::collections::HashMap;

/// The prompts that this worker has taken and not finished, by line.
#[derive(Debug, Default)]
pub(super) struct TakenPrompts {
    prompts: HashMap<u64, TakenPrompt>,
    /// No more calls may begin.
    closed: bool,
}

#[derive(Debug)]
struct TakenPrompt {
    /// The ID of its entry in the queue.
    entry: String,
    in_flight: bool,
}

impl TakenPrompts {
    /// Adds a prompt. Returns false if this worker has taken it already, before it was handed on; the new entry then replaces
    /// the old one.
    pub(super) fn take(&mut self, line: u64, entry: String) -> bool {
        let in_flight = self.prompts.get(&line).map(|taken| taken.in_flight);
        let taken = TakenPrompt {
            entry,
            in_flight: in_flight.unwrap_or(false),
        };
        self.prompts.insert(line, taken);
        in_flight.is_none()
    }

    /// Whether it holds this entry.
    pub(super) fn has(&self, entry: &str) -> bool {
        self.prompts.values().any(|taken| taken.entry == entry)
    }

    /// A call is about to be sent. Returns false if it must not be: the prompts are being handed back.
    pub(super) fn begin(&mut self, line: u64) -> bool {
        if !self.closed {
            self.set_in_flight(line, true);
        }
        !self.closed
    }

    /// Whether a call of this prompt is in flight: it is no longer once it has failed.
    pub(super) fn set_in_flight(&mut self, line: u64, in_flight: bool) {
        if let Some(taken) = self.prompts.get_mut(&line) {
            taken.in_flight = in_flight;
        }
    }

    /// The ID of the entry of a prompt.
    pub(super) fn entry(&self, line: u64) -> Option<String> {
        self.prompts.get(&line).map(|taken| taken.entry.clone())
    }

    /// Removes a finished prompt.
    pub(super) fn finish(&mut self, line: u64) {
        self.prompts.remove(&line);
    }

    /// Lets no more calls begin. Removes all prompts that have no call in flight, and returns their entries.
    pub(super) fn close(&mut self) -> Vec<String> {
        self.closed = true;
        let idle = self.prompts.extract_if(|_, taken| !taken.in_flight);
        idle.map(|(_, taken)| taken.entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_in_flight_are_kept_and_all_others_are_handed_back() {
        let mut taken = TakenPrompts::default();
        for line in 1..=3 {
            assert!(taken.take(line, format!("{line}-0")));
        }
        assert!(taken.begin(1) && taken.begin(2));
        taken.set_in_flight(2, false);
        let mut back = taken.close();
        back.sort();
        assert_eq!(back, ["2-0", "3-0"]);
        assert!(!taken.begin(1) && taken.has("1-0") && !taken.has("2-0"));
        taken.finish(1);
        assert_eq!(taken.entry(1), None);
    }

    #[test]
    fn a_prompt_that_was_handed_on_and_comes_back_is_not_sent_twice() {
        let mut taken = TakenPrompts::default();
        assert!(taken.take(1, "1-0".into()) && taken.begin(1));
        assert!(!taken.take(1, "9-0".into()), "its call is in flight");
        assert_eq!(taken.entry(1).as_deref(), Some("9-0"));
        assert!(taken.close().is_empty());
    }
}
