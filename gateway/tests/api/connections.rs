use std::time::Duration;

use heddle_proto::control::RunStatus;
use reqwest::Method;
use tokio::time::timeout;

use crate::fake::Fake;
use crate::setup::{Api, Proxy, answer};

const POLL: &str = "/api/v1/workflows/executions/exec_1/poll";

/// A gateway, the wire behind it, and a first call that opened it.
async fn wired() -> (Api, Proxy) {
    let (fake, coordinator) = Fake::start().await;
    fake.script().run.status = RunStatus::Running.into();
    let proxy = Proxy::start(coordinator).await;
    let api = Api::behind(&proxy, fake).await;
    assert_eq!(api.get(POLL).await.status, 200);
    (api, proxy)
}

#[tokio::test]
async fn a_read_survives_a_cut_wire() {
    let (api, proxy) = wired().await;
    api.fake.script().holds_polls = true;
    let polled = tokio::spawn(answer(api.request(Method::GET, &format!("{POLL}?wait=30"))));
    timeout(Duration::from_secs(20), api.fake.held.notified()).await.unwrap();
    api.fake.script().holds_polls = false;
    proxy.cut();
    assert_eq!(timeout(Duration::from_secs(20), polled).await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn a_submit_without_a_key_is_not_sent_twice() {
    let (api, proxy) = wired().await;
    for (key, status, sent) in [(None, 503, 1), (Some("k"), 201, 2)] {
        {
            let mut script = api.fake.script();
            script.holds_submits = true;
            script.submits.clear();
        }
        let mut request = api.json(Method::POST, "/api/v1/workflows/wf_1/execute", "{}");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let submitted = tokio::spawn(answer(request));
        timeout(Duration::from_secs(20), api.fake.held.notified()).await.unwrap();
        api.fake.script().holds_submits = false;
        proxy.cut();
        let answer = timeout(Duration::from_secs(20), submitted).await.unwrap().unwrap();
        assert_eq!((answer.status, api.fake.script().submits.len()), (status, sent), "{}", answer.text);
    }
}
