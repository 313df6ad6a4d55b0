//! Jinja templates of the program's own texts: what is laid out for people is a template, what it shows is plain data.
//!
//! The filters write figures as everywhere in the program: `n` (a count), `rate`, `short`, `decimal`, `ms` (a duration), `countdown`, `local` (an instant),
//! `counted(noun)`, `money(currency)`, and `cut(length)` for texts from outside. In texts for a terminal, `left(columns)` and
//! `right(columns)` make columns, `row` a label, `wrap(indent)` lines; `good`, `bad`, `alarm`, `paused` and `dim` give colour.

use std::io;
use std::time::Duration;

use console::{Style, Term, measure_text_width, truncate_str};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, HtmlEscape, UndefinedBehavior, Value};
use serde::Serialize;

use super::page;
use crate::text;

/// The word at the beginning of an error, as a terminal shows it.
pub(super) const ALARM: &str = "red.bold";
pub(super) const GOOD: &str = "green";
const BAD: &str = "red";
pub(super) const PAUSED: &str = "yellow";

/// Columns of a label in a text.
const LABEL: usize = 17;

/// Where a text is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextLook {
    /// Columns.
    pub(super) width: usize,
    pub(super) colour: bool,
    /// Whether it shows more than ASCII.
    pub(super) unicode: bool,
}

impl TextLook {
    /// As in a file, or where nothing is known.
    pub(super) const PLAIN: TextLook = TextLook {
        width: 80,
        colour: false,
        unicode: true,
    };

    /// Where a line may be of any length.
    pub(super) const ENDLESS: TextLook = TextLook {
        width: usize::MAX,
        ..TextLook::PLAIN
    };

    /// Standard output as it is now.
    pub(super) fn of_stdout() -> Self {
        let size = Term::stdout().size_checked();
        TextLook {
            width: size.map_or(Self::PLAIN.width, |(_, columns)| columns.into()),
            colour: console::colors_enabled(),
            ..Self::PLAIN
        }
    }
}

/// The text in this style, if colours are wanted. Control characters are cleaned away, so that no text from outside
/// reaches a terminal with one.
pub(super) fn paint(style: &str, text: &str, colour: bool) -> String {
    let style = Style::from_dotted_str(style).force_styling(colour);
    style.apply_to(text::cleaned(text)).to_string()
}

/// Renders markup, with the templates of pages at hand. Every value is escaped, unless the template says that it is `safe`.
///
/// # Errors
/// None that tests have not found: the template does not fit the values.
pub(super) fn html(template: &str, values: &impl Serialize) -> io::Result<String> {
    let mut environment = environment();
    // So what a macro makes is markup; the values in it go through `escaped`.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    for (name, template) in page::TEMPLATES {
        let added = environment.add_template(name, template);
        added.map_err(io::Error::other)?;
    }
    render(template, values, environment, escaped)
}

/// A text from outside, made harmless for an element and for an attribute. Control characters become U+FFFD.
fn escaped(text: &str) -> String {
    let line = text.replace(['\n', '\t', '\u{2028}', '\u{2029}'], " ");
    HtmlEscape(&line.replace(char::is_control, "\u{fffd}")).to_string()
}

/// Renders a text for a terminal: no line is wider than that, and control characters of values become U+FFFD.
///
/// # Errors
/// None that tests have not found: the template does not fit the values.
pub(super) fn text(template: &str, values: &impl Serialize, look: TextLook) -> io::Result<String> {
    let mut environment = environment();
    environment.add_filter("row", |label: &str| {
        let label = text::shortened(label, LABEL);
        format!("  {label:<LABEL$} ")
    });
    let left = |text: &str, columns: usize| format!("{text:<columns$}");
    let right = |text: &str, columns: usize| format!("{text:>columns$}");
    environment.add_filter("left", left);
    environment.add_filter("right", right);
    environment.add_filter("wrap", move |text: &str, indent: usize| {
        let width = look.width.saturating_sub(indent).saturating_add(1);
        let lines = folded(&text::one_line(text), width, 0);
        // The line feeds are ours, not the value's.
        Value::from_safe_string(lines.replace('\n', &format!("\n{:indent$}", "")))
    });
    let colours = [
        ("alarm", ALARM),
        ("good", GOOD),
        ("bad", BAD),
        ("paused", PAUSED),
        ("dim", "dim"),
    ];
    for (name, style) in colours {
        environment.add_filter(name, move |text: String| {
            Value::from_safe_string(paint(style, &text, look.colour))
        });
    }
    let text = render(template, values, environment, |text| {
        text::cleaned(text).into_owned()
    })?;
    let lines = text
        .lines()
        .map(|line| truncate_str(line.trim_end(), look.width, "…"));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The same where a line may be of any length.
pub(super) fn endless(template: &str, values: &impl Serialize, colour: bool) -> String {
    let look = TextLook {
        colour,
        ..TextLook::ENDLESS
    };
    // None that tests have not found.
    text(template, values, look).unwrap_or_else(|error| error.to_string())
}

/// Values that the template does not mark as `safe` are cleaned.
fn render(
    template: &str,
    values: &impl Serialize,
    mut environment: Environment<'_>,
    clean: impl Fn(&str) -> String + Send + Sync + 'static,
) -> io::Result<String> {
    environment.set_formatter(move |out, _, value| {
        let text = value.to_string();
        let text = if value.is_safe() { text } else { clean(&text) };
        out.write_str(&text).map_err(Error::from)
    });
    let values = Value::from(Serde(values));
    environment
        .render_str(template, values)
        .map_err(io::Error::other)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("n", text::grouped);
    environment.add_filter("rate", text::number);
    environment.add_filter("short", text::short_number);
    environment.add_filter("decimal", |number: f64| format!("{number:.1}"));
    environment.add_filter("ms", text::milliseconds);
    environment.add_filter("countdown", |ms| text::countdown(Duration::from_millis(ms)));
    environment.add_filter("local", local_time);
    environment.add_filter("counted", text::counted);
    environment.add_filter("money", text::money);
    environment.add_filter("cut", text::shortened);
    environment
}

/// A time of RFC 3339 as the local time with its zone, to the second.
fn local_time(moment: &str) -> Result<String, Error> {
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let moment: jiff::Timestamp = moment.parse().map_err(wrong)?;
    let local = moment.to_zoned_datetime(jiff::tz::TimeZone::system());
    Ok(local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

/// Lines narrower than that, broken at spaces. The following lines of a sentence have this indent in addition to its own.
/// With an indent, commands stay whole: people paste them.
pub(super) fn folded(text: &str, width: usize, indent: usize) -> String {
    let mut folded = Vec::new();
    for line in text.lines() {
        let is_whole = indent > 0 && line.contains("paceline ");
        let indent = line.len() - line.trim_start().len() + indent;
        let mut rest = line.to_owned();
        while measure_text_width(&rest) >= width && !is_whole {
            let begin = rest.len() - rest.trim_start().len();
            let spaces = rest.match_indices(' ').map(|(at, _)| at);
            let fits = |at: &usize| measure_text_width(&rest[..*at]) < width;
            let Some(space) = spaces.filter(|at| *at > begin).take_while(fits).last() else {
                break;
            };
            let next = format!("{:indent$}{}", "", rest[space..].trim_start());
            rest.truncate(space);
            folded.push(rest.trim_end().to_owned());
            rest = next;
        }
        folded.push(rest);
    }
    folded.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(template: &str, values: &serde_json::Value) -> String {
        text(template, values, TextLook::PLAIN).unwrap()
    }

    #[test]
    fn values_are_escaped_for_where_they_go_and_a_missing_one_is_an_error() {
        let values = json!({"nasty": "<b>\u{1b}[2J\"", "ours": "<i>"});
        let markup = html("{{ nasty }}{{ ours|safe }}", &values).unwrap();
        assert_eq!(markup, "&lt;b&gt;\u{fffd}[2J&quot;<i>");
        assert_eq!(plain("{{ nasty }}", &values), "<b>\u{fffd}[2J\"");
        assert_eq!(plain("{{ nasty|bad }}", &values), "<b>\u{fffd}[2J\"");
        assert_eq!(plain("{{ nasty|wrap(2) }}", &values), "<b>\u{fffd}[2J\"");
        assert!(text("{{ missing }}", &values, TextLook::PLAIN).is_err());
    }

    #[test]
    fn a_text_from_outside_is_a_text_wherever_it_stands() {
        let nasty = "</script><img src=x onerror='a()'>\"&\u{0}\u{1b}[31m\u{2028}é漢";
        let expected = "&lt;&#x2f;script&gt;&lt;img src=x onerror=&#x27;a()&#x27;&gt;&quot;&amp;\u{fffd}\u{fffd}[31m é漢";
        assert_eq!(escaped(nasty), expected);
    }

    #[test]
    fn figures_are_written_as_everywhere() {
        let values = json!({"count": 1234, "ms": 61_000, "share": 12.34});
        let template =
            "{{ count|n }} {{ count|counted(\"call\") }} {{ ms|ms }} {{ share|decimal }}";
        assert_eq!(plain(template, &values), "1,234 1,234 calls 1 min 1 s 12.3");
    }

    #[test]
    fn a_line_fits_the_terminal_with_its_colours_and_a_sentence_is_wrapped() {
        let look = TextLook {
            width: 12,
            colour: true,
            ..TextLook::PLAIN
        };
        let values = json!({"long": "one two three four"});
        let cut = text("{{ long|bad }}", &values, look).unwrap();
        assert_eq!(console::strip_ansi_codes(&cut), "one two thr…");
        assert!(cut.starts_with("\u{1b}[31mone"), "{cut:?}");
        let wrapped = text("--{{ long|wrap(2) }}", &values, look).unwrap();
        assert_eq!(wrapped, "--one two\n  three four");
    }
    #[test]
    fn a_long_line_ends_between_words_and_a_command_stays_whole() {
        let text = "error: the first 20 prompts all failed\n  help: is -m gpt-9 right, really?\n  next  paceline export a.jsonl -o b.csv";
        let expected = "error: the first 20\n  prompts all failed\n  help: is -m gpt-9\n    right, really?\n  next  paceline export a.jsonl -o b.csv";
        assert_eq!(folded(text, 21, 2), expected);
        assert_eq!(folded(text, 200, 2), text);
        let coloured = "\u{1b}[32m✓ 1 answered\u{1b}[0m, \u{1b}[31m✗ 2 failed\u{1b}[0m";
        let expected = "\u{1b}[32m✓ 1 answered\u{1b}[0m, \u{1b}[31m✗ 2\n  failed\u{1b}[0m";
        assert_eq!(folded(coloured, 18, 2), expected);
        let whole = "a".repeat(30);
        assert_eq!(
            folded(&format!("  {whole} b"), 20, 2),
            format!("  {whole} b")
        );
    }

    #[test]
    fn colour_is_all_that_a_meaning_changes_and_control_characters_go() {
        let text = "1 failed\u{1b}[2J";
        assert_eq!(paint(BAD, text, false), "1 failed\u{fffd}[2J");
        let painted = "\u{1b}[31m1 failed\u{fffd}[2J\u{1b}[0m";
        assert_eq!(paint(BAD, text, true), painted);
    }
}
