//! An OpenAPI document as the fuzzer reads it: the routes, and values by their schemas.
//! Sends nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::odd;
use super::pool::Pool;
use crate::properties::seeded::Seeded;

/// One operation of a document.
pub struct Route {
    pub method: String,
    pub path: String,
    pub parameters: Vec<Parameter>,
    /// The content type and the schema.
    pub body: Option<(String, Value)>,
    pub statuses: BTreeSet<u16>,
    pub asks_for_a_token: bool,
    /// The document's named schemas.
    schemas: Value,
}

pub struct Parameter {
    pub name: String,
    /// `path`, `query` or `header`.
    pub place: String,
    pub schema: Value,
}

/// Every operation the document describes.
pub fn routes(document: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            routes.push(Route::read(path, method, operation, document));
        }
    }
    routes
}

impl Route {
    fn read(path: &str, method: &str, operation: &Value, document: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let parameter = |one: &Value| Parameter {
            name: text(&one["name"]),
            place: text(&one["in"]),
            schema: one["schema"].clone(),
        };
        let content = operation["requestBody"]["content"].as_object();
        let body = content.and_then(|content| content.iter().next());
        let statuses = operation["responses"].as_object().expect("responses");
        Self {
            method: method.to_uppercase(),
            path: path.to_owned(),
            parameters: parameters.map(parameter).collect(),
            body: body.map(|(kind, body)| (kind.clone(), body["schema"].clone())),
            statuses: statuses.keys().filter_map(|key| key.parse().ok()).collect(),
            asks_for_a_token: operation["security"].is_array(),
            schemas: document["components"]["schemas"].clone(),
        }
    }

    /// A value as the schema has it; `name` is what it is called where it stands.
    pub fn value(&self, name: &str, schema: &Value, pool: &Pool, random: &mut Seeded) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let named = reference.rsplit('/').next().expect("a name");
            return self.value(name, &self.schemas[named], pool, random);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            return self.value(name, random.pick(choices), pool, random);
        }
        if let Some(choices) = schema["enum"].as_array() {
            return random.pick(choices).clone();
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        match kinds.first().map(|_| *random.pick(&kinds)) {
            Some("null") => Value::Null,
            Some("boolean") => json!(random.one_in(2)),
            Some("integer" | "number") => pool.number(name, random),
            Some("array") => (0..random.below(4))
                .map(|_| self.value(name, &schema["items"], pool, random))
                .collect(),
            Some("object") => self.object(name, schema, pool, random),
            Some(_) => pool.text(name, random).into(),
            None => odd::value(random),
        }
    }

    fn object(&self, name: &str, schema: &Value, pool: &Pool, random: &mut Seeded) -> Value {
        let Some(properties) = schema["properties"].as_object() else {
            return pool.object(name, random);
        };
        let required = schema["required"].as_array();
        let mut object = Map::new();
        for (field, schema) in properties {
            let needed = required.is_some_and(|all| all.contains(&json!(field)));
            if needed || random.one_in(2) {
                object.insert(field.clone(), self.value(field, schema, pool, random));
            }
        }
        object.into()
    }
}
