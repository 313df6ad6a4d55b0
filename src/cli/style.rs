//! Text for people, in pieces: each has a meaning, which a terminal shows as a colour.
//!
//! Control characters are cleaned away here, so that no text from outside reaches a terminal with one.

use console::Style;

use super::format::cleaned;

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emphasis {
    Good,
    Bad,
    Paused,
    Plain,
    Minor,
    /// The word at the beginning of an error.
    Alarm,
}

/// A piece of text with one meaning.
pub(super) type Piece = (Emphasis, String);

/// The text in the colour of its meaning.
pub(super) fn paint(meaning: Emphasis, text: &str, colour: bool) -> String {
    let text = cleaned(text);
    let style = Style::new().force_styling(colour);
    let style = match meaning {
        Emphasis::Plain => return text.into_owned(),
        Emphasis::Good => style.green(),
        Emphasis::Bad => style.red(),
        Emphasis::Paused => style.yellow(),
        Emphasis::Minor => style.dim(),
        Emphasis::Alarm => style.red().bold(),
    };
    style.apply_to(text).to_string()
}

/// A text of one or more pieces and lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Text(Vec<Piece>);

impl Text {
    /// Adds a piece.
    pub(super) fn add(&mut self, meaning: Emphasis, text: impl Into<String>) {
        self.0.push((meaning, text.into()));
    }

    /// Adds a plain piece on a line of its own.
    pub(super) fn add_line(&mut self, line: &str) {
        if !self.0.is_empty() {
            self.add(Emphasis::Plain, "\n");
        }
        self.add(Emphasis::Plain, line);
    }

    /// Adds a line that begins with a green label, as in `  help: …`.
    pub(super) fn add_label(&mut self, label: &str, text: impl Into<String>) {
        self.add(Emphasis::Good, format!("\n  {label}: "));
        self.add(Emphasis::Plain, text);
    }

    pub(super) fn paint(&self, colour: bool) -> String {
        let pieces = self.0.iter();
        pieces
            .map(|(meaning, text)| paint(*meaning, text, colour))
            .collect()
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        let mut all = Text::default();
        all.add(Emphasis::Plain, text);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_all_that_a_meaning_changes_and_control_characters_go() {
        let mut text = Text::from("2 answered\u{1b}[2J");
        text.add(Emphasis::Bad, ", 1 failed");
        text.add_line("next");
        assert_eq!(text.paint(false), "2 answered\u{fffd}[2J, 1 failed\nnext");
        let painted = "2 answered\u{fffd}[2J\u{1b}[31m, 1 failed\u{1b}[0m\nnext";
        assert_eq!(text.paint(true), painted);
    }
}
