//! A page that stands alone: one HTML file with its style and its charts in it, without a script and without network.
//!
//! Pure: plain data in, text out. Whatever comes from outside goes through [`Escaped`]; all else here takes markup that
//! was made here. Each chart says in words what it shows, for readers who cannot see it.

mod axis;
mod chart;
mod parts;

use std::fmt::{Display, Formatter, Result, Write};

pub(crate) use axis::Axis;
pub(crate) use chart::Chart;
pub(crate) use parts::{Cell, legend, table};

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

/// A page in the making.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with this heading, a plain text.
    pub(crate) fn new(title: &str) -> Self {
        Page {
            title: title.to_owned(),
            body: String::new(),
        }
    }

    /// Adds a paragraph above the sections: markup.
    pub(crate) fn lead(&mut self, markup: impl Display) {
        self.body += &format!("<p class=\"lead\">{markup}</p>\n");
    }

    /// Adds markup as it is.
    pub(crate) fn add(&mut self, markup: impl Display) {
        self.body += &format!("{markup}\n");
    }

    /// Adds a section: a heading and a sentence on how to read it, which are plain texts; and its content, which is
    /// markup. A link can lead to it.
    pub(crate) fn section(&mut self, heading: &str, note: &str, content: impl Display) {
        let anchor = anchor(heading);
        let (heading, note) = (Escaped(heading), Escaped(note));
        self.body += &format!(
            "<section id=\"{anchor}\">\n<h2><a href=\"#{anchor}\">{heading}</a></h2>\n\
             <p class=\"note\">{note}</p>\n{content}\n</section>\n"
        );
    }
}

/// What a link to a section is named: its heading, in small letters and hyphens.
fn anchor(heading: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    heading.chars().map(letter).collect()
}

impl Display for Page {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (title, body) = (Escaped(&self.title), &self.body);
        // The policy forbids what the page does not need, should a text ever come through unescaped.
        write!(
            f,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; img-src data:\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n{PATTERNS}<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_a_text_wherever_it_stands() {
        let nasty = "</script><img src=x onerror='a()'>\"&\u{0}\u{1b}[31m\u{2028}é漢";
        let expected = "&lt;/script&gt;&lt;img src=x onerror=&#39;a()&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}[31m é漢";
        assert_eq!(Escaped(nasty).to_string(), expected);
        assert_eq!(anchor("<b>\"A b\""), "-b--a-b-");
    }

    #[test]
    fn a_page_asks_for_nothing_and_runs_nothing() {
        let mut page = Page::new("<b>");
        page.lead("x");
        let chart = Chart::new("<s>", 100, Axis::time(1000.0), Axis::counts(5.0));
        page.section("<i>", "<u>", chart);
        let text = page.to_string().replace("url(#", "");
        for foreign in [
            "http:", "https:", "src=", "@import", "url(", "<script", "<b>", "<i>", "<u>", "<s>",
        ] {
            assert!(!text.contains(foreign), "{foreign}");
        }
    }
}
