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
}

/// A parameter of the query or a header.
#[derive(Clone)]
pub(crate) struct Parameter {
    pub(crate) place: &'static str,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) schema: Value,
}

/// What the request carries.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) schema: SchemaOf,
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
        let (parameters, answers, refusals) = (Vec::new(), Vec::new(), Vec::new());
        let (body, file, takes_signed) = (None, None, false);
        Self { tag, summary, scopes: &[], parameters, body, file, takes_signed, answers, refusals }
    }

    /// A route that asks for a key with a scope.
    pub(crate) fn of<S: Scope>(tag: &'static str, summary: &'static str) -> Self {
        Self { scopes: S::ACCEPTED, ..Self::open(tag, summary) }
    }

    /// A parameter of the query.
    pub(crate) fn query(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameters.push(Parameter { place: "query", name, description, schema });
        self
    }

    /// A header that changes what the route does.
    pub(crate) fn header(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameters.push(Parameter { place: "header", name, description, schema });
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
        self.body = Some(Body { schema: |generator| generator.subschema_for::<T>(), example });
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
        self.signed()
    }

    /// Takes what an address made by this server says in its query.
    pub(crate) fn signed(self) -> Self {
        let text = || json!({"type": "string"});
        self.query("tenant", text(), "Whose it is.")
            .query("type", text(), "What it is.")
            .query("expires", json!({"type": "integer"}), "The second at which the address ends.")
            .query("signature", text(), "Holds all of the address together.")
            .refuses(StatusCode::FORBIDDEN)
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

    /// May refuse with this status, too.
    pub(crate) fn refuses(mut self, status: StatusCode) -> Self {
        self.refusals.push(status);
        self
    }
}
