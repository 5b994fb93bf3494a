use super::super::Input;
use super::*;

/// Work with this config and no inputs.
pub(crate) fn work(config: &Value) -> Work {
    Work {
        execution_id: "exec_1".into(),
        node_id: "n1".into(),
        config: Bytes::from(config.to_string()),
        inputs: Vec::new(),
        attempt: 3,
        lineage_attempt: 1,
        idempotency_key: String::new(),
        handle: Bytes::new(),
        traceparent: String::new(),
        sandbox: false,
    }
}

fn wired(port: &str, values: &[&'static str]) -> Work {
    let values = values.iter().map(|json| Bytes::from_static(json.as_bytes())).collect();
    Work { inputs: vec![Input { port: port.into(), list: true, values }], ..work(&json!({})) }
}

fn text(outputs: Result<Vec<Output>, Failure>) -> String {
    String::from_utf8(outputs.unwrap()[0].value.to_vec()).unwrap()
}

fn code(outputs: Result<Vec<Output>, Failure>) -> String {
    outputs.unwrap_err().code.into_owned()
}

#[test]
fn echo_prefers_its_value_then_its_edges() {
    let as_written = Work { config: Bytes::from_static(br#"{"value":{"b":1.0,"a":[2]}}"#), ..work(&json!({})) };
    assert_eq!(text(echo(&as_written)), r#"{"b":1.0,"a":[2]}"#);
    assert_eq!(text(echo(&work(&json!({"value": false})))), "false");
    assert_eq!(text(echo(&work(&json!({})))), "null");
    assert_eq!(text(echo(&wired("in", &[r#"{"one":1}"#]))), r#"{"one":1}"#);
    assert_eq!(text(echo(&wired("in", &["1", r#""two""#]))), r#"[1,"two"]"#);
    assert_eq!(text(echo(&wired("item", &["7"]))), "7");
}

#[test]
fn fail_counts_over_the_lineage() {
    let config = json!({"times": 2, "class": "rate_limited"});
    let attempt = |lineage_attempt| fail(&Work { lineage_attempt, ..work(&config) });
    assert_eq!(attempt(1).unwrap_err().class, ErrorClass::RateLimited);
    assert_eq!(attempt(2).unwrap_err().code, "debug_fail");
    assert_eq!(text(attempt(3)), "null");
    assert_eq!(fail(&work(&json!({}))).unwrap_err().class, ErrorClass::Retryable);
    assert_eq!(code(fail(&work(&json!({"class": "bad_luck"})))), "config_invalid");
}

#[test]
fn lists_and_texts_have_the_length_asked_for() {
    assert_eq!(text(list(&work(&json!({"count": 4})))), "[0,1,2,3]");
    assert_eq!(text(list(&work(&json!({"count": 0})))), "[]");
    assert_eq!(text(bytes(&work(&json!({"count": 3})))), r#""xxx""#);
    assert_eq!(text(bytes(&work(&json!({"count": 0})))), r#""""#);
    assert_eq!(code(list(&work(&json!({"count": LIST_ITEMS_MAX + 1})))), "config_invalid");
    assert_eq!(code(bytes(&work(&json!({"count": -1})))), "config_invalid");
}

#[tokio::test]
async fn effect_adds_one_line_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let effects: Arc<Path> = Arc::from(folder.path());
    for _ in 0..2 {
        effect(work(&json!({"file": "calls"})), Some(Arc::clone(&effects))).await.unwrap();
    }
    for key in ["exec_1:n1:0@3.1", "exec_1:n1:0@3.1:f2"] {
        let work = Work { idempotency_key: key.into(), ..work(&json!({"file": "calls"})) };
        effect(work, Some(Arc::clone(&effects))).await.unwrap();
    }
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "exec_1 n1 3\nexec_1 n1 3\nexec_1 n1 3 @3.1\nexec_1 n1 3 @3.1\n");
}

#[tokio::test]
async fn effect_waits_until_a_file_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let effects: Arc<Path> = Arc::from(folder.path());
    let config = json!({"file": "calls", "begun": "begun", "until": "gate"});
    let mut waiting = Box::pin(effect(work(&config), Some(effects)));
    assert!(futures::poll!(&mut waiting).is_pending());
    let exists = |file: &str| folder.path().join(file).exists();
    assert!(exists("begun") && !exists("calls"));
    std::fs::write(folder.path().join("gate"), "").unwrap();
    waiting.await.unwrap();
    assert!(exists("calls"));
}

#[tokio::test]
async fn effect_stays_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let effects: Arc<Path> = Arc::from(folder.path());
    for file in ["../x", "/tmp/x", "a/../../x", ""] {
        let outcome = effect(work(&json!({"file": file})), Some(Arc::clone(&effects))).await;
        assert_eq!(code(outcome), "config_invalid", "{file:?}");
    }
    assert_eq!(code(effect(work(&json!({"file": "x"})), None).await), "effects_disabled");
}

#[tokio::test]
async fn a_sleep_without_a_length_is_refused() {
    assert_eq!(code(idle(work(&json!({}))).await), "config_invalid");
    assert_eq!(text(idle(work(&json!({"ms": 0, "label": "nap"}))).await), "null");
}
