//! Plaintext: on this machine only, and never where TLS is spoken.

use cluster_tests::cluster::free_address;
use cluster_tests::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls::{SOON, Tls};

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_gets_nothing_where_tls_is_spoken() {
    let mut cluster = Tls::start(&[]).await;
    let mut stream = TcpStream::connect(&cluster.coordinator).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert, or nothing at all; then it is closed.
    let _reset = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(answer.len() < 16, "{answer:?}");
    cluster.counts("plaintext", 1).await;

    let before = cluster.refused("plaintext").await;
    let (plain, data) = (format!("http://{}", cluster.coordinator), cluster.path("plain").display().to_string());
    cluster.start_process("plain", &["agent", "--coordinator", &plain, "--data-dir", &data]);
    cluster.counts("plaintext", before + 1).await;
    cluster.agents(&[]).await;
    cluster.kill("plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_does_not_leave_the_machine_unless_it_is_said_aloud() {
    let mut cluster = Tls::start(&[]).await;
    let data = cluster.path("far").display().to_string();
    for part in [&["agent"][..], &["gateway", "--listen", "127.0.0.1:0"]] {
        let name = format!("far-{}", part[0]);
        let rest = ["--coordinator", "http://192.0.2.1:7420", "--data-dir", &data];
        cluster.start_process(&name, &[part, &rest[..]].concat());
        let said = cluster.ended(&name).await;
        assert!(said.contains("plaintext would leave it"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plaintext_coordinator_answers_tls_with_words() {
    let mut cluster = Tls::start(&[]).await;
    let (listen, data) = (free_address(), cluster.path("plain").display().to_string());
    cluster.start_process("plain", &["coordinator", "--listen", &listen, "--data-dir", &data]);
    cluster.written("plain/key").await;
    wait::until("a coordinator that listens", SOON, || async {
        TcpStream::connect(&listen).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let token = cluster.token("agent").await;
    let (url, data) = (format!("https://{listen}"), cluster.path("lost").display().to_string());
    cluster.start_process("lost", &["agent", "--coordinator", &url, "--join", &token, "--data-dir", &data]);
    let said = cluster.ended("lost").await;
    assert!(said.contains("speaks plaintext"), "{said}");
    assert!(!cluster.path("plain/authority").exists(), "plaintext needs no authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_token_says_what_is_missing() {
    let mut cluster = Tls::start(&[]).await;
    let (coordinator, data) = (cluster.coordinator.clone(), cluster.path("bare").display().to_string());
    let rest = ["--listen", "127.0.0.1:0", "--coordinator", &coordinator, "--data-dir", &data];
    cluster.start_process("bare", &[&["gateway"], &rest[..]].concat());
    let said = cluster.ended("bare").await;
    assert!(said.contains("speaks TLS") && said.contains("--join TOKEN"), "{said}");
    assert!(!said.contains("is ready on") && !said.contains("h2"), "{said}");
}
