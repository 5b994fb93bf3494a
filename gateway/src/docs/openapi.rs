//! The OpenAPI 3.1 document, made from the router's table of routes.

use axum::http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::operation::{Answer, FileBody, Link, Operation, Shape};
use crate::http::error::{ErrorForm, has_text_form};
use crate::http::router::Route;

const DESCRIPTION: &str = "Heddle runs graphs whose nodes call models and tools. Every object resource carries its fields at \
    top level and again under `data`. Times are RFC 3339 in UTC. Ids are opaque. No text holds U+0000. Every answer has `X-Request-Id`.";

/// One route with all that is said of it.
pub(crate) struct Documented {
    pub(crate) route: Route,
    pub(crate) operation: Operation,
    pub(crate) form: ErrorForm,
}

/// The whole document.
pub(crate) fn document(routes: &[Documented]) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut answers = SchemaGenerator::new(settings.clone().for_serialize());
    let mut requests = SchemaGenerator::new(settings.for_deserialize());
    let mut paths: Map<String, Value> = Map::new();
    for documented in routes {
        let described = operation(documented, &mut answers, &mut requests);
        let path = paths.entry(documented.route.path).or_insert_with(|| json!({}));
        path[documented.route.method.to_ascii_lowercase()] = described;
    }
    let mut schemas = answers.take_definitions(true);
    schemas.extend(requests.take_definitions(true));
    schemas.extend([("ErrorText".to_owned(), error(true)), ("Error".to_owned(), error(false))]);
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Heddle", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key: `sk-…`."}},
        },
    })
}

/// A refusal, in one of its two forms.
fn error(is_text: bool) -> Value {
    let error = match is_text {
        true => json!({"type": "string"}),
        false => json!({
            "type": "object", "required": ["type", "code", "message"],
            "properties": {"type": {"type": "string"}, "code": {"type": "string"}, "message": {"type": "string"}},
        }),
    };
    json!({
        "type": "object",
        "required": ["error", "code", "message", "requestId"],
        "properties": {
            "error": error,
            "code": {"type": "string", "description": "Stable; /docs/errors lists them all."},
            "message": {"type": "string", "description": "What is wrong and what to do, in a sentence."},
            "requestId": {"type": "string"},
            "path": {"type": "string", "description": "The place of the fault in the body, as a JSON pointer."},
        },
    })
}

fn operation(documented: &Documented, answers: &mut SchemaGenerator, requests: &mut SchemaGenerator) -> Value {
    let Documented { route, operation, form } = documented;
    let segments = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = segments
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
        .collect();
    parameters.extend(operation.parameters.iter().map(|parameter| {
        let mut described = json!({"name": parameter.name, "in": parameter.place, "description": parameter.description,
            "required": parameter.is_required, "schema": parameter.schema});
        if parameter.place == "query" && parameter.schema["type"] == "boolean" {
            // It is as if it was left out.
            described["allowEmptyValue"] = json!(true);
        }
        described
    }));
    let mut described = json!({
        "operationId": operation_id(route),
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": parameters,
        "responses": responses(route, operation, *form, answers),
    });
    if !operation.scopes.is_empty() {
        described["security"] = match operation.takes_signed {
            true => json!([{"key": operation.scopes}, {}]),
            false => json!([{"key": operation.scopes}]),
        };
        described["description"] = json!(format!("Scope: {}.", operation.scopes.join(" or ")));
    }
    let mut content = Map::new();
    if let Some(body) = &operation.body {
        let schema = (body.schema)(requests);
        content.insert("application/json".to_owned(), json!({"schema": schema, "example": body.example}));
    }
    content.extend(operation.file.map(file));
    if !content.is_empty() {
        let is_required = operation.body.as_ref().is_some_and(|body| body.is_required);
        described["requestBody"] = json!({"content": content, "required": is_required});
    }
    described
}

/// A file in a request: its media type and what is said of it.
fn file(body: FileBody) -> (String, Value) {
    let bytes = json!({"type": "string", "contentMediaType": "application/octet-stream"});
    match body {
        FileBody::Raw => ("*/*".to_owned(), json!({"schema": bytes})),
        FileBody::Form(field) => {
            let schema = json!({"type": "object", "required": [field], "properties": {field: bytes}});
            ("multipart/form-data".to_owned(), json!({"schema": schema}))
        }
    }
}

/// `GET /api/v1/workflows/{id}` is `getWorkflowsById`.
fn operation_id(route: &Route) -> String {
    let mut id = route.method.to_ascii_lowercase();
    let path = match route.path.strip_prefix("/api/v1") {
        Some(path) => path,
        None => {
            id.push_str("Server");
            route.path
        }
    };
    let path = path.split(['/', '.', '_']).filter(|segment| !segment.is_empty());
    for segment in path {
        let segment = match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
            Some(name) => format!("By{}", capital(name)),
            None => capital(segment),
        };
        id.push_str(&segment);
    }
    id
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn responses(route: &Route, operation: &Operation, form: ErrorForm, schemas: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for answer in &operation.answers {
        let status = answer.status.as_str().to_owned();
        let described = responses.entry(status).or_insert_with(
            || json!({"description": answer.status.canonical_reason(), "headers": request_id(), "content": {}}),
        );
        if let Some(media_type) = answer.media_type {
            let before = described["content"][media_type]["schema"].take();
            described["content"][media_type] = match schema(answer, schemas) {
                Some(schema) if before.is_null() => json!({"schema": schema}),
                Some(schema) => json!({"schema": {"anyOf": [before, schema]}}),
                None => json!({}),
            };
        }
        for Link { field, parameter, operation } in &operation.links {
            let parameters = json!({*parameter: format!("$response.body#/{field}")});
            described["links"][*operation] = json!({"operationId": operation, "parameters": parameters});
        }
    }
    for status in refusals(route, operation) {
        if responses.contains_key(status.as_str()) {
            continue;
        }
        let name = if form == ErrorForm::Text && has_text_form(status) { "ErrorText" } else { "Error" };
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        let content = json!({"application/json": {"schema": schema}});
        let described = json!({"description": status.canonical_reason(), "headers": request_id(), "content": content});
        responses.insert(status.as_str().to_owned(), described);
    }
    Value::Object(responses)
}

fn request_id() -> Value {
    json!({"X-Request-Id": {"schema": {"type": "string"}}})
}

/// What any route of this kind may be refused with, and what this one may besides.
fn refusals(route: &Route, operation: &Operation) -> Vec<StatusCode> {
    let mut statuses = vec![StatusCode::BAD_REQUEST, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
    if !operation.scopes.is_empty() {
        statuses.extend([
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ]);
        if route.path.contains('{') {
            statuses.push(StatusCode::NOT_FOUND);
        }
        if route.path.contains("/executions/{id}") {
            statuses.push(StatusCode::GONE);
        }
    }
    if operation.body.is_some() || operation.file.is_some() {
        statuses.extend([
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ]);
    }
    statuses.extend(&operation.refusals);
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn schema(answer: &Answer, schemas: &mut SchemaGenerator) -> Option<Value> {
    let resource = answer.schema?(schemas).to_value();
    Some(match answer.shape {
        Shape::Bare => resource,
        Shape::List => json!({"type": "array", "items": resource}),
        Shape::Enveloped => json!({
            "allOf": [resource.clone(), {"type": "object", "required": ["data"], "properties": {"data": resource}}],
        }),
    })
}
