//! Tokens: used once, for one role, within their time.

use std::os::unix::fs::PermissionsExt as _;

use cluster_tests::wait;
use heddle_trust::Role;
use reqwest::Method;
use serde_json::json;

use crate::tls::{SOON, Tls, code};

#[tokio::test(flavor = "multi_thread")]
async fn members_join_with_a_token_and_stay_without_one() {
    let mut cluster = Tls::start(&[]).await;
    let token = cluster.token("agent").await;
    cluster.start_agent("agent-1", 1, Some(&token));
    cluster.agents(&["connected"]).await;
    for file in
        ["agent-1/tls/key.pem", "agent-1/tls/certificate.pem", "gateway/tls/key.pem", "coordinator/authority/ca.key"]
    {
        let mode = std::fs::metadata(cluster.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // Everything starts again, with certificates only; the agent's command line still has its old token.
    for part in ["coordinator", "gateway", "agent-1"] {
        cluster.kill(part);
    }
    cluster.start_coordinator();
    cluster.start_gateway(&[]);
    cluster.start_agent("agent-1", 1, Some(&token));
    cluster.is_ready().await;
    cluster.agents(&["connected"]).await;
    assert_eq!(cluster.refused("token_used").await, 0);
    let run = cluster.client().run(&workflow(&cluster).await, "run").await;
    assert_eq!(cluster.client().ended(&run, SOON).await["status"], "COMPLETED");
}

async fn workflow(cluster: &Tls) -> String {
    let graph = cluster_tests::cluster::graph::Graph::default()
        .node("text", "input:text", json!({"text": "x"}))
        .node("out", "output:text", json!({}))
        .edge("text.text", "out.text");
    cluster.client().save("joined", &graph).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_needs_a_token_that_counts() {
    let mut cluster = Tls::start(&[]).await;
    // None at all: it says what to do and ends.
    cluster.start_agent("without", 1, None);
    let said = cluster.ended("without").await;
    assert!(said.contains("pass --join TOKEN"), "{said}");

    let used = cluster.token("agent").await;
    cluster.start_agent("agent-1", 1, Some(&used));
    cluster.agents(&["connected"]).await;
    let expiring = cluster.minted("agent", 1).await["token"].as_str().unwrap().to_owned();
    let revoked = cluster.minted("agent", 60).await;
    let path = format!("/api/v1/agents/tokens/{}", revoked["id"].as_str().unwrap());
    let answer = cluster.asked(Method::DELETE, &path, json!({})).await;
    assert_eq!(answer.status, 200, "{answer}");
    let gateways = cluster.token("gateway").await;
    let elsewhere = Tls::start(&[]).await.token("agent").await;

    wait::pace(std::time::Duration::from_millis(1_100)).await;
    for (name, token, reason) in [
        ("used", used.as_str(), "token_used"),
        ("expired", &expiring, "token_expired"),
        ("revoked", revoked["token"].as_str().unwrap(), "token_revoked"),
        ("gateways", &gateways, "wrong_role"),
    ] {
        cluster.start_agent(name, 1, Some(token));
        let said = cluster.ended(name).await;
        assert!(said.contains(reason), "{name}: {said}");
        cluster.counts(reason, 1).await;
    }
    // A token of another cluster: the agent does not even show it.
    cluster.start_agent("elsewhere", 1, Some(&elsewhere));
    let said = cluster.ended("elsewhere").await;
    assert!(said.contains("authority_mismatch"), "{said}");
    cluster.counts("distrusted", 1).await;
    cluster.start_agent("malformed", 1, Some(&used[..used.len() - 1]));
    let said = cluster.ended("malformed").await;
    assert!(said.contains("not a join token"), "{said}");
    cluster.agents(&["connected"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_race_with_one_token_one_gets_in() {
    let cluster = Tls::start(&[]).await;
    let token = cluster.token("agent").await;
    let joins = (0..8).map(|number| {
        let id = format!("racer-{number}");
        let way = cluster.member(Role::Agent, &cluster.path(&id), &id, Some(token.clone()));
        tokio::spawn(async move { way.prepare().await })
    });
    let joins: Vec<_> = joins.collect();
    let mut joined = 0;
    for join in joins {
        match join.await.unwrap() {
            Ok(()) => joined += 1,
            Err(trouble) => assert_eq!(code(&trouble), "token_used"),
        }
    }
    assert_eq!(joined, 1);
    assert_eq!(cluster.refused("token_used").await, 7);
    // An answer that was lost: the same member asks again with the same key.
    let token = cluster.token("agent").await;
    let way = cluster.member(Role::Agent, &cluster.path("lost"), "lost", Some(token.clone()));
    way.prepare().await.unwrap();
    std::fs::remove_file(cluster.path("lost/tls/certificate.pem")).unwrap();
    let way = cluster.member(Role::Agent, &cluster.path("lost"), "lost", Some(token));
    way.prepare().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_listed_and_revoked_on_the_command_line() {
    let cluster = Tls::start(&[]).await;
    let made = cluster.heddle(&["agents", "token", "create", "--for", "gateway", "--ttl", "5m"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(made.stdout).unwrap();
    assert!(text.starts_with("hjt_") && text.trim().len() == 96, "{text}");
    let list = cluster.heddle(&["agents", "token", "list", "--json"]).await;
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let row = &list[0];
    assert_eq!((&row["for"], row.get("token"), &row["usedAt"]), (&json!("gateway"), None, &json!(null)), "{list}");
    // The first gateway's own is there, too, and says who has used it.
    assert!(list[1]["usedBy"].as_str().unwrap().starts_with("gateway_"), "{list}");
    let revoked = cluster.heddle(&["agents", "token", "revoke", row["id"].as_str().unwrap()]).await;
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let way = cluster.member(Role::Gateway, &cluster.path("late"), "late", Some(text.trim().to_owned()));
    assert_eq!(code(&way.prepare().await.unwrap_err()), "token_revoked");
    let table = cluster.heddle(&["agents", "token", "list"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("revoked") && table.contains("used"), "{table}");
    for (body, path) in
        [(json!({"for": "coordinator"}), "for"), (json!({"ttlSeconds": 0}), "ttlSeconds"), (json!({"x": 1}), "x")]
    {
        let answer = cluster.asked(Method::POST, "/api/v1/agents/tokens", body).await;
        assert!(answer.status == 400 && answer.to_string().contains(path), "{answer}");
    }
}
