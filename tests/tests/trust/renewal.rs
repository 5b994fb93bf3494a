//! Certificates are renewed while work goes on, and nothing is lost.

use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::wait;
use serde_json::json;

use crate::tls::{SOON, Tls};

/// Short enough that a few lives pass in a test.
const LIFE: &str = "8s";
/// Each certificate is renewed at least this often within it.
const LIVES: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_every_certificate() {
    let mut cluster = Tls::start(&["--certificate-life", LIFE]).await;
    for agent in ["agent-1", "agent-2"] {
        let token = cluster.token("agent").await;
        cluster.start_agent(agent, 4, Some(&token));
    }
    cluster.agents(&["connected", "connected"]).await;
    let files = ["agent-1/tls/certificate.pem", "agent-2/tls/certificate.pem", "gateway/tls/certificate.pem"];
    let read = |file: &str| std::fs::read(cluster.path(file)).unwrap();
    let first: Vec<_> = files.iter().map(|file| read(file)).collect();

    let mut graph = Graph::default();
    for number in 0..6 {
        graph = graph.node(&format!("long-{number}"), "debug:sleep", json!({"ms": LIVES.as_millis() as u64}));
    }
    let workflow = cluster.client().save("long", &graph).await;
    let short = cluster.client().save("short", &Graph::default().node("one", "debug:sleep", json!({"ms": 5}))).await;
    let long = cluster.client().run(&workflow, "long").await;
    // Short runs all the while: no request fails, and none waits for a certificate.
    let end = tokio::time::Instant::now() + LIVES;
    let mut runs = 0;
    while tokio::time::Instant::now() < end {
        let run = cluster.client().run(&short, &format!("short-{runs}")).await;
        let ended = cluster.client().ended(&run, SOON).await;
        assert_eq!(ended["status"], "COMPLETED", "{ended}");
        runs += 1;
        wait::pace(Duration::from_millis(50)).await;
    }
    let ended = cluster.client().ended(&long, SOON).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let events = cluster.client().events(&long).await;
    let lost = events.iter().filter(|event| event.to_string().to_lowercase().contains("lost")).count();
    assert_eq!(lost, 0, "no attempt ran twice: {events:?}");
    for (file, first) in files.iter().zip(&first) {
        assert_ne!(&read(file), first, "{file} is the first one still");
    }
    for reason in ["certificate_expired", "no_certificate", "bad_certificate", "other_authority"] {
        assert_eq!(cluster.refused(reason).await, 0, "{reason}");
    }
    let (_, unknown) = cluster.client().totals();
    assert_eq!(unknown, 0, "of {runs} runs");
    cluster.agents(&["connected", "connected"]).await;
}
