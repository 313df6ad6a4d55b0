//! Text for people: what it means, a terminal shows as a colour.
//!
//! Control characters are cleaned away here, so that no text from outside reaches a terminal with one.

use console::Style;

use crate::text::cleaned;

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emphasis {
    Good,
    Bad,
    Paused,
    Minor,
    /// The word at the beginning of an error.
    Alarm,
}

/// The text in the colour of its meaning.
pub(super) fn paint(meaning: Emphasis, text: &str, colour: bool) -> String {
    let text = cleaned(text);
    let style = Style::new().force_styling(colour);
    let style = match meaning {
        Emphasis::Good => style.green(),
        Emphasis::Bad => style.red(),
        Emphasis::Paused => style.yellow(),
        Emphasis::Minor => style.dim(),
        Emphasis::Alarm => style.red().bold(),
    };
    style.apply_to(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_all_that_a_meaning_changes_and_control_characters_go() {
        let text = "1 failed\u{1b}[2J";
        assert_eq!(paint(Emphasis::Bad, text, false), "1 failed\u{fffd}[2J");
        let painted = "\u{1b}[31m1 failed\u{fffd}[2J\u{1b}[0m";
        assert_eq!(paint(Emphasis::Bad, text, true), painted);
    }
}
