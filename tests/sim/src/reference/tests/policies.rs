use super::*;

/// A node that refuses everything.
fn refusing(policy: Json) -> Sketch {
    let sketch =
        Sketch::default().input("a", json!({"n": 1})).with("it", work::ONE, json!({"refuses": 1})).policy(policy);
    sketch.edge("a.json", "it.one")
}

#[test]
fn an_error_may_be_an_output() {
    assert_eq!(refusing(json!({})).expected("it", &[]), Expected::Failed(vec![work::REFUSED.to_owned()]));
    let sketch =
        refusing(json!({"onError": "continue"})).with("after", work::WORK, json!({})).edge("it.out", "after.in");
    let sketch = sketch.with("mend", "output:preview", json!({})).edge("it.error", "mend.value");
    assert_eq!(sketch.gives("it.out"), None);
    let error = sketch.gives("mend.value").unwrap_or_default();
    assert!(fits(&error, &json!({"code": work::REFUSED, "message": "…"})), "{error}");
    assert!(!fits(&error, &json!({"code": "other"})));
    assert_eq!(sketch.expected("after", &[]), Expected::Skipped);
}

#[test]
fn another_provider_may_answer() {
    let fallback = json!([{"nodeType": work::ONE, "config": {"salt": 4}}]);
    let mut sketch = refusing(json!({"onError": "fallback", "fallback": fallback}));
    sketch.outside.fallbacks.insert(("it".to_owned(), Vec::new()), 0);
    let made = work::make(work::ONE, &json!({"salt": 4}), &[json!({"n": 1})]).map(|mut made| made.remove(0).1);
    assert_eq!(sketch.gives("it.out"), made);
    assert_ne!(sketch.gives("it.out"), Some(one(json!({"n": 1}))));
}
