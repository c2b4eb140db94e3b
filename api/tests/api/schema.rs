//! A small reader of the OpenAPI document: which operations there are, and whether a body is what
//! its schema says.

use serde_json::Value;
use std::collections::BTreeSet;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

/// (METHOD, path) of every operation.
pub fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods
                .filter(|method| METHODS.contains(&method.as_str()))
                .map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

/// The schema of an answer of an operation.
pub fn answer<'a>(document: &'a Value, method: &str, path: &str, status: &str) -> &'a Value {
    let operation = &document["paths"][path][method.to_lowercase()];
    let content = operation["responses"][status]["content"].as_object();
    let content = content.unwrap_or_else(|| panic!("{method} {path} has no body for {status}"));
    &content.values().next().unwrap()["schema"]
}

/// Everything in `value` that `schema` does not say. A field that the schema does not list counts.
pub fn departures(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = document.pointer(name.trim_start_matches('#'));
        let target = target.unwrap_or_else(|| panic!("{name} is not in the document"));
        return departures(document, target, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<_> = any
            .iter()
            .map(|one| departures(document, one, value, at))
            .collect();
        return if all.iter().any(Vec::is_empty) {
            Vec::new()
        } else {
            all.concat()
        };
    }
    let mut found = Vec::new();
    if !type_fits(&schema["type"], value) {
        return vec![format!("{at}: {value} is not of type {}", schema["type"])];
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return vec![format!("{at}: {value} is not one of {values:?}")];
    }
    match value {
        Value::Object(fields) => {
            let listed = schema["properties"].as_object();
            for (name, field) in fields {
                let at = format!("{at}/{name}");
                match listed.and_then(|listed| listed.get(name)) {
                    Some(schema) => found.extend(departures(document, schema, field, &at)),
                    None if schema["additionalProperties"] == false => {
                        found.push(format!("{at} is not in the schema"));
                    }
                    None if schema.get("additionalProperties").is_some() => {
                        let schema = &schema["additionalProperties"];
                        found.extend(departures(document, schema, field, &at));
                    }
                    // A schema without any rule takes everything.
                    None if listed.is_none() => {}
                    None => found.push(format!("{at} is not in the schema")),
                }
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                if !fields.contains_key(name.as_str().unwrap()) {
                    found.push(format!("{at}/{} is required", name.as_str().unwrap()));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = format!("{at}/{index}");
                found.extend(departures(document, &schema["items"], item, &at));
            }
        }
        _ => {}
    }
    found
}

fn type_fits(types: &Value, value: &Value) -> bool {
    let one = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    };
    match types {
        Value::Array(names) => names.iter().any(one),
        Value::Null => true,
        name => one(name),
    }
}
