//! The parts of a page that are no charts: legends and tables.

use std::fmt::Write;

use super::Escaped;

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
}
