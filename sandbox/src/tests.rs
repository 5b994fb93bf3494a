use std::time::Duration;

use serde_json::{Value, json};

use crate::limits::{DELAY_MS_MAX, RULES_MAX, SCRIPTS_MAX, STEPS_MAX};
use crate::{ScriptsByCredential, router, scripted_router};

struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    async fn start() -> Self {
        Self::of(router()).await
    }

    async fn of(router: axum::Router) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        // The HTTP library brings no cryptography of its own.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        Self { base, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn script(&self, name: &str, script: Value) -> u16 {
        let request = self.http.put(format!("{}/script/{name}", self.base)).json(&script);
        request.send().await.unwrap().status().as_u16()
    }

    async fn post(&self, name: &str, path: &str, body: Value) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(format!("sandbox:{name}"));
        request.json(&body).send().await.unwrap()
    }

    async fn chat(&self, name: &str, more: Value) -> reqwest::Response {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "high tide"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(name, "/v1/chat/completions", body).await
    }

    async fn ledger(&self) -> Vec<Value> {
        let ledger: Value = self.http.get(format!("{}/ledger", self.base)).send().await.unwrap().json().await.unwrap();
        ledger["calls"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn answers_are_alike_and_streams_say_the_same() {
    let client = Client::start().await;
    let first: Value = client.chat("a", json!({})).await.json().await.unwrap();
    let again: Value = client.chat("a", json!({})).await.json().await.unwrap();
    assert_eq!(first, again);
    assert_eq!(first["choices"][0]["message"]["content"], "Sandbox answer about: high tide");
    let stream = client.chat("a", json!({"stream": true, "stream_options": {"include_usage": true}})).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let text = stream.text().await.unwrap();
    let events: Vec<Value> =
        text.split("\n\n").filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok()).collect();
    let said: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "Sandbox answer about: high tide");
    assert_eq!(events.last().unwrap()["usage"], first["usage"]);
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn schemas_and_tools_get_what_they_ask_for() {
    let client = Client::start().await;
    let schema = json!({"type": "object", "properties": {"score": {"type": "number", "minimum": 3}, "tags": {"type": "array", "items": {"enum": ["x"]}}}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
    let answer: Value = client.chat("a", format).await.json().await.unwrap();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(content).unwrap(), json!({"score": 3.0, "tags": ["x"]}));
    let tools = json!({"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}}], "tool_choice": "required"});
    let answer: Value = client.chat("a", tools).await.json().await.unwrap();
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("look"), &json!("{\"at\":\"sandbox at\"}")));
    let body = json!({"input": ["a", "b"], "model": "m", "dimensions": 40});
    let vectors: Value = client.post("a", "/v1/embeddings", body.clone()).await.json().await.unwrap();
    assert_eq!(vectors["data"][1]["embedding"].as_array().unwrap().len(), 40);
    assert_ne!(vectors["data"][0]["embedding"], vectors["data"][1]["embedding"]);
    let body = json!({"input": "a", "model": "m", "dimensions": 3, "encoding_format": "base64"});
    let packed: Value = client.post("a", "/v1/embeddings", body).await.json().await.unwrap();
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 16, "three numbers of four bytes");
}

#[tokio::test]
async fn scripts_are_one_step_a_call_and_each_credentials_own() {
    let client = Client::start().await;
    let script = json!({"answers": ["first"], "steps": [{"status": 429, "retryAfterMs": 1500}, {"truncate": true}]});
    assert_eq!(client.script("a", script).await, 204);
    let answer: Value = client.chat("a", json!({})).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "first");
    assert_eq!(client.chat("b", json!({})).await.status(), 200, "another's script");
    let limited = client.chat("a", json!({})).await;
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"2".parse().unwrap()));
    assert!(client.chat("a", json!({"stream": true})).await.text().await.is_err(), "it breaks off");
    assert_eq!(client.chat("a", json!({})).await.status(), 200, "the script is over");
    for (script, place) in [
        (json!({"steps": [{"status": 99}]}), "/steps/0/status: "),
        (json!({"step": []}), "/step: "),
        (json!({"steps": [{"delayMs": 999_999_999}]}), "/steps/0/delayMs: "),
    ] {
        let refused = client.http.put(format!("{}/script/a", client.base)).json(&script).send().await.unwrap();
        assert_eq!(refused.status(), 400);
        let error: Value = refused.json().await.unwrap();
        assert_eq!(error["error"]["code"], "script_invalid");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(place), "{error}");
    }
}

#[tokio::test]
async fn rules_have_calls_by_what_they_ask() {
    let client = Client::start().await;
    let rules = json!([
        {"contains": "high", "steps": [{"status": 503}, {"answer": "second"}]},
        {"contains": "tide", "steps": [{"answer": "third"}, {"status": 400}], "repeat": true},
    ]);
    assert_eq!(client.script("a", json!({"answers": ["none of them"], "rules": rules})).await, 204);
    let ask = async |message: &str| {
        let answered = client.chat("a", json!({"messages": [{"role": "user", "content": message}]})).await;
        let status = answered.status().as_u16();
        let answer: Value = answered.json().await.unwrap();
        (status, answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask("high tide").await.0, 503);
    assert_eq!(ask("storm").await, (200, "none of them".to_owned()));
    assert_eq!(ask("high tide").await, (200, "second".to_owned()));
    assert_eq!(ask("high tide").await, (200, "third".to_owned()), "the first rule is over");
    for _ in 0..3 {
        assert_eq!(ask("low tide").await.0, 400);
    }
    assert_eq!(ask("storm").await, (200, "Sandbox answer about: storm".to_owned()));
}

#[tokio::test]
async fn scripts_are_there_from_the_start() {
    let scripts =
        json!({"a": {"answers": ["first"], "rules": [{"contains": "tide", "steps": [{"status": 503}]}]}, "b": {}});
    let client = Client::of(scripted_router(ScriptsByCredential::read(scripts.to_string().as_bytes()).unwrap())).await;
    assert_eq!(client.chat("a", json!({})).await.status(), 503);
    let answer: Value = client.chat("a", json!({})).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "first");
    assert_eq!(client.chat("b", json!({})).await.status(), 200);
}

/// What is wrong with the text of a file of scripts.
fn fault(text: &str) -> String {
    ScriptsByCredential::read(text.as_bytes()).map(drop).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_with_a_script_has_its_place() {
    let rule = |rule: Value| json!({"openai": {"rules": [{"contains": "a", "steps": [{}]}, rule]}}).to_string();
    for (text, place, why) in [
        (String::new(), "", "EOF"),
        ("[1]".to_owned(), "", "invalid type: sequence, expected a map"),
        ("{\"openai\": {}} more".to_owned(), "", "trailing characters"),
        ("{\"openai\": {\"answers\": [\"a\",]}}".to_owned(), "/openai/answers", "trailing comma at line 1 column 29"),
        (json!({"openai": []}).to_string(), "/openai", "invalid type: sequence, expected an object"),
        (json!({"openai": "answer"}).to_string(), "/openai", "expected an object"),
        (json!({"openai": {"steps": [["answer"]]}}).to_string(), "/openai/steps/0", "expected an object"),
        (rule(json!(["b", []])), "/openai/rules/1", "expected an object"),
        (rule(json!({"contains": "b", "steps": [[]]})), "/openai/rules/1/steps/0", "expected an object"),
        (
            json!({"openai": {"answer": "a"}}).to_string(),
            "/openai/answer",
            "unknown field `answer`, expected one of `answers`, `steps`, `rules`",
        ),
        (json!({"openai": {"answers": "a"}}).to_string(), "/openai/answers", "invalid type: string"),
        (json!({"a/b~c": {"answers": [1]}}).to_string(), "/a~1b~0c/answers/0", "expected a string"),
        (json!({"openai": {"steps": [{"state": 503}]}}).to_string(), "/openai/steps/0/state", "unknown field `state`"),
        (
            json!({"openai": {"steps": [{}, {"status": "503"}]}}).to_string(),
            "/openai/steps/1/status",
            "invalid type: string",
        ),
        (json!({"openai": {"steps": [{}, {"status": 99}]}}).to_string(), "/openai/steps/1/status", "from 200 to 599"),
        (json!({"openai": {"steps": [{"delayMs": -1}]}}).to_string(), "/openai/steps/0/delayMs", "invalid value"),
        (rule(json!({"contains": "b"})), "/openai/rules/1", "missing field `steps`"),
        (rule(json!({"steps": []})), "/openai/rules/1", "missing field `contains`"),
        (rule(json!({"contains": ["b"], "steps": []})), "/openai/rules/1/contains", "expected a string"),
        (
            rule(json!({"contains": "b", "steps": [], "repeats": true})),
            "/openai/rules/1/repeats",
            "unknown field `repeats`",
        ),
        (
            rule(json!({"contains": "b", "steps": [{}, {"status": 700}]})),
            "/openai/rules/1/steps/1/status",
            "from 200 to 599",
        ),
    ] {
        let said = fault(&text);
        let before = if place.is_empty() { String::new() } else { format!("{place}: ") };
        assert!(said.starts_with(&before) && said.contains(why), "{text}: {said}");
        assert!(!place.is_empty() || !said.starts_with('/'), "{text}: {said}");
    }
}

#[test]
fn a_script_has_bounds() {
    let step = |step: Value| json!({"a": {"rules": [{"contains": "a", "steps": [step]}]}}).to_string();
    for field in ["delayMs", "pieceDelayMs", "retryAfterMs"] {
        let said = fault(&step(json!({ field: DELAY_MS_MAX + 1 })));
        assert_eq!(said, format!("/a/rules/0/steps/0/{field}: a delay is at most {DELAY_MS_MAX} ms"));
        assert!(ScriptsByCredential::read(step(json!({ field: DELAY_MS_MAX })).as_bytes()).is_ok());
    }
    let rules = |count: usize| json!({"a": {"rules": vec![json!({"contains": "a", "steps": []}); count]}}).to_string();
    assert!(ScriptsByCredential::read(rules(RULES_MAX).as_bytes()).is_ok());
    assert_eq!(fault(&rules(RULES_MAX + 1)), format!("/a/rules: a script has at most {RULES_MAX} rules"));
    let steps = |count: usize| {
        let rules = json!([{"contains": "a", "steps": [{}]}]);
        json!({"a": {"answers": ["one"], "steps": vec![json!({}); count - 2], "rules": rules}}).to_string()
    };
    assert!(ScriptsByCredential::read(steps(STEPS_MAX).as_bytes()).is_ok());
    assert!(fault(&steps(STEPS_MAX + 1)).starts_with(&format!("/a: a script has at most {STEPS_MAX} steps")));
    let scripts =
        |count: usize| Value::Object((0..count).map(|name| (name.to_string(), json!({}))).collect()).to_string();
    assert!(ScriptsByCredential::read(scripts(SCRIPTS_MAX).as_bytes()).is_ok());
    assert!(fault(&scripts(SCRIPTS_MAX + 1)).contains(&format!("at most {SCRIPTS_MAX}")));
}

#[tokio::test]
async fn what_is_not_there_is_refused_as_providers_do() {
    let client = Client::start().await;
    for (path, code) in [("/v1/images/generations", "unknown_url"), ("/v1/models/elsewhere", "unknown_url")] {
        let refused = client.post("a", path, json!({})).await;
        assert_eq!(refused.status(), 404);
        assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], code);
    }
    let model = |name: &str| client.http.get(format!("{}/v1/models/{name}", client.base)).send();
    assert_eq!(model("sandbox-model").await.unwrap().status(), 200);
    let none: Value = model("elsewhere").await.unwrap().json().await.unwrap();
    assert_eq!(none["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn a_call_whose_caller_went_away_is_in_the_ledger() {
    let client = Client::start().await;
    client.script("a", json!({"steps": [{"delayMs": 600_000}]})).await;
    let request = client.http.post(format!("{}/v1/chat/completions", client.base)).bearer_auth("sandbox:a");
    let asked = tokio::spawn(request.json(&json!({"model": "m", "messages": [{}]})).send());
    let came = async {
        loop {
            if let Some(call) = client.ledger().await.pop() {
                break call;
            }
        }
    };
    let call = tokio::time::timeout(Duration::from_secs(30), came).await.unwrap();
    asked.abort();
    assert_eq!((&call["credential"], call.get("status")), (&json!("a"), None));
}

#[tokio::test]
async fn the_ledger_holds_calls_and_no_strange_tokens() {
    let client = Client::start().await;
    client.chat("a", json!({})).await;
    let strange = client.http.post(format!("{}/http/example.com/x", client.base)).bearer_auth("sk-real-secret");
    let echoed: Value = strange.json(&json!({"k": 1})).send().await.unwrap().json().await.unwrap();
    assert_eq!((&echoed["address"], &echoed["body"]["k"]), (&json!("example.com/x"), &json!(1)));
    let calls = client.ledger().await;
    assert_eq!(calls[0]["credential"], "a");
    assert_eq!(calls[0]["call"], "POST /v1/chat/completions");
    assert_eq!((&calls[0]["status"], &calls[1]["credential"]), (&json!(200), &json!("anonymous")));
    assert!(!json!(calls).to_string().contains("sk-real-secret"));
    client.http.delete(format!("{}/ledger", client.base)).send().await.unwrap();
    assert!(client.ledger().await.is_empty());
    assert_eq!(client.post("a", "/v1/chat/completions", json!({"messages": []})).await.status(), 400);
}

#[tokio::test]
async fn jobs_are_begun_once_and_cancelled_unless_they_are_done() {
    let client = Client::start().await;
    let at = |path: &str| format!("{}/v1/jobs{path}", client.base);
    let begin = async |key: &str, ms: u64| -> Value {
        let request = client.http.post(at("")).header("idempotency-key", key).json(&json!({ "ms": ms }));
        request.send().await.unwrap().json().await.unwrap()
    };
    let told =
        async |request: reqwest::RequestBuilder| -> Value { request.send().await.unwrap().json().await.unwrap() };
    let (long, short) = (begin("a", 600_000).await, begin("b", 0).await);
    assert_eq!((&long["state"], &long["charged"]), (&json!("running"), &json!(false)));
    assert_eq!(begin("a", 600_000).await["id"], long["id"], "one key, one job");
    let path = |job: &Value| at(&format!("/{}", job["id"].as_str().unwrap()));
    assert_eq!(told(client.http.get(path(&short))).await["state"], "finished");
    for _ in 0..2 {
        assert_eq!(told(client.http.delete(path(&long))).await["state"], "cancelled");
        assert_eq!(told(client.http.delete(path(&short))).await["state"], "finished", "it was done before");
    }
    let again = begin("a", 600_000).await;
    assert_eq!((&again["id"], &again["state"]), (&long["id"], &json!("cancelled")), "one key, one job, also then");
    let ledger = told(client.http.get(format!("{}/ledger", client.base))).await;
    let jobs = ledger["jobs"].as_array().unwrap();
    let of = |field: &str| jobs.iter().map(|job| job[field].clone()).collect::<Vec<_>>();
    assert_eq!((of("charged"), of("cancels")), (vec![json!(false), json!(true)], vec![json!(2), json!(2)]));
    assert_eq!(client.http.get(at("/job_9")).send().await.unwrap().status(), 404);
    assert_eq!(client.post("a", "/v1/jobs", json!({ "ms": -1 })).await.status(), 400);
}
