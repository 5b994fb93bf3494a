//! `http:request`: asks any server.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{self, Request};
use super::fault::{self, Repeat};
use super::{Net, Networks};
use crate::limits::{HTTP_HEADERS_MAX, HTTP_RESPONSE_BYTES_MAX, HTTP_TIMEOUT, HTTP_TIMEOUT_MAX};
use crate::runners::config::config;
use crate::runners::native::{as_text, output, output_json, refused};
use crate::runners::{Context, EffectClass, EffectRule, Failure, Manifest, Output, Port, PortType, Runner, Work};

/// Headers that only a credential or the connection itself may set.
const KEPT_HEADERS: [&str; 9] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Asks any server that the guard lets through.
pub(in crate::runners) struct HttpRequest(pub(in crate::runners) Networks);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    method: Verb,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, Value>,
    #[serde(default)]
    encoding: Encoding,
    credential: Option<String>,
    idempotency_header: Option<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    accept_statuses: Vec<u16>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    #[default]
    Get,
    Head,
    Put,
    Delete,
    Post,
    Patch,
}

impl Verb {
    fn method(self) -> Method {
        match self {
            Verb::Get => Method::GET,
            Verb::Head => Method::HEAD,
            Verb::Put => Method::PUT,
            Verb::Delete => Method::DELETE,
            Verb::Post => Method::POST,
            Verb::Patch => Method::PATCH,
        }
    }

    fn is_harmless_again(self) -> bool {
        !matches!(self, Verb::Post | Verb::Patch)
    }
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Json,
    Text,
    Form,
}

impl Runner for HttpRequest {
    fn manifest(&self) -> Manifest {
        let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let properties = json!({
            "method": {"enum": ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"], "default": "GET"},
            "headers": texts,
            "query": {"type": "object", "description": "Added to the address."},
            "encoding": {"enum": ["json", "text", "form"], "default": "json", "description": "How the body is written."},
            "credential": {"type": "string", "description": "Name of the credential that is sent along."},
            "idempotencyHeader": {"type": "string", "description": "The header in which the server takes a key, so that asking twice does it once."},
            "timeoutMs": {"type": "integer", "minimum": 1, "maximum": HTTP_TIMEOUT_MAX.as_millis() as u64, "default": HTTP_TIMEOUT.as_millis() as u64},
            "acceptStatuses": {"type": "array", "items": {"type": "integer", "minimum": 300, "maximum": 599}, "description": "Statuses that are an answer too, and no failure."},
        });
        let rule = |key: &str, values: &[&str], or_absent, effect| EffectRule {
            key: key.to_owned(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
            or_absent,
            effect,
        };
        let request = Manifest::pure(
            "http:request",
            "HTTP request",
            "Asks any server, and gives its answer as text and, if it is one, as JSON.",
        )
        .ports(
            [Port::new("url", PortType::Text).required(), Port::new("body", PortType::Any)],
            [
                Port::new("json", PortType::Json),
                Port::new("text", PortType::Text),
                Port::new("status", PortType::Number),
            ],
        )
        .config(&[], properties)
        .aliases(&[], &[("body", "text"), ("response", "json")], &[]);
        Manifest {
            effect: EffectClass::Blind,
            effect_rules: vec![
                rule("method", &["GET", "HEAD"], true, EffectClass::Pure),
                rule("method", &["PUT", "DELETE"], false, EffectClass::Keyed),
                rule("idempotencyHeader", &[], false, EffectClass::Keyed),
            ],
            ..request
        }
    }

    fn run(&self, work: Work, _context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        match self.0.of(&work) {
            Ok(net) => run(net, work).boxed(),
            Err(failure) => ready(Err(failure)).boxed(),
        }
    }
}

pub(super) async fn run(net: Net, work: Work) -> Result<Vec<Output>, Failure> {
    let config: Config = config(&work)?;
    let request = request(&net, &config, &work)?;
    let (repeat, secret) = (request.repeat, request.credential.as_ref().map(|known| known.secret.clone()));
    let response = net.send(request).await?;
    let (status, headers, host) = (response.status(), response.headers().clone(), call::host(response.url()));
    let body = call::body(response, HTTP_RESPONSE_BYTES_MAX, repeat).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let text = secret.as_ref().map_or_else(|| text.clone(), |secret| secret.redact(text.clone()));
    if !status.is_success() && !config.accept_statuses.contains(&status.as_u16()) {
        let said = message_of(&text);
        return Err(fault::refused(status, &headers, said, &host, repeat, secret.as_ref()));
    }
    Ok(outputs(status.as_u16(), text))
}

fn outputs(status: u16, text: String) -> Vec<Output> {
    let mut outputs = vec![output("status", status)];
    if let Ok(json) = serde_json::from_str::<&serde_json::value::RawValue>(&text) {
        outputs.push(output_json("json", json.get().to_owned()));
    }
    outputs.push(output("text", text));
    outputs
}

fn request(net: &Net, config: &Config, work: &Work) -> Result<Request, Failure> {
    let credential = net.credential(config.credential.as_deref())?;
    let value = |port: &str| work.input(port).first().and_then(|json| serde_json::from_slice::<Value>(json).ok());
    let missing = || refused("input_missing", "input url has no value; wire it, or set url");
    let mut url = call::url(&as_text(value("url").ok_or_else(missing)?))?;
    if !config.query.is_empty() {
        let mut pairs = url.query_pairs_mut();
        for (name, value) in &config.query {
            pairs.append_pair(name, &as_text(value.clone()));
        }
    }
    let url = net.address(url)?;
    let mut headers = headers(config, work)?;
    let body = value("body").filter(|body| !body.is_null() && !matches!(config.method, Verb::Get | Verb::Head));
    let body = body.map(|body| write_body(body, config.encoding, &mut headers)).transpose()?;
    let is_harmless = config.method.is_harmless_again() || config.idempotency_header.is_some();
    Ok(Request {
        method: config.method.method(),
        url,
        headers,
        body,
        timeout: config.timeout_ms.map_or(HTTP_TIMEOUT, Duration::from_millis).min(HTTP_TIMEOUT_MAX),
        repeat: if is_harmless { Repeat::Harmless } else { Repeat::Harmful },
        credential,
    })
}

fn headers(config: &Config, work: &Work) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if config.headers.len() > HTTP_HEADERS_MAX {
        return Err(refused("config_invalid", format!("there are more than {HTTP_HEADERS_MAX} headers; send fewer")));
    }
    for (name, value) in &config.headers {
        if KEPT_HEADERS.iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
            let message = format!("the header {name} is not set by hand; name a credential for what is secret");
            return Err(refused("header_not_allowed", message));
        }
        add_header(&mut headers, name, value)?;
    }
    if let Some(name) = config.idempotency_header.as_deref().filter(|name| !name.is_empty()) {
        add_header(&mut headers, name, &work.idempotency_key)?;
    }
    Ok(headers)
}

fn add_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Failure> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
    let (name, value) = parsed.ok_or_else(|| {
        refused("config_invalid", format!("the header {name:?} cannot be sent; use letters and visible characters"))
    })?;
    headers.insert(name, value);
    Ok(())
}

fn write_body(body: Value, encoding: Encoding, headers: &mut HeaderMap) -> Result<Bytes, Failure> {
    let (body, media_type) = match (encoding, body) {
        (Encoding::Json, body) => (body.to_string(), "application/json"),
        (Encoding::Text, body) => (as_text(body), "text/plain; charset=utf-8"),
        (Encoding::Form, Value::Object(fields)) => (form(fields), "application/x-www-form-urlencoded"),
        (Encoding::Form, _) => return Err(refused("body_invalid", "a form is an object of fields; give one")),
    };
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(media_type));
    Ok(body.into())
}

fn form(fields: serde_json::Map<String, Value>) -> String {
    let fields = fields.into_iter().map(|(name, value)| (name, as_text(value)));
    let url = Url::parse_with_params("http://form.invalid/", fields);
    url.ok().and_then(|url| url.query().map(ToOwned::to_owned)).unwrap_or_default()
}

/// What a server says of its refusal, in the fields that most use; else the text itself.
pub(super) fn message_of(text: &str) -> Option<String> {
    const PATHS: [&str; 5] = ["/error/message", "/message", "/detail", "/error", "/errors/0/message"];
    let json: Option<Value> = serde_json::from_str(text).ok();
    let found = json.as_ref().and_then(|json| PATHS.iter().find_map(|path| json.pointer(path)?.as_str()));
    let text = found.unwrap_or(text).trim();
    (!text.is_empty()).then(|| text.chars().filter(|character| !character.is_control()).collect())
}
