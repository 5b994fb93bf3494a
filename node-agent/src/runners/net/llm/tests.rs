//! Completions of the sandbox provider, through the whole node type.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use heddle_proto::agent::agent_message::Kind;

use super::super::tests::{Gate, Keys};
use super::super::{Credential, Secret};
use super::*;
use crate::outgoing::{Outlet, queue};
use crate::runners::{Input, Notes};

/// A sandbox provider, and an agent's way to it.
struct Bench {
    address: SocketAddr,
    net: Net,
    http: reqwest::Client,
}

/// What came of one attempt.
struct Ran {
    outcome: Result<Value, Failure>,
    words: String,
    notes: BTreeMap<&'static str, String>,
}

impl Ran {
    fn fault(self) -> (ErrorClass, String) {
        let failure = self.outcome.unwrap_err();
        assert!(!failure.message.contains("sandbox:key"), "{}", failure.message);
        (failure.class, failure.code.into_owned())
    }
}

impl Bench {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, heddle_sandbox::router()).await });
        let key = Credential {
            name: "key".to_owned(),
            secret: Secret::new("sandbox:key".to_owned()),
            header: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
            hosts: vec![address.to_string()],
            is_private_allowed: true,
        };
        // For the test's own client; the agent's clients bring theirs.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let keys = Keys(BTreeMap::from([("key".to_owned(), key)]));
        let net = Net::new(Arc::new(Gate(vec![address])), Arc::new(keys)).unwrap();
        Self { address, net, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn script(&self, script: Value) {
        let url = format!("http://{}/script/key", self.address);
        assert!(self.http.put(url).json(&script).send().await.unwrap().status().is_success());
    }

    async fn last_call(&self) -> Value {
        let url = format!("http://{}/ledger", self.address);
        let ledger: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        ledger["calls"].as_array().unwrap().last().unwrap().clone()
    }

    async fn ask(&self, more: Value, inputs: &[(&str, Value)]) -> Ran {
        let mut config = json!({"model": "m", "credential": "key", "baseUrl": format!("http://{}/v1/", self.address)});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut work = crate::runners::debug::tests::work(&config);
        work.inputs = inputs.iter().map(|(port, value)| one(port, value)).collect();
        let (outlet, notes) = (Outlet::default(), Notes::default());
        let (entrance, frames) = queue(1_000);
        outlet.open(entrance.messages.clone());
        let outcome = run(self.net.clone(), work, Context::alone(outlet.clone(), notes.clone())).await;
        outlet.close();
        drop(entrance);
        let words = frames.map(|frame| frame.messages).collect::<Vec<_>>().await.into_iter().flatten();
        let words = words.filter_map(|message| match message.kind {
            Some(Kind::Partial(partial)) => Some(String::from_utf8(partial.chunk.to_vec()).unwrap()),
            _ => None,
        });
        let outcome = outcome.map(|outputs| {
            let read = |output: &Output| (output.port.to_string(), serde_json::from_slice(&output.value).unwrap());
            outputs.iter().map(read).collect::<serde_json::Map<_, _>>().into()
        });
        let notes = notes.take().into_iter().map(|(name, value)| (name, value.into_owned()));
        Ran { outcome, words: words.collect(), notes: notes.collect() }
    }

    async fn say(&self, more: Value) -> Ran {
        self.ask(more, &[("prompt", json!("high tide"))]).await
    }
}

fn one(port: &str, value: &Value) -> Input {
    Input { port: port.to_owned(), list: false, values: vec![Bytes::from(value.to_string())] }
}

#[tokio::test]
async fn words_show_as_they_come_and_the_whole_is_the_same() {
    let bench = Bench::start().await;
    let streamed = bench.say(json!({"prices": {"input": 1.0, "output": 2.0}})).await;
    let whole = bench.say(json!({"stream": false})).await;
    let outcome = streamed.outcome.unwrap();
    assert_eq!(outcome["text"], "Sandbox answer about: high tide");
    assert_eq!(streamed.words, "Sandbox answer about: high tide");
    assert_eq!(whole.outcome.unwrap()["text"], outcome["text"]);
    assert_eq!(whole.words, "");
    assert_eq!((&outcome["usage"]["outputTokens"], &outcome["usage"]["sandbox"]), (&json!(5), &json!(true)));
    assert_eq!(outcome["usage"]["cost"], 0, "the sandbox costs nothing");
    assert_eq!(streamed.notes["gen_ai.request.model"], "m");
    assert_eq!(streamed.notes["gen_ai.usage.output_tokens"], "5");
    assert!(!format!("{:?}", streamed.notes).contains("tide"), "no payload in a span");
}

#[tokio::test]
async fn a_credential_that_comes_back_is_shown_to_nobody() {
    let bench = Bench::start().await;
    let said = "your header is Bearer sandbox:key, keep it from sandbox:kin";
    bench.script(json!({"answers": [said, said]})).await;
    for stream in [true, false] {
        let ran = bench.say(json!({"stream": stream})).await;
        let shown = "your header is Bearer [redacted], keep it from sandbox:kin";
        assert_eq!(ran.outcome.unwrap()["text"], shown);
        assert_eq!(ran.words, if stream { shown } else { "" });
    }
}

#[tokio::test]
async fn the_request_says_what_the_config_says() {
    let bench = Bench::start().await;
    let config = json!({
        "temperature": 0, "maxTokens": 9, "maxTokensField": "max_completion_tokens", "seed": 4, "stream": false,
        "extra": {"reasoning_effort": "low"},
    });
    let before = json!([{"role": "assistant", "content": "before"}]);
    let inputs = [("prompt", json!("now")), ("system", json!("be short")), ("messages", before)];
    bench.ask(config, &inputs).await.outcome.unwrap();
    let call = bench.last_call().await;
    assert_eq!(call["credential"], "key");
    let messages = json!([
        {"role": "system", "content": "be short"},
        {"role": "assistant", "content": "before"},
        {"role": "user", "content": "now"},
    ]);
    let body = json!({
        "model": "m", "messages": messages, "temperature": 0.0, "max_completion_tokens": 9, "seed": 4,
        "reasoning_effort": "low",
    });
    assert_eq!(call["request"], body);
    assert_eq!(bench.ask(json!({}), &[("system", json!("x"))]).await.fault().1, "input_missing");
    assert_eq!(bench.say(json!({"extra": {"model": "other"}})).await.fault().1, "config_invalid");
}

#[tokio::test]
async fn schemas_and_tools_are_passed_through() {
    let bench = Bench::start().await;
    let schema = json!({"type": "object", "properties": {"score": {"type": "integer", "minimum": 7}}});
    for stream in [true, false] {
        let outcome = bench.say(json!({"jsonSchema": schema, "stream": stream})).await.outcome.unwrap();
        assert_eq!(outcome["json"], json!({"score": 7}));
        let parameters = json!({"type": "object", "properties": {"at": {"type": "string"}}});
        let tool = json!({"type": "function", "function": {"name": "look", "parameters": parameters}});
        let with_tools = json!({"tools": [tool], "toolChoice": "required", "stream": stream});
        let outcome = bench.say(with_tools).await.outcome.unwrap();
        assert_eq!(
            outcome["toolCalls"][0]["function"],
            json!({"name": "look", "arguments": "{\"at\":\"sandbox at\"}"})
        );
        assert_eq!(outcome["usage"]["finishReason"], "tool_calls");
    }
    bench.script(json!({"answers": ["not json", "not json"]})).await;
    assert_eq!(
        bench.say(json!({"responseFormat": "json"})).await.fault(),
        (ErrorClass::Retryable, "answer_no_json".into())
    );
}

#[tokio::test]
async fn faults_have_the_class_that_a_policy_needs() {
    use ErrorClass::{Auth, ContentPolicy, InvalidRequest, RateLimited, Retryable, UnknownOutcome};
    let bench = Bench::start().await;
    let body = |code: &str| json!({"error": {"code": code, "message": "said with sandbox:key"}});
    for (step, class, code) in [
        (json!({"status": 429, "retryAfterMs": 2500}), RateLimited, "rate_limited"),
        (json!({"status": 429, "body": body("insufficient_quota")}), Auth, "quota_exhausted"),
        (json!({"status": 400, "body": body("content_policy_violation")}), ContentPolicy, "content_filtered"),
        (json!({"status": 400, "body": body("context_length_exceeded")}), InvalidRequest, "context_too_long"),
        (json!({"status": 401, "body": body("invalid_api_key")}), Auth, "server_refuses_credential"),
        (json!({"status": 503}), Retryable, "server_failed"),
        (json!({"status": 500}), UnknownOutcome, "answer_unclear"),
        (json!({"truncate": true}), UnknownOutcome, "stream_truncated"),
        (json!({"finishReason": "content_filter"}), ContentPolicy, "content_filtered"),
    ] {
        bench.script(json!({"steps": [step]})).await;
        assert_eq!(bench.say(json!({})).await.fault(), (class, code.to_owned()), "{step}");
    }
    bench.script(json!({"steps": [{"status": 429, "retryAfterMs": 2500}]})).await;
    let limited = bench.say(json!({})).await.outcome.unwrap_err();
    assert_eq!(limited.retry_after, Some(Duration::from_millis(2_500)));
    bench.script(json!({"steps": [{"delayMs": 60_000}]})).await;
    let slow = bench.say(json!({"timeoutMs": 100})).await.fault();
    assert_eq!(slow, (UnknownOutcome, "answer_lost".to_owned()));
}

/// Asks a server that answers whatever it is asked with this stream.
async fn ask_for(
    stream: impl Fn() -> axum::body::Body + Clone + Send + Sync + 'static,
) -> Result<Vec<Output>, Failure> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || async move { ([("content-type", "text/event-stream")], stream()) };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    let net = Net::new(Arc::new(Gate(vec![address])), Arc::new(Keys::default())).unwrap();
    let mut work = crate::runners::debug::tests::work(&json!({"model": "m", "baseUrl": format!("http://{address}")}));
    work.inputs = vec![one("prompt", &json!("x"))];
    run(net, work, Context::alone(Outlet::default(), Notes::default())).await
}

#[tokio::test]
async fn a_stream_without_an_end_is_bounded() {
    let endless = || {
        let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 * 1024])));
        axum::body::Body::from_stream(pieces)
    };
    assert_eq!(ask_for(endless).await.unwrap_err().code, "response_too_large");
}

#[tokio::test]
async fn a_garbled_piece_is_no_silence() {
    let piece = |words: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": words}}]}));
    let stream = move |between: &'static str| {
        let text = format!("{}{between}{}data: [DONE]\n\n", piece("high "), piece("tide"));
        move || axum::body::Body::from(text.clone())
    };
    for own in [": processing\n\n", "data:\n\n", "event: ping\ndata: now\n\n", "\r\n"] {
        let outputs = ask_for(stream(own)).await.unwrap();
        let text = outputs.iter().find(|output| output.port == "text").unwrap();
        assert_eq!(text.value, "\"high tide\"", "{own:?}");
    }
    let failure = ask_for(stream("data: {\"choices\": [{\"del\n\n")).await.unwrap_err();
    assert_eq!((failure.class, &*failure.code), (ErrorClass::UnknownOutcome, "stream_unreadable"));
}

#[tokio::test]
async fn what_servers_have_of_their_own_is_understood() {
    let said = |pieces: &[Value]| {
        let lines: String =
            pieces.iter().map(|delta| format!("data: {}\n\n", json!({"choices": [{"delta": delta}]}))).collect();
        let text = format!("{lines}data: [DONE]\n\n");
        move || axum::body::Body::from(text.clone())
    };
    let read = |outputs: &[Output], port: &str| -> Value {
        outputs
            .iter()
            .find(|output| output.port == port)
            .map_or(Value::Null, |output| serde_json::from_slice(&output.value).unwrap())
    };
    // Thoughts by two names, and words in parts.
    let thought = ask_for(said(&[
        json!({"reasoning_content": "sea "}),
        json!({"reasoning": "or river"}),
        json!({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "high "}]}),
        json!({"content": "tide"}),
    ]));
    let outputs = thought.await.unwrap();
    assert_eq!((read(&outputs, "reasoning"), read(&outputs, "text")), (json!("sea or river"), json!("high tide")));
    // Calls without a number, and with ids and names in every piece.
    let call = |id: &str, arguments: &str| json!({"tool_calls": [{"id": id, "function": {"name": "look", "arguments": arguments}}]});
    let calls = ask_for(said(&[call("a", "{\"at\":"), call("a", "1}"), call("b", "{\"at\":2}"), call("", " ")]));
    let made = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "look", "arguments": arguments}});
    let outputs = calls.await.unwrap();
    assert_eq!(read(&outputs, "toolCalls"), json!([made("a", "{\"at\":1}"), made("b", "{\"at\":2} ")]));
    // A refusal is no answer, and an error may be a bare text.
    let refused = ask_for(said(&[json!({"refusal": "I will "}), json!({"refusal": "not"})])).await.unwrap_err();
    assert_eq!((refused.class, &*refused.code), (ErrorClass::ContentPolicy, "answer_refused"));
    assert!(refused.message.contains("I will not"), "{}", refused.message);
    let failed = ask_for(|| axum::body::Body::from("data: {\"error\": \"out of memory\"}\n\n")).await.unwrap_err();
    assert_eq!((&*failed.code, failed.message.contains("out of memory")), ("provider_failed", true));
}

#[tokio::test]
async fn a_stream_is_asked_for_its_usage_unless_the_server_refuses_that() {
    let bench = Bench::start().await;
    for (config, asked) in [(json!({}), json!({"include_usage": true})), (json!({"streamUsage": false}), Value::Null)] {
        bench.say(config).await.outcome.unwrap();
        assert_eq!(bench.last_call().await["request"]["stream_options"], asked);
    }
    let whole = json!({
        "choices": [{"message": {"content": "x", "reasoning": "y"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 5}},
    });
    let answer = Answer::whole(&whole, "host", None).unwrap();
    let usage =
        json!({"inputTokens": 9, "outputTokens": 8, "cachedTokens": 4, "reasoningTokens": 5, "finishReason": "stop"});
    assert_eq!((&*answer.reasoning, answer.usage(None)), ("y", usage));
}
