//! A page that stands alone: one HTML file with its style and its charts in it, without a script and without network.
//!
//! Pure: plain data in, text out. Whatever comes from outside goes through [`Escaped`]; all else here takes markup that
//! was made here. Each chart says in words what it shows, for readers who cannot see it.

mod axis;
mod chart;

use std::fmt::{Display, Formatter, Result, Write};

pub(crate) use axis::Axis;
pub(crate) use chart::Chart;

const STYLE: &str = include_str!("style.css");

/// Hatches that tell kinds of calls apart without colours.
const PATTERNS: &str = include_str!("patterns.svg");

/// A text from outside, made harmless for an element and for an attribute. Control characters become U+FFFD.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => f.write_char(' '),
            _ if character.is_control() => f.write_char('\u{fffd}'),
            _ => f.write_char(character),
        })
    }
}

/// A whole page: a heading, which is a plain text, and below it markup.
pub(crate) fn page(title: &str, body: &str) -> String {
    let title = Escaped(title);
    // The policy forbids what the page does not need, should a text ever come through unescaped.
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{PATTERNS}<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_a_text_wherever_it_stands() {
        let nasty = "</script><img src=x onerror='a()'>\"&\u{0}\u{1b}[31m\u{2028}é漢";
        let expected = "&lt;/script&gt;&lt;img src=x onerror=&#39;a()&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}[31m é漢";
        assert_eq!(Escaped(nasty).to_string(), expected);
    }

    #[test]
    fn a_page_asks_for_nothing_and_runs_nothing() {
        let chart = Chart::new("<s>", 100, Axis::time(1000.0), Axis::counts(5.0));
        let text = page("<b>", &chart.to_string()).replace("url(#", "");
        for foreign in [
            "http:", "https:", "src=", "@import", "url(", "<script", "<b>", "<s>",
        ] {
            assert!(!text.contains(foreign), "{foreign}");
        }
    }
}
