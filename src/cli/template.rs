//! Jinja templates of the program's own texts: what is laid out for people is a template, what it shows is plain data.
//!
//! The filters write figures as everywhere in the program: `n` (a count), `rate`, `short`, `percent`, `ms` (a duration),
//! `counted(noun)`, and `cut(length)` for texts from outside.

use minijinja::value::Serde;
use minijinja::{Environment, Error, UndefinedBehavior, Value};
use serde::Serialize;

use super::format;
use super::page::Escaped;

/// Columns of a label in a text, and of a figure in a table.
const LABEL: usize = 17;
const HEAD: usize = 20;
const FIGURE: usize = 11;

/// Renders markup. Every value is escaped, unless the template says that it is `safe`.
pub(super) fn html(template: &str, values: &impl Serialize) -> Result<String, Error> {
    let mut environment = environment();
    environment.set_formatter(|out, _, value| {
        let text = value.to_string();
        if value.is_safe() {
            out.write_str(&text)?;
        } else {
            write!(out, "{}", Escaped(&text))?;
        }
        Ok(())
    });
    environment.render_str(template, Value::from(Serde(values)))
}

/// Renders a text for a terminal. Control characters of values become U+FFFD.
pub(super) fn text(template: &str, values: &impl Serialize) -> Result<String, Error> {
    let mut environment = environment();
    environment.set_formatter(|out, _, value| {
        out.write_str(&value.to_string().replace(char::is_control, "\u{fffd}"))?;
        Ok(())
    });
    environment.add_filter("row", |label: &str| {
        let label = format::shortened(label, LABEL);
        format!("  {label:<LABEL$} ")
    });
    environment.add_filter("head", |text: &str| format!("{text:<HEAD$}"));
    environment.add_filter("right", |text: &str| format!("{text:>FIGURE$}"));
    environment.render_str(template, Value::from(Serde(values)))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("n", format::grouped);
    environment.add_filter("rate", format::number);
    environment.add_filter("short", format::short_number);
    environment.add_filter("percent", |percent: f64| format!("{percent:.1}"));
    environment.add_filter("ms", format::milliseconds);
    environment.add_filter("counted", |count: u64, noun: &str| {
        format::counted(count, noun)
    });
    environment.add_filter("cut", |text: &str, most: usize| {
        format::shortened(text, most)
    });
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_escaped_for_where_they_go_and_a_missing_one_is_an_error() {
        let values = json!({"nasty": "<b>\u{1b}[2J\"", "ours": "<i>"});
        let markup = html("{{ nasty }}{{ ours|safe }}", &values).unwrap();
        assert_eq!(markup, "&lt;b&gt;\u{fffd}[2J&quot;<i>");
        assert_eq!(text("{{ nasty }}", &values).unwrap(), "<b>\u{fffd}[2J\"");
        assert!(text("{{ missing }}", &values).is_err());
    }

    #[test]
    fn figures_are_written_as_everywhere() {
        let values = json!({"count": 1234, "ms": 61_000, "share": 12.34});
        let template =
            "{{ count|n }} {{ count|counted(\"call\") }} {{ ms|ms }} {{ share|percent }}";
        assert_eq!(
            text(template, &values).unwrap(),
            "1,234 1,234 calls 1 min 1 s 12.3"
        );
    }
}
