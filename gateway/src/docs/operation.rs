//! What one route says of itself.

use axum::http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::http::auth::Scope;

/// Gives the schema of a type, and adds those it names to the document.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What one route does, takes and answers.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    /// Any one of these; none = no key is needed.
    pub(crate) scopes: &'static [&'static str],
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<Body>,
    /// Instead of a JSON body, or as another choice.
    pub(crate) file: Option<FileBody>,
    /// An address that was signed stands for the key.
    pub(crate) takes_signed: bool,
    pub(crate) answers: Vec<Answer>,
    /// Refusals besides those that every route of its kind has.
    pub(crate) refusals: Vec<StatusCode>,
    /// What can be asked next.
    pub(crate) links: Vec<Link>,
}

/// A parameter of another operation that an answer of this one holds.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// As a JSON pointer without its first slash.
    pub(crate) field: &'static str,
    pub(crate) parameter: &'static str,
    /// The id of the operation.
    pub(crate) operation: &'static str,
}

/// A parameter of the query or a header.
#[derive(Clone)]
pub(crate) struct Parameter {
    pub(crate) place: &'static str,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) schema: Value,
    pub(crate) is_required: bool,
}

/// What the request carries.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) schema: SchemaOf,
    /// Whether a request without a body is refused.
    pub(crate) is_required: bool,
    pub(crate) example: Value,
}

/// How the request carries a file.
#[derive(Clone, Copy)]
pub(crate) enum FileBody {
    /// In this field of a form.
    Form(&'static str),
    /// As the body itself, of any type.
    Raw,
}

/// What a request that succeeds is answered.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `None`: nothing comes with the status.
    pub(crate) media_type: Option<&'static str>,
    pub(crate) schema: Option<SchemaOf>,
    pub(crate) shape: Shape,
}

/// How a resource stands in the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As it is.
    Bare,
    /// A bare array of it.
    List,
    /// Its fields at top level, and the same object again under `data`.
    Enveloped,
}

impl Operation {
    /// A route that needs no key.
    pub(crate) fn open(tag: &'static str, summary: &'static str) -> Self {
        let (parameters, answers, refusals, links) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (body, file, takes_signed) = (None, None, false);
        Self { tag, summary, scopes: &[], parameters, body, file, takes_signed, answers, refusals, links }
    }

    /// A route that asks for a key with a scope.
    pub(crate) fn of<S: Scope>(tag: &'static str, summary: &'static str) -> Self {
        Self { scopes: S::ACCEPTED, ..Self::open(tag, summary) }
    }

    /// A parameter of the query.
    pub(crate) fn query(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameters.push(Parameter { place: "query", name, description, schema, is_required: false });
        self
    }

    /// A parameter of the query without which the route refuses.
    pub(crate) fn needs(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameters.push(Parameter { place: "query", name, description, schema, is_required: true });
        self
    }

    /// A header that changes what the route does.
    pub(crate) fn header(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameters.push(Parameter { place: "header", name, description, schema, is_required: false });
        self
    }

    /// Takes an Idempotency-Key.
    pub(crate) fn idempotent(self) -> Self {
        let schema = json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"});
        let says = "A second request with this key and the same body gets the first one's answer, for 24 hours.";
        self.header("Idempotency-Key", schema, says)
            .refuses(StatusCode::CONFLICT)
            .refuses(StatusCode::UNPROCESSABLE_ENTITY)
    }

    /// Takes a JSON body. `example` must be one that works.
    pub(crate) fn body<T: JsonSchema>(mut self, example: Value) -> Self {
        // Without a body, the route takes it for an object without fields.
        let schema = T::json_schema(&mut SchemaGenerator::default()).to_value();
        let ways = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
        let is_required =
            schema["required"].is_array() || ways.is_some_and(|ways| ways.iter().all(|way| way["required"].is_array()));
        self.body = Some(Body { schema: |generator| generator.subschema_for::<T>(), is_required, example });
        self
    }

    /// Takes a file.
    pub(crate) fn file(mut self, body: FileBody) -> Self {
        self.file = Some(body);
        self
    }

    /// Takes an address that was signed instead of a key.
    pub(crate) fn or_signed(mut self) -> Self {
        self.takes_signed = true;
        self.signed(false)
    }

    /// Takes what an address made by this server says in its query.
    pub(crate) fn signed(mut self, is_required: bool) -> Self {
        let text = || json!({"type": "string"});
        let second = json!({"type": "integer", "minimum": 0, "maximum": u64::MAX});
        for (name, schema, description) in [
            ("tenant", text(), "Whose it is."),
            ("type", text(), "What it is."),
            ("expires", second, "The second at which the address ends."),
            ("signature", text(), "Holds all of the address together."),
        ] {
            self.parameters.push(Parameter { place: "query", name, description, schema, is_required });
        }
        self.refuses(StatusCode::FORBIDDEN)
    }

    /// Answers with JSON.
    pub(crate) fn answers<T: JsonSchema>(mut self, status: StatusCode, shape: Shape) -> Self {
        let schema: SchemaOf = |generator| generator.subschema_for::<T>();
        self.answers.push(Answer { status, media_type: Some("application/json"), schema: Some(schema), shape });
        self
    }

    /// Answers with something else.
    pub(crate) fn gives(mut self, status: StatusCode, media_type: &'static str) -> Self {
        self.answers.push(Answer { status, media_type: Some(media_type), schema: None, shape: Shape::Bare });
        self
    }

    /// Answers with a status alone.
    pub(crate) fn gives_nothing(mut self, status: StatusCode) -> Self {
        self.answers.push(Answer { status, media_type: None, schema: None, shape: Shape::Bare });
        self
    }

    /// What was made can be asked about: its id, in this field of the answer, is what `operation` calls `parameter`.
    pub(crate) fn leads_to(
        mut self,
        field: &'static str,
        parameter: &'static str,
        operations: &[&'static str],
    ) -> Self {
        self.links.extend(operations.iter().map(|operation| Link { field, parameter, operation }));
        self
    }

    /// May refuse with this status, too.
    pub(crate) fn refuses(mut self, status: StatusCode) -> Self {
        self.refusals.push(status);
        self
    }
}
