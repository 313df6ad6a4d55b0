//! `--schema`: a JSON Schema from a file, or from its short form.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::CommandError;
use crate::api::{Client, Schema};

/// Makes a client ask for answers that fit the schema that is given.
pub(super) fn ask_for(given: &str, client: Client) -> Result<Client, CommandError> {
    let refuse = |why| {
        let help = "give a file with a JSON Schema, or fields such as 'name, age int, tags [str]'";
        CommandError::usage(format!("--schema {given:?} cannot be used: {why}")).help(help)
    };
    let schema = read(given).and_then(Schema::new).map_err(refuse)?;
    client.fitting(schema).map_err(refuse)
}

/// The text of the schema: what is in the file, or what was given instead.
pub(super) fn text(given: &str) -> String {
    fs::read_to_string(given).unwrap_or_else(|_| given.to_owned())
}

fn read(given: &str) -> Result<Value, String> {
    let is_json = given.trim_start().starts_with('{');
    let path = Path::new(given);
    let is_named_like_one = path.extension().is_some_and(|end| end == "json");
    let text = match given {
        _ if is_json => given.to_owned(),
        _ if is_named_like_one || path.exists() => {
            fs::read_to_string(path).map_err(|error| error.to_string())?
        }
        _ => return short_form(given),
    };
    serde_json::from_str(&text).map_err(|error| format!("it is not JSON: {error}"))
}

/// `name, age int: in years, tags [str]`. Lines are fields as well; then a description may have commas.
fn short_form(given: &str) -> Result<Value, String> {
    let given = given.trim();
    let separator = if given.contains('\n') { '\n' } else { ',' };
    let fields = given.split(separator).map(str::trim);
    let mut properties = Map::new();
    for field in fields.filter(|field| !field.is_empty()) {
        let (name, schema) = named(field)?;
        if properties.insert(name.to_owned(), schema).is_some() {
            return Err(format!("the field {name} is there twice"));
        }
    }
    if properties.is_empty() {
        return Err("it has no fields".to_owned());
    }
    let required: Vec<_> = properties.keys().cloned().collect();
    Ok(json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false
    }))
}

fn named(field: &str) -> Result<(&str, Value), String> {
    let (declared, about) = match field.split_once(':') {
        Some((declared, about)) => (declared.trim(), Some(about.trim())),
        None => (field, None),
    };
    let split = declared.split_once(char::is_whitespace);
    let (name, kind) = split.unwrap_or((declared, "str"));
    if name.is_empty() {
        return Err(format!("the field {field:?} has no name"));
    }
    let mut schema = kind_of(kind.trim()).ok_or_else(|| {
        let kinds = "str, int, num, bool, good|bad or [str]";
        format!("the field {name:?} has the type {kind:?}: give {kinds}")
    })?;
    if let Some(about) = about {
        schema["description"] = about.into();
    }
    Ok((name, schema))
}

fn kind_of(kind: &str) -> Option<Value> {
    let within = kind
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    Some(match kind {
        "str" | "string" => json!({"type": "string"}),
        "int" | "integer" => json!({"type": "integer"}),
        "num" | "number" | "float" => json!({"type": "number"}),
        "bool" | "boolean" => json!({"type": "boolean"}),
        _ if within.is_some() => json!({"type": "array", "items": kind_of(within?.trim())?}),
        _ if kind.contains('|') => {
            let words: Vec<_> = kind.split('|').map(str::trim).collect();
            json!({"type": "string", "enum": words})
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_is_a_schema_whose_fields_are_all_required() {
        let long = json!({"type": "object", "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "description": "in years"},
            "mood": {"type": "string", "enum": ["good", "bad"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        }, "required": ["name", "age", "mood", "tags"], "additionalProperties": false});
        let short = "name, age int: in years, mood good|bad, tags [str]";
        assert_eq!(read(short), Ok(long.clone()));
        let lines = "name\nage int: in years\nmood good|bad\ntags [str]\n";
        assert_eq!(read(lines), Ok(long.clone()));
        assert_eq!(read(&long.to_string()), Ok(long));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        for (given, why) in [
            ("name, age years", "\"age\" has the type \"years\""),
            ("name, name int", "name is there twice"),
            (" , ", "no fields"),
            (": about", "has no name"),
            ("{\"type\": ", "not JSON"),
            ("not/there.json", "No such file"),
        ] {
            let error = read(given).unwrap_err();
            assert!(error.contains(why), "{given}: {error}");
        }
    }
}
