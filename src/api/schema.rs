//! Answers that fit a JSON Schema: how each API is asked for them, and whether an answer is one.
//!
//! The command line reads the schema. The batch asks again after an answer that does not fit.

use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::reading::SCHEMA_TOOL;
use super::{Answer, ApiKind};

/// A schema that can be checked.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    value: Value,
    validator: Validator,
}

/// What Gemini's `responseSchema` has no field for. Such a schema goes to `responseJsonSchema`.
const NOT_FOR_GEMINI: [&str; 7] = [
    "$ref",
    "$defs",
    "definitions",
    "const",
    "oneOf",
    "allOf",
    "not",
];

impl Schema {
    /// # Errors
    /// Why it is no schema.
    pub(crate) fn new(value: Value) -> Result<Self, String> {
        if !value.is_object() {
            return Err("a schema is a JSON object".to_owned());
        }
        let validator = jsonschema::validator_for(&value).map_err(|error| at_path(&error))?;
        Ok(Schema { value, validator })
    }

    /// The fields of a body that ask this API for such an answer.
    ///
    /// # Errors
    /// The API has no place for it.
    pub(super) fn fields(&self, api: Option<ApiKind>) -> Result<Value, String> {
        let schema = &self.value;
        let is_object = schema["type"] == "object";
        let named = || {
            let strict = is_object && is_strict(schema);
            json!({"name": SCHEMA_TOOL, "schema": schema, "strict": strict})
        };
        Ok(match api {
            Some(ApiKind::Chat) => {
                json!({"response_format": {"type": "json_schema", "json_schema": named()}})
            }
            Some(ApiKind::Responses) => {
                let mut format = named();
                format["type"] = "json_schema".into();
                json!({"text": {"format": format}})
            }
            Some(ApiKind::Messages) if is_object => {
                let about = "Give your answer as the input of this tool.";
                let tool =
                    json!({"name": SCHEMA_TOOL, "description": about, "input_schema": schema});
                json!({"tools": [tool], "tool_choice": {"type": "tool", "name": SCHEMA_TOOL}})
            }
            Some(ApiKind::Messages) => {
                return Err("with --api messages, its type has to be object".to_owned());
            }
            Some(ApiKind::Gemini) => {
                let (field, schema) = match any_keyword(schema, &NOT_FOR_GEMINI) {
                    true => ("responseJsonSchema", schema.clone()),
                    false => ("responseSchema", for_gemini(schema)),
                };
                json!({"generationConfig": {"responseMimeType": "application/json", field: schema}})
            }
            _ => return Err("this API takes no schema".to_owned()),
        })
    }

    /// Why an answer does not fit; `None` if it does.
    pub(super) fn misfit(&self, answer: &Answer) -> Option<String> {
        let problem = match serde_json::from_str(&answer.text) {
            Ok(value) => at_path(&self.validator.validate(&value).err()?),
            Err(error) => format!("it is not JSON ({error})"),
        };
        match answer.finish_reason.as_deref() {
            Some("length") => Some(format!("it was cut at the most tokens: {problem}")),
            Some(reason @ ("refusal" | "content_filter")) => Some(format!("{reason}: {problem}")),
            _ => Some(problem),
        }
    }
}

/// An error after the place where it is: `/age: "x" is not of type "integer"`.
fn at_path(error: &ValidationError<'_>) -> String {
    match error.instance_path().as_str() {
        "" => error.to_string(),
        path => format!("{path}: {error}"),
    }
}

/// The schemas within a schema, one level down.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let named = ["properties", "$defs", "definitions"].map(|name| schema[name].as_object());
    let listed = ["anyOf", "oneOf", "allOf"].map(|name| schema[name].as_array());
    let single = ["items", "not"].map(|name| &schema[name]);
    let single = single.into_iter().filter(|part| part.is_object());
    let named = named.into_iter().flatten().flat_map(Map::values);
    named
        .chain(listed.into_iter().flatten().flatten())
        .chain(single)
}

/// Whether OpenAI takes it as a strict one: no object has a field that is not named, or that may be missing.
fn is_strict(schema: &Value) -> bool {
    let required = schema["required"].as_array();
    let is_required = |name: &String| required.is_some_and(|all| all.contains(&json!(name)));
    let fields = schema["properties"].as_object();
    let closed = schema["type"] != "object"
        || schema["additionalProperties"] == false
            && fields.is_some_and(|fields| fields.keys().all(is_required));
    closed && parts(schema).all(is_strict)
}

fn any_keyword(schema: &Value, words: &[&str]) -> bool {
    words.iter().any(|word| !schema[*word].is_null())
        || parts(schema).any(|part| any_keyword(part, words))
}

/// Without the keywords that Gemini refuses. A type that may be null is `nullable` there.
fn for_gemini(schema: &Value) -> Value {
    let mut kept = schema.as_object().cloned().unwrap_or_default();
    kept.retain(|name, _| !name.starts_with('$') && name != "additionalProperties");
    if let Some(Value::Array(types)) = kept.get("type").cloned() {
        let named: Vec<_> = types.iter().filter(|name| *name != "null").collect();
        kept.insert("nullable".to_owned(), (named.len() < types.len()).into());
        kept.insert(
            "type".to_owned(),
            named.first().map_or(Value::Null, |name| (*name).clone()),
        );
    }
    for (name, value) in &mut kept {
        match (name.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                fields
                    .values_mut()
                    .for_each(|field| *field = for_gemini(field));
            }
            ("anyOf", Value::Array(list)) => {
                list.iter_mut().for_each(|part| *part = for_gemini(part))
            }
            ("items", items) => *items = for_gemini(items),
            _ => {}
        }
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::super::ApiKind::{Chat, Embeddings, Gemini, Messages, Responses};
    use super::*;

    fn person() -> Value {
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {
            "name": {"type": "string"}, "age": {"type": ["integer", "null"]}
        }, "required": ["name", "age"], "additionalProperties": false})
    }

    fn fields(api: ApiKind, schema: Value) -> Result<Value, String> {
        Schema::new(schema).unwrap().fields(Some(api))
    }

    #[test]
    fn each_api_is_asked_in_its_own_way() {
        let chat = fields(Chat, person()).unwrap();
        let named = json!({"name": SCHEMA_TOOL, "schema": person(), "strict": true});
        let format = json!({"type": "json_schema", "json_schema": named});
        assert_eq!(chat, json!({"response_format": format}));
        let responses = fields(Responses, person()).unwrap();
        let format =
            json!({"type": "json_schema", "name": SCHEMA_TOOL, "schema": person(), "strict": true});
        assert_eq!(responses, json!({"text": {"format": format}}));
        let messages = fields(Messages, person()).unwrap();
        assert_eq!(messages["tools"][0]["input_schema"], person());
        assert_eq!(
            messages["tool_choice"],
            json!({"type": "tool", "name": SCHEMA_TOOL})
        );
        let gemini = fields(Gemini, person()).unwrap();
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string"}, "age": {"type": "integer", "nullable": true}
        }, "required": ["name", "age"]});
        let config = json!({"responseMimeType": "application/json", "responseSchema": schema});
        assert_eq!(gemini, json!({"generationConfig": config}));
    }

    #[test]
    fn what_an_api_cannot_take_is_sent_otherwise_or_refused() {
        let open = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let chat = fields(Chat, open).unwrap();
        assert_eq!(chat["response_format"]["json_schema"]["strict"], false);
        let list = json!({"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {}}});
        let gemini = fields(Gemini, list.clone()).unwrap();
        assert_eq!(gemini["generationConfig"]["responseJsonSchema"], list);
        assert!(
            fields(Messages, list.clone())
                .unwrap_err()
                .contains("object")
        );
        assert!(fields(Embeddings, list).unwrap_err().contains("no schema"));
    }

    #[test]
    fn what_is_no_schema_is_refused_with_the_reason() {
        let error = |value| Schema::new(value).unwrap_err();
        assert_eq!(error(json!([])), "a schema is a JSON object");
        assert!(
            error(json!({"properties": {"a": {"type": "text"}}})).contains("/properties/a/type")
        );
        assert!(error(json!({"$ref": "https://example.org/a.json"})).contains("example.org"));
    }
}
