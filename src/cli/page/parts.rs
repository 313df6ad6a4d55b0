//! The parts of a page that are no charts: facts, tiles, legends, tables and bars of shares.

use std::fmt::Write;

use super::Escaped;

/// Labels and what they say, below each other: plain texts.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let mut text = String::from("<dl class=\"facts\">");
    for (label, fact) in facts {
        let (label, fact) = (Escaped(label), Escaped(fact));
        let _ = write!(text, "<dt>{label}</dt><dd><bdi>{fact}</bdi></dd>");
    }
    text + "</dl>\n"
}

/// A figure that stands out: plain texts.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    pub(crate) label: &'static str,
    pub(crate) figure: String,
    /// What else there is to say, in small letters.
    pub(crate) detail: String,
}

/// Figures side by side.
pub(crate) fn tiles(tiles: &[Tile]) -> String {
    let mut text = String::from("<ul class=\"tiles\">\n");
    for tile in tiles {
        let [figure, detail] = [&tile.figure, &tile.detail].map(|text| Escaped(text));
        let _ = writeln!(
            text,
            "<li><span>{}</span><b>{figure}</b><small>{detail}</small></li>",
            tile.label
        );
    }
    text + "</ul>\n"
}

/// Parts of a whole in one bar, by their kinds.
pub(crate) fn portions(parts: &[(&str, u64)]) -> String {
    let part = |(kind, amount): &(&str, u64)| {
        format!("<i class=\"{kind}\" style=\"flex:{amount} 0 2px\"></i>")
    };
    let parts = parts.iter().filter(|(_, amount)| *amount > 0);
    format!(
        "<div class=\"portions\">{}</div>\n",
        parts.map(part).collect::<String>()
    )
}

/// Kinds and their names: plain texts.
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
    /// Broken where it must be.
    Text(String),
}

/// A table with a heading to each column.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[Cell; N]]) -> String {
    let mut text = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for (column, heading) in headings.iter().enumerate() {
        let first = rows.first().map(|row| &row[column]);
        let class = if matches!(first, Some(Cell::Figure(_))) {
            " class=\"figure\""
        } else {
            ""
        };
        let _ = write!(text, "<th scope=\"col\"{class}>{}</th>", Escaped(heading));
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in rows {
        let cells = headings
            .iter()
            .zip(row)
            .map(|(heading, cell)| table_cell(heading, cell));
        let _ = writeln!(text, "<tr>{}</tr>", cells.collect::<String>());
    }
    text + "</tbody></table></div>\n"
}

fn table_cell(heading: &str, cell: &Cell) -> String {
    let heading = Escaped(heading);
    match cell {
        Cell::Figure(text) | Cell::Text(text) if text.is_empty() => "<td></td>".to_owned(),
        Cell::Figure(text) => {
            format!(
                "<td class=\"figure\" data-of=\"{heading}\">{}</td>",
                Escaped(text)
            )
        }
        Cell::Text(text) => {
            format!(
                "<td data-of=\"{heading}\"><bdi>{}</bdi></td>",
                Escaped(text)
            )
        }
    }
}

/// A table whose rows become paragraphs on a phone, each cell with its heading before it.
pub(crate) fn stacked<const N: usize>(headings: [&str; N], rows: &[[Cell; N]]) -> String {
    format!("<div class=\"stacked\">{}</div>", table(headings, rows))
}

/// A part of a whole.
#[derive(Clone, Debug)]
pub(crate) struct TimeShare {
    /// A class of the style sheet.
    pub(crate) kind: &'static str,
    pub(crate) label: &'static str,
    /// In any unit.
    pub(crate) amount: f64,
    /// The amount in words.
    pub(crate) words: String,
}

/// The parts one below the other, each with a bar as long as its share of the whole.
pub(crate) fn shares(parts: &[TimeShare]) -> String {
    let whole: f64 = parts.iter().map(|part| part.amount).sum();
    let mut text = String::from("<table class=\"shares\"><tbody>\n");
    for part in parts {
        let percent = if whole > 0.0 {
            part.amount / whole * 100.0
        } else {
            0.0
        };
        let least = if part.amount > 0.0 { 1 } else { 0 };
        let (kind, label, words) = (part.kind, Escaped(part.label), Escaped(&part.words));
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{label}</th><td class=\"meter\"><i class=\"{kind}\" \
             style=\"width:{percent:.2}%;min-width:{least}px\"></i></td>\
             <td class=\"figure\">{percent:.1} %</td><td class=\"figure\">{words}</td></tr>"
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
        let expected = "<td class=\"figure\" data-of=\"calls\">3</td>\
                        <td data-of=\"prompt\"><bdi>&lt;b&gt;\u{202e}x</bdi></td>";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn shares_are_of_the_sum_and_of_nothing_they_are_none() {
        let share = |amount| TimeShare {
            kind: "answered",
            label: "x",
            amount,
            words: String::new(),
        };
        assert!(shares(&[share(1.0), share(3.0)]).contains("width:75.00%"));
        assert!(shares(&[share(0.0)]).contains("width:0.00%;min-width:0px"));
        assert!(!portions(&[("answered", 3), ("failed", 0)]).contains("failed"));
    }
}
