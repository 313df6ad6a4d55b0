//! Makes a prompt's text from its fields, with a template in the language of Jinja.
//!
//! A name that the prompt does not have is an error and never a gap in the text; so is a blank text. A template that uses
//! no field, or has one in single braces, would send the same text for every row: it is refused.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use super::{InputRow, PromptError, short};

/// The only template of its environment.
const NAME: &str = "the template";

/// The most steps of a template for one prompt, each also worth 64 bytes of text: it ends within about a second, with at
/// most 64 MB, which is four times the longest prompt.
const FUEL: u64 = 1_000_000;

/// A template for prompts. It may use `{{prompt}}`, every field of the object or row, `{{id}}` and `{{line}}`.
///
/// One line break at the end of the source is dropped. Nothing is escaped. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    environment: Arc<Environment<'static>>,
    /// The fields that it uses.
    takes: HashSet<String>,
    /// Names that stand in single braces.
    braced: Vec<String>,
}

impl Template {
    /// Reads a template. The name, usually that of its file, is for errors.
    ///
    /// # Errors
    /// [`PromptError`], with the line of the template.
    pub(crate) fn new(source: &str, name: &str) -> Result<Self, PromptError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_debug(true);
        environment.set_fuel(Some(FUEL));
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let failed = |error: minijinja::Error| {
            let line = error.line().unwrap_or(1);
            PromptError::within(format!("{name}, line {line}"), in_plain_words(&error))
        };
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(failed)?;
        let template = environment.get_template(NAME).map_err(failed)?;
        let mut names = template.undeclared_variables(false);
        environment.globals().for_each(|(global, _)| {
            names.remove(global);
        });
        let braced = in_single_braces(source);
        if names.is_empty() {
            let field = braced.first().map_or("prompt", String::as_str);
            let problem = format!(
                "it uses no field, so all prompts would be the same; write {{{{{field}}}}} for a field"
            );
            return Err(PromptError::within(name, problem));
        }
        Ok(Template {
            environment: Arc::new(environment),
            takes: names,
            braced,
        })
    }

    /// Whether it uses this field.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.takes.contains(name)
    }

    pub(super) fn render(&self, row: &InputRow) -> Result<String, PromptError> {
        let names = names(row);
        if let Some(name) = self.braced.iter().find(|name| names.contains_key(&***name)) {
            let problem = format!(
                "the template has {{{name}}} in single braces; write {{{{{name}}}}} for the field, or {{{{'{{{name}}}'}}}} for these letters"
            );
            return Err(PromptError::at(row.line, problem));
        }
        let template = self.environment.get_template(NAME);
        let text = template.and_then(|template| template.render(Value::from_pairs(names)));
        let problem = match text {
            Ok(text) if !text.trim().is_empty() => return Ok(text),
            Ok(_) => "the template makes a blank text".to_owned(),
            Err(error) => misfit(&error, row),
        };
        Err(PromptError::at(row.line, problem))
    }
}

/// The names that stand in single braces, outside the marks of the language itself.
fn in_single_braces(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = source;
    while let Some(begin) = rest.find('{') {
        rest = &rest[begin + 1..];
        let end = match rest.chars().next() {
            Some('{') => "}}",
            Some('%')
                if rest[1..]
                    .trim_start_matches(['-', '+', ' '])
                    .starts_with("raw") =>
            {
                "endraw"
            }
            Some('%') => "%}",
            Some('#') => "#}",
            _ => {
                let name = rest.split_once('}').map_or("", |(name, _)| name.trim());
                let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
                if !name.is_empty() && is_name(name) {
                    names.push(name.to_owned());
                }
                continue;
            }
        };
        rest = rest.split_once(end).map_or("", |(_, rest)| rest);
    }
    names
}

/// Why a template does not fit, and the names that it may use.
fn misfit(error: &minijinja::Error, row: &InputRow) -> String {
    let line = error.line().unwrap_or(1);
    let problem = format!("{} in line {line} of the template", in_plain_words(error));
    if error.kind() != ErrorKind::UndefinedError {
        return problem;
    }
    let names: Vec<_> = names(row).into_keys().collect();
    format!("{problem}; there are {}", short(&names.join(", ")))
}

/// The names that a template may use. A field of the prompt wins over those that every prompt has.
fn names(row: &InputRow) -> BTreeMap<&str, Value> {
    let mut names = BTreeMap::from([
        ("line", Value::from(row.line)),
        ("id", Value::from(row.custom_id())),
    ]);
    if let Some(prompt) = &row.prompt {
        names.insert("prompt", Value::from(prompt.as_str()));
    }
    for (name, value) in &row.fields {
        names.insert(name, Value::from(Serde(value)));
    }
    names
}

fn in_plain_words(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError | ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Prompts, Reading};
    use super::*;

    fn read(format: Format, template: &str, input: &str) -> Result<Vec<String>, String> {
        let template = Some(Template::new(template, "t.html").unwrap());
        let reading = Reading {
            format: Some(format),
            template,
            ..Reading::default()
        };
        let texts =
            Prompts::new(input.as_bytes(), reading).map(|prompt| prompt.map(|prompt| prompt.text));
        texts
            .collect::<Result<_, _>>()
            .map_err(|error: PromptError| error.to_string())
    }

    fn text(template: &str, input: &str) -> Result<String, String> {
        read(Format::Json, template, input).map(|mut texts| texts.remove(0))
    }

    #[test]
    fn a_template_takes_the_prompt_its_name_and_its_line_in_every_format() {
        let template = "{{line}}/{{id}}: {{prompt}}!\n";
        assert_eq!(
            read(Format::Text, template, "\na b\n").unwrap(),
            ["2/line-2: a b!"]
        );
        assert_eq!(
            read(Format::Json, template, "\"a\"\n{\"id\":7,\"prompt\":\"b\"}").unwrap(),
            ["1/line-1: a!", "2/7: b!"]
        );
        assert_eq!(
            read(Format::Csv, template, "custom_id,prompt\nx,\"a\nb\"\n,c\n").unwrap(),
            ["2/x: a\nb!", "4/line-4: c!"]
        );
    }

    #[test]
    fn fields_may_be_nested_and_win_over_what_every_prompt_has() {
        let input =
            r#"{"prompt":"p","line":"mine","tags":["a","b"],"meta":{"n":{"x":1.5}},"yes":true}"#;
        let template = "{{line}} {{tags|join('+')}} {{meta.n.x}} {% for t in tags %}<{{t}}>{% endfor %} {{yes}}";
        assert_eq!(text(template, input).unwrap(), "mine a+b 1.5 <a><b> True");
    }

    #[test]
    fn nothing_is_escaped_and_one_line_break_at_the_end_is_dropped() {
        assert_eq!(
            text("{{prompt}}\r\n\r\n", r#""<a href=\"b\">&'""#).unwrap(),
            "<a href=\"b\">&'\r\n"
        );
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_with_both_lines() {
        let input = "{\"a\":1}\n{\"b\":1}";
        let expected = "line 2: `a` is undefined in line 2 of the template; there are b, id, line";
        assert_eq!(
            read(Format::Json, "hi\n{{a}}", input).unwrap_err(),
            expected
        );
        assert!(
            text("{{m.x.y}}", r#"{"m":{}}"#)
                .unwrap_err()
                .contains("`m.x` is undefined")
        );
        assert!(
            text("{% if b %}{% endif %}", r#"{"m":{}}"#)
                .unwrap_err()
                .contains("`b` is undefined")
        );
        assert!(
            text("{{prompt}}", r#"{"m":{}}"#)
                .unwrap_err()
                .contains("`prompt` is undefined")
        );
    }

    #[test]
    fn a_text_that_comes_out_blank_is_an_error() {
        assert_eq!(
            text("{{a}} ", r#"{"a":""}"#).unwrap_err(),
            "line 1: the template makes a blank text"
        );
    }

    #[test]
    fn an_empty_prompt_is_an_error_only_where_the_template_has_a_place_for_it() {
        let input = "topic,prompt\nrain, \nsnow,why\n";
        let error = read(Format::Csv, "{{prompt}} {{topic}}", input).unwrap_err();
        assert!(error.starts_with("line 2: its prompt is empty"), "{error}");
        assert_eq!(
            read(Format::Csv, "{{topic}}", input).unwrap(),
            ["rain", "snow"]
        );
    }

    #[test]
    fn a_template_that_uses_no_field_is_refused() {
        let error = |source| Template::new(source, "t.txt").unwrap_err().to_string();
        let expected = "t.txt: it uses no field, so all prompts would be the same; write {{prompt}} for a field";
        for source in [
            "Hello",
            "",
            "{# {{prompt}} #}",
            "{% set x = 1 %}{{x}}",
            "{% for i in range(2) %}{{i}}{% endfor %}",
            "Answer: {prompt}",
        ] {
            assert_eq!(error(source), expected, "{source}");
        }
        assert!(error("About { topic }").contains("write {{topic}} for"));
    }

    #[test]
    fn a_field_in_single_braces_is_refused() {
        let error = text("{{id}}: {topic}", r#"{"topic":"t"}"#).unwrap_err();
        let expected = "line 1: the template has {topic} in single braces; write {{topic}} for the field, or {{'{topic}'}} for these letters";
        assert_eq!(error, expected);
        let table = [
            ("{{'{topic}'}} {{topic}}", "{topic} t"),
            ("{% raw %}{topic}{% endraw %} {{topic}}", "{topic} t"),
            (
                "{\"a\": {other}, \"b\": {\"c\": 2}} {{topic}}",
                "{\"a\": {other}, \"b\": {\"c\": 2}} t",
            ),
        ];
        for (source, made) in table {
            assert_eq!(text(source, r#"{"topic":"t"}"#).unwrap(), made);
        }
    }

    #[test]
    fn a_template_that_does_not_end_is_stopped() {
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{{topic}}",
            "{% for a in range(99999) %}{{topic * 9999}}{% endfor %}",
        ] {
            let error = text(source, r#"{"topic":"t"}"#).unwrap_err();
            assert!(error.contains("fuel"), "{error}");
        }
    }

    #[test]
    fn a_batch_line_takes_no_template() {
        let input = r#" {"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}"#;
        let expected =
            "line 1, column 2: a Batch line brings its own request: leave the template out";
        assert_eq!(text("{{body}}", input).unwrap_err(), expected);
        assert_eq!(
            text("{{title}}: {{body}}", r#"{"title":"t","body":"b"}"#).unwrap(),
            "t: b"
        );
    }

    #[test]
    fn what_is_wrong_with_a_template_has_its_line() {
        let error = |source| Template::new(source, "t.txt").unwrap_err().to_string();
        assert!(
            error("one\n{{ two").starts_with("t.txt, line 2: unexpected end of input"),
            "{}",
            error("one\n{{ two")
        );
        assert!(
            error("{% if %}").starts_with("t.txt, line 1: "),
            "{}",
            error("{% if %}")
        );
        assert!(
            error("{% nonsense %}").contains("unknown statement nonsense"),
            "{}",
            error("{% nonsense %}")
        );
    }
}
