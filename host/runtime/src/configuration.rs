//! A configuration against its schema: the types, bounds and names a JSON Schema commonly states, and the defaults it
//! gives. What a schema says beyond that is the plugin's to check.

use serde_json::{Map, Value};

/// The configuration with every default filled in, or what is wrong with it.
pub(crate) fn complete(schema: &Value, given: &Value) -> Result<Value, String> {
    let mut filled = given.clone();
    if !filled.is_object() {
        return Err("a configuration is a JSON object".to_owned());
    }
    check(schema, &mut filled, "")?;
    Ok(filled)
}

fn check(schema: &Value, value: &mut Value, place: &str) -> Result<(), String> {
    let at = || {
        if place.is_empty() {
            "the configuration".to_owned()
        } else {
            place.to_owned()
        }
    };
    if let Some(wanted) = schema.get("type")
        && !is_of(wanted, value)
    {
        return Err(format!(
            "{} is not of type {}",
            at(),
            wanted.to_string().replace('"', "")
        ));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let names: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return Err(format!("{} is none of {}", at(), names.join(", ")));
    }
    if let Some(number) = value.as_f64() {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        if bound("minimum").is_some_and(|least| number < least)
            || bound("maximum").is_some_and(|most| number > most)
        {
            return Err(format!("{} is out of bounds", at()));
        }
    }
    match value {
        Value::Object(fields) => check_fields(schema, fields, place),
        Value::Array(items) => match schema.get("items") {
            Some(of) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(i, item)| check(of, item, &format!("{place}[{i}]"))),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_fields(
    schema: &Value,
    fields: &mut Map<String, Value>,
    place: &str,
) -> Result<(), String> {
    let under = |key: &str| {
        if place.is_empty() {
            key.to_owned()
        } else {
            format!("{place}.{key}")
        }
    };
    let empty = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    for (key, property) in properties {
        if let (false, Some(default)) = (fields.contains_key(key), property.get("default")) {
            fields.insert(key.clone(), default.clone());
        }
    }
    for key in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !fields.contains_key(key) {
            return Err(format!("{} is missing", under(key)));
        }
    }
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    for (key, value) in fields {
        match properties.get(key) {
            Some(property) => check(property, value, &under(key))?,
            None if closed => {
                let known: Vec<_> = properties.keys().map(String::as_str).collect();
                let there = match known.as_slice() {
                    [] => "there are none".to_owned(),
                    known => format!("there are {}", known.join(", ")),
                };
                return Err(format!("there is no setting {}; {there}", under(key)));
            }
            None => {}
        }
    }
    Ok(())
}

fn is_of(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::String(name) => is_named(name, value),
        Value::Array(names) => names.iter().any(|name| is_of(name, value)),
        _ => true,
    }
}

fn is_named(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_filled_in_and_wrong_types_are_named() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"], "properties": {
            "a": {"type": "integer", "minimum": 1, "default": 3},
            "list": {"type": "array", "items": {"type": "object", "properties": {"level": {"enum": ["x", "y"]}}}},
        }});
        assert_eq!(complete(&schema, &json!({})), Ok(json!({"a": 3})));
        assert_eq!(
            complete(&schema, &json!({"a": "1"})),
            Err("a is not of type integer".into())
        );
        assert_eq!(
            complete(&schema, &json!({"a": 0})),
            Err("a is out of bounds".into())
        );
        assert_eq!(
            complete(&schema, &json!({"b": 0})),
            Err("there is no setting b; there are a, list".into())
        );
        let bad = complete(&schema, &json!({"list": [{"level": "x"}, {"level": "z"}]}));
        assert_eq!(bad, Err("list[1].level is none of \"x\", \"y\"".into()));
    }
}
