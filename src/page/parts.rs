//! The parts of a page that are no charts: legends, tables and bars of shares.

use std::fmt::Write;

use super::Escaped;

/// Kinds and what they are called: plain texts.
pub(crate) fn legend(kinds: &[(&str, &str)]) -> String {
    let entry = |(kind, label): &(&str, &str)| {
        format!("<li><i class=\"swatch {kind}\"></i>{}</li>", Escaped(label))
    };
    format!(
        "<ul class=\"legend\">{}</ul>\n",
        kinds.iter().map(entry).collect::<String>()
    )
}

/// What stands in a table: a plain text.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// Set to the right.
    Figure(String),
    /// Broken where it must be; whatever it says stays within.
    Text(String),
}

/// A table with a heading to each column.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[Cell; N]]) -> String {
    let mut text = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for (column, heading) in headings.iter().enumerate() {
        let is_figure = rows
            .first()
            .is_some_and(|row| matches!(row[column], Cell::Figure(_)));
        let class = if is_figure { " class=\"figure\"" } else { "" };
        let _ = write!(text, "<th scope=\"col\"{class}>{}</th>", Escaped(heading));
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in rows {
        let cells = headings.iter().zip(row).map(|(heading, cell)| match cell {
            Cell::Figure(text) | Cell::Text(text) if text.is_empty() => "<td></td>".to_owned(),
            Cell::Figure(figure) => {
                format!(
                    "<td class=\"figure\" data-of=\"{}\">{}</td>",
                    Escaped(heading),
                    Escaped(figure)
                )
            }
            Cell::Text(text) => {
                format!(
                    "<td data-of=\"{}\"><bdi>{}</bdi></td>",
                    Escaped(heading),
                    Escaped(text)
                )
            }
        });
        let _ = writeln!(text, "<tr>{}</tr>", cells.collect::<String>());
    }
    text + "</tbody></table></div>\n"
}

/// A table whose rows become paragraphs on a phone, each figure with its heading before it.
pub(crate) fn stacked<const N: usize>(headings: [&str; N], rows: &[[Cell; N]]) -> String {
    format!("<div class=\"stacked\">{}</div>", table(headings, rows))
}

/// A part of a whole.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// A class of the style sheet.
    pub(crate) kind: &'static str,
    /// What it is.
    pub(crate) label: String,
    /// How much, in any unit.
    pub(crate) amount: f64,
    /// The amount in words.
    pub(crate) words: String,
    /// The amount for each of something, in words; left out where there is no room.
    pub(crate) each: String,
}

/// The parts one below the other, each with a bar as long as its share of the whole.
pub(crate) fn shares(parts: &[Share]) -> String {
    let whole: f64 = parts.iter().map(|part| part.amount).sum();
    let mut text = String::from("<table class=\"shares\"><tbody>\n");
    for Share {
        kind,
        label,
        amount,
        words,
        each,
    } in parts
    {
        let percent = if whole > 0.0 {
            amount / whole * 100.0
        } else {
            0.0
        };
        // The least is seen; nothing is not.
        let least = if *amount > 0.0 { 1 } else { 0 };
        let [label, words, each] = [label, words, each].map(|text| Escaped(text));
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{label}</th><td class=\"meter\"><i class=\"{kind}\" style=\"width:{percent:.2}%;min-width:{least}px\"></i></td>\
             <td class=\"figure\">{percent:.1} %</td><td class=\"figure\">{words}</td><td class=\"figure each\">{each}</td></tr>"
        );
    }
    text + "</tbody></table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_isolates_what_comes_from_outside() {
        let rows = [[
            Cell::Figure("3".to_owned()),
            Cell::Text("<b>\u{202e}x".to_owned()),
        ]];
        let text = table(["calls", "prompt"], &rows);
        assert!(text.contains("<td class=\"figure\" data-of=\"calls\">3</td><td data-of=\"prompt\"><bdi>&lt;b&gt;\u{202e}x</bdi></td>"), "{text}");
    }

    #[test]
    fn shares_are_of_the_sum_and_of_nothing_they_are_none() {
        let share = |amount| Share {
            kind: "flight",
            label: "x".to_owned(),
            amount,
            words: String::new(),
            each: String::new(),
        };
        assert!(shares(&[share(1.0), share(3.0)]).contains("width:75.00%"));
        assert!(shares(&[share(0.0)]).contains("width:0.00%;min-width:0px"));
    }
}
