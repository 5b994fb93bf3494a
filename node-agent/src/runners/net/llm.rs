//! `llm:openai_compatible`: a chat completion of any server that speaks OpenAI's wire format.

mod answer;
mod request;
mod stream;

use futures::future::{BoxFuture, FutureExt, ready};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use self::answer::Answer;
use self::request::Config;
use super::call::{self, Request};
use super::credential::Secret;
use super::fault::{self, Repeat};
use super::http_request::message_of;
use super::{Net, Networks};
use crate::limits::{HTTP_TIMEOUT_MAX, LLM_RESPONSE_BYTES_MAX};
use crate::runners::config::config;
use crate::runners::native::{output, output_json};
use crate::runners::{Context, EffectClass, ErrorClass, Failure, Manifest, Output, Port, PortType, Runner, Work};

/// A chat completion.
pub(in crate::runners) struct Llm(pub(in crate::runners) Networks);

impl Runner for Llm {
    fn manifest(&self) -> Manifest {
        let completion = Manifest::pure(
            "llm:openai_compatible",
            "Chat completion",
            "Asks a model of any server that speaks OpenAI's wire format; words show as they come. An answer that was \
             lost is asked for again: it costs money, not truth.",
        );
        let completion = completion
            .ports(
                [
                    Port::new("prompt", PortType::Text),
                    Port::new("system", PortType::Text),
                    Port::new("messages", PortType::Json),
                ],
                [
                    Port::new("text", PortType::Text),
                    Port::new("json", PortType::Json),
                    Port::new("toolCalls", PortType::Json),
                    Port::new("reasoning", PortType::Text),
                    Port::new("usage", PortType::Json),
                ],
            )
            .config(&["model"], request::schema())
            .aliases(
                &[("system_prompt", "system"), ("user", "prompt")],
                &[("response", "text"), ("output", "text"), ("tool_calls", "toolCalls")],
                &[
                    ("base_url", "baseUrl"),
                    ("max_tokens", "maxTokens"),
                    ("response_format", "responseFormat"),
                    ("tool_choice", "toolChoice"),
                    ("top_p", "topP"),
                ],
            );
        Manifest {
            // 2: reasoning.
            version: 2,
            effect: EffectClass::Blind,
            policy: Some(json!({"onUnknown": "retry", "timeoutMs": HTTP_TIMEOUT_MAX.as_millis() as u64})),
            ..completion
        }
    }

    fn run(&self, work: Work, context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        match self.0.of(&work) {
            Ok(net) => run(net, work, context).boxed(),
            Err(failure) => ready(Err(failure)).boxed(),
        }
    }
}

async fn run(net: Net, work: Work, context: Context) -> Result<Vec<Output>, Failure> {
    let config: Config = config(&work)?;
    let (request, body) = built(&net, &config, &work)?;
    let secret = request.credential.as_ref().map(|known| known.secret.clone());
    note_request(&context, &config, request.url.host_str());
    let response = net.send(request).await?;
    let answer = answered(response, &body, secret.as_ref(), &context).await?.without(secret.as_ref());
    note_answer(&context, &answer);
    outputs(&config, answer)
}

fn built(net: &Net, config: &Config, work: &Work) -> Result<(Request, Value), Failure> {
    let credential = net.credential(config.credential.as_deref())?;
    let body = request::body(config, work)?;
    let url = call::url(&format!("{}/chat/completions", net.base_url(config.base_url())))?;
    let request = Request {
        method: Method::POST,
        url,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
        body: Some(body.to_string().into()),
        timeout: config.timeout(),
        repeat: Repeat::Harmful,
        credential,
    };
    Ok((request, body))
}

/// Reads the answer, whole or piece by piece.
async fn answered(
    response: Response,
    asked: &Value,
    secret: Option<&Secret>,
    context: &Context,
) -> Result<Answer, Failure> {
    let (status, host) = (response.status(), call::host(response.url()));
    let headers = response.headers().clone();
    if !status.is_success() {
        let body = call::body(response, LLM_RESPONSE_BYTES_MAX, Repeat::Harmful).await?;
        let text = String::from_utf8_lossy(&body);
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let failure = fault::refused(status, &headers, message_of(&text), &host, Repeat::Harmful, secret);
        return Err(answer::refined(failure, &said["error"]));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if asked["stream"] == true && media_type.starts_with("text/event-stream") {
        return stream::read(response, &host, secret, context).await;
    }
    let body = call::body(response, LLM_RESPONSE_BYTES_MAX, Repeat::Harmful).await?;
    let json: Value = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("{host} answers with something that is no completion: {error}; check baseUrl");
        Failure::new(ErrorClass::InvalidRequest, "answer_unreadable", message)
    })?;
    Answer::whole(&json, &host, secret)
}

fn outputs(config: &Config, answer: Answer) -> Result<Vec<Output>, Failure> {
    if answer.finish == "content_filter" {
        let message = "the provider's filter held the answer back; change the prompt";
        return Err(Failure::new(ErrorClass::ContentPolicy, "content_filtered", message));
    }
    if !answer.refusal.is_empty() && answer.text.is_empty() {
        let message = format!("the model refuses: {}; change the prompt", fault::shortened(answer.refusal));
        return Err(Failure::new(ErrorClass::ContentPolicy, "answer_refused", message));
    }
    let mut outputs = Vec::new();
    if config.wants_json() && answer.tool_calls.is_empty() {
        let json: &serde_json::value::RawValue = serde_json::from_str(answer.text.trim()).map_err(|error| {
            let why =
                if answer.finish == "length" { "it was cut off; raise maxTokens" } else { "ask for it differently" };
            let message = format!("the model did not answer with JSON: {error}; {why}");
            Failure::new(ErrorClass::Retryable, "answer_no_json", message)
        })?;
        outputs.push(output_json("json", json.get().to_owned()));
    }
    outputs.push(output("usage", answer.usage(config.prices())));
    if !answer.tool_calls.is_empty() {
        outputs.push(output("toolCalls", answer.tool_calls));
    }
    if !answer.reasoning.is_empty() {
        outputs.push(output("reasoning", answer.reasoning));
    }
    outputs.push(output("text", answer.text));
    Ok(outputs)
}

fn note_request(context: &Context, config: &Config, host: Option<&str>) {
    context.note("gen_ai.operation.name", "chat");
    context.note("gen_ai.provider.name", "openai_compatible");
    context.note("gen_ai.request.model", &config.model);
    context.note("server.address", host.unwrap_or_default());
}

fn note_answer(context: &Context, answer: &Answer) {
    context.note("gen_ai.response.finish_reasons", &answer.finish);
    for (name, value) in [
        ("gen_ai.response.model", answer.model.clone()),
        ("gen_ai.usage.input_tokens", answer.input_tokens.map(|count| count.to_string())),
        ("gen_ai.usage.output_tokens", answer.output_tokens.map(|count| count.to_string())),
    ] {
        if let Some(value) = value {
            context.note(name, &value);
        }
    }
}

#[cfg(test)]
mod tests;
