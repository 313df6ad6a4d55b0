//! The forecast as text, for a terminal of 80 columns.

use std::fmt::{Display, Formatter, Result};

use super::{Bottleneck, Forecast};
use crate::report::duration;

impl Display for Bottleneck {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Bottleneck::Pace => "the pace",
            Bottleneck::Tokens => "the tokens",
            Bottleneck::Workers => "the workers",
            Bottleneck::Latency => "the latency",
        })
    }
}

impl Bottleneck {
    /// What would make it faster.
    fn advice(self) -> &'static str {
        match self {
            Bottleneck::Pace => "more workers would not help",
            Bottleneck::Tokens => "fewer tokens a call would: a lower --max-tokens, for example",
            Bottleneck::Workers => "more of them would help",
            Bottleneck::Latency => "nothing but a faster answer would help",
        }
    }
}

impl Forecast {
    /// How the batch goes, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let ms = |took: std::time::Duration| duration(took.as_millis() as u64);
        let mut lines = vec![row(
            "takes",
            format!(
                "about {}, at {} calls a minute",
                ms(self.took),
                figure(self.calls_a_minute())
            ),
        )];
        if let Some(bottleneck) = self.bottleneck() {
            lines.push(row(
                "held back by",
                format!("{bottleneck}: {}", bottleneck.advice()),
            ));
        }
        for (n, (limit, took)) in self.alone.iter().enumerate() {
            let label = if n == 0 { "each alone" } else { "" };
            lines.push(row(label, format!("{limit} {}", ms(*took))));
        }
        lines.push(row(
            "under way",
            format!("at most {} at once", count(self.busiest as f64, "call")),
        ));
        lines
    }

    /// The table of workers, line by line; `yours` is the number that was asked for.
    #[must_use]
    pub fn table(&self, yours: Option<usize>) -> Vec<String> {
        let best = self
            .table
            .iter()
            .map(|row| row.took)
            .min()
            .unwrap_or_default();
        let line = |row: &super::Row| {
            let a_minute = self.calls * 60.0 / row.took.as_secs_f64().max(1e-3);
            let longer = row.took.as_secs_f64() / best.as_secs_f64().max(1e-9);
            let longer = if longer < 1.005 {
                String::new()
            } else {
                format!("x {longer:.2}")
            };
            let notes = [
                (self.enough == Some(row.workers), "enough"),
                (yours == Some(row.workers), "yours"),
            ];
            let notes: Vec<_> = notes
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, note)| *note)
                .collect();
            let took = duration(row.took.as_millis() as u64);
            let line = format!(
                "  {:>7} {took:>14} {:>16} {longer:>9}  {}",
                row.workers,
                figure(a_minute),
                notes.join(", ")
            );
            line.trim_end().to_owned()
        };
        let head = format!(
            "  {:>7} {:>14} {:>16} {:>9}",
            "workers", "duration", "calls a minute", "longer"
        );
        std::iter::once(head)
            .chain(self.table.iter().map(line))
            .collect()
    }
}

/// A label and what there is to say.
pub(crate) fn row(label: &str, value: impl Display) -> String {
    format!("  {label:<17} {value}")
}

/// A number of things.
pub(crate) fn count(number: f64, noun: &str) -> String {
    let number = number.round();
    format!(
        "{} {noun}{}",
        figure(number),
        if number == 1.0 { "" } else { "s" }
    )
}

/// A number as people write it: 1,234,567. Of less than a hundred, a place after the point if it is not whole.
pub(crate) fn figure(number: f64) -> String {
    if number < 100.0 && number.fract() >= 0.05 && number.fract() < 0.95 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let first = (digits.len() + 2) % 3 + 1;
    let (head, tail) = digits.split_at(first.min(digits.len()));
    let groups = tail
        .as_bytes()
        .chunks(3)
        .map(|group| String::from_utf8_lossy(group));
    groups.fold(head.to_owned(), |number, group| format!("{number},{group}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let table = [
            (0.0, "0"),
            (9.97, "10"),
            (9.84, "9.8"),
            (99.0, "99"),
            (590.8, "591"),
            (1234.0, "1,234"),
            (1e6, "1,000,000"),
            (123_456.0, "123,456"),
        ];
        for (number, expected) in table {
            assert_eq!(figure(number), expected);
        }
        assert_eq!(
            (count(1.0, "call"), count(1999.6, "call")),
            ("1 call".into(), "2,000 calls".into())
        );
    }
}
