//! What came back.

use serde_json::{Value, json};

use super::request::Prices;
use crate::runners::net::credential::Secret;
use crate::runners::{ErrorClass, Failure};

/// An answer, put together.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    /// What the model thought before, where the server tells it.
    pub(super) reasoning: String,
    /// Why the model does not answer.
    pub(super) refusal: String,
    pub(super) tool_calls: Vec<Value>,
    pub(super) finish: String,
    pub(super) model: Option<String>,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    /// Of the input, those that the provider had kept.
    pub(super) cached_tokens: Option<u64>,
    /// Of the output, those that the model thought with.
    pub(super) reasoning_tokens: Option<u64>,
    /// As the provider says it.
    pub(super) cost: Option<f64>,
    /// Whether the sandbox gave it.
    pub(super) is_sandbox: bool,
}

impl Answer {
    /// An answer that came in one piece.
    pub(super) fn whole(json: &Value, host: &str, secret: Option<&Secret>) -> Result<Self, Failure> {
        if !json["error"].is_null() {
            return Err(failed(&json["error"], host, secret));
        }
        let choice = &json["choices"][0];
        if !choice["message"].is_object() {
            let message = format!("{host} answers without a message; check baseUrl and model");
            return Err(Failure::new(ErrorClass::InvalidRequest, "answer_unreadable", message));
        }
        let message = &choice["message"];
        let mut answer = Self {
            text: words(&message["content"]),
            reasoning: reasoning(message).to_owned(),
            refusal: message["refusal"].as_str().unwrap_or_default().to_owned(),
            tool_calls: message["tool_calls"].as_array().cloned().unwrap_or_default(),
            finish: choice["finish_reason"].as_str().unwrap_or("stop").to_owned(),
            ..Self::default()
        };
        answer.take_facts(json);
        Ok(answer)
    }

    /// The same without the secret, in case the provider has sent it back.
    pub(super) fn without(self, secret: Option<&Secret>) -> Self {
        let Some(secret) = secret else { return self };
        let redacted = |value: Value| match secret.is_in(value.to_string().as_bytes()) {
            true => serde_json::from_str(&secret.redact(value.to_string())).unwrap_or_default(),
            false => value,
        };
        Self {
            text: secret.redact(self.text),
            reasoning: secret.redact(self.reasoning),
            refusal: secret.redact(self.refusal),
            tool_calls: self.tool_calls.into_iter().map(redacted).collect(),
            finish: secret.redact(self.finish),
            model: self.model.map(|model| secret.redact(model)),
            ..self
        }
    }

    /// Model and usage, as far as this piece tells them.
    pub(super) fn take_facts(&mut self, json: &Value) {
        let usage = &json["usage"];
        self.model = json["model"].as_str().map(ToOwned::to_owned).or_else(|| self.model.take());
        self.input_tokens = usage["prompt_tokens"].as_u64().or(self.input_tokens);
        self.output_tokens = usage["completion_tokens"].as_u64().or(self.output_tokens);
        let details = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
        self.cached_tokens = details.0["cached_tokens"].as_u64().or(self.cached_tokens);
        self.reasoning_tokens = details.1["reasoning_tokens"].as_u64().or(self.reasoning_tokens);
        self.cost = usage["cost"].as_f64().or(self.cost);
        self.is_sandbox |= json["sandbox"] == true;
    }

    /// What it took, for people and for accounts.
    pub(super) fn usage(&self, prices: Option<Prices>) -> Value {
        let tokens = self.input_tokens.zip(self.output_tokens);
        let reckoned = prices.zip(tokens).map(|(prices, (input, output))| {
            (input as f64 * prices.input + output as f64 * prices.output) / 1_000_000.0
        });
        let fields = [
            ("inputTokens", self.input_tokens.map(Value::from)),
            ("outputTokens", self.output_tokens.map(Value::from)),
            ("cachedTokens", self.cached_tokens.map(Value::from)),
            ("reasoningTokens", self.reasoning_tokens.map(Value::from)),
            ("cost", if self.is_sandbox { Some(json!(0)) } else { self.cost.or(reckoned).map(Value::from) }),
            ("model", self.model.clone().map(Value::from)),
            ("finishReason", Some(json!(self.finish))),
            ("sandbox", self.is_sandbox.then_some(Value::Bool(true))),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// The words of a message: one text, or those of its parts.
pub(super) fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// What a model thought, by either of the names that servers have for it.
pub(super) fn reasoning(message: &Value) -> &str {
    message["reasoning_content"].as_str().or_else(|| message["reasoning"].as_str()).unwrap_or_default()
}

/// An error that came with status 200, alone or in the middle of a stream.
pub(super) fn failed(error: &Value, host: &str, secret: Option<&Secret>) -> Failure {
    let said = error["message"].as_str().or_else(|| error.as_str()).unwrap_or("it does not say why").to_owned();
    let said = secret.map_or_else(|| said.clone(), |secret| secret.redact(said.clone()));
    let class = match error["code"].as_u64() {
        Some(400..=499) => ErrorClass::InvalidRequest,
        _ => ErrorClass::Retryable,
    };
    let failure = Failure::new(class, "provider_failed", format!("{host} gave up: {said}; try again later"));
    refined(failure, error)
}

/// The class that the provider's own code stands for, where it says more than the status.
pub(super) fn refined(failure: Failure, error: &Value) -> Failure {
    let codes = [error["code"].as_str(), error["type"].as_str()];
    let is = |names: &[&str]| codes.iter().flatten().any(|code| names.contains(code));
    let (class, code) = if is(&["insufficient_quota", "billing_error", "billing_hard_limit_reached"]) {
        (ErrorClass::Auth, "quota_exhausted")
    } else if is(&["content_filter", "content_policy_violation", "moderation_blocked"]) {
        (ErrorClass::ContentPolicy, "content_filtered")
    } else if is(&["context_length_exceeded"]) {
        (ErrorClass::InvalidRequest, "context_too_long")
    } else if is(&["rate_limit_exceeded", "rate_limit_error"]) {
        (ErrorClass::RateLimited, "rate_limited")
    } else {
        return failure;
    };
    Failure { class, code: code.into(), ..failure }
}
