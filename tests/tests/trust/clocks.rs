//! Clocks of one machine that jump an hour (libfaketime): nobody is refused because of it, and nothing is good for longer.

use std::time::{Duration, Instant};

use cluster_tests::cluster::client::send;
use cluster_tests::cluster::clocks::{Clocks, TRUE};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::tls::{SOON, Tls};

const AGENTS: [&str; 2] = ["agent-1", "agent-2"];
/// For a key that ends within the test.
const SHORT: Duration = Duration::from_secs(6);
/// For everything else that ends.
const LONG: Duration = Duration::from_secs(600);
/// By how much a member's clock is ahead when its certificate is due, though it was made just now.
const AHEAD: &str = "+54000";
/// Seconds for which the address is good that takes a file.
const UPLOAD_ADDRESS_SECONDS: i64 = 3_600;

/// Three members and their coordinator, each with a clock of its own.
async fn cluster(clocks: Clocks) -> Tls {
    let mut cluster = Tls::start_by(Some(clocks), &[]).await;
    for agent in AGENTS {
        let token = cluster.token("agent").await;
        cluster.start_agent(agent, 2, Some(&token));
    }
    cluster.agents(&["connected"; 2]).await;
    cluster
}

fn restart(cluster: &mut Tls, name: &str) {
    cluster.kill(name);
    match name {
        "coordinator" => cluster.start_coordinator(),
        "gateway" => cluster.start_gateway(&[]),
        agent => cluster.start_agent(agent, 2, None),
    }
}

/// Waits until so many agents are connected, whatever became of others.
async fn connected(cluster: &Tls, agents: usize) {
    wait::until(&format!("{agents} agents"), SOON, || async {
        let answer = send(cluster.client().request(Method::GET, "/api/v1/agents")).await?;
        let Value::Array(all) = answer.json() else { return Err(answer.to_string()) };
        let here = all.iter().filter(|agent| agent["state"] == "connected").count();
        if here == agents { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}

/// All are there, work is done, and nobody was refused since the coordinator's start.
async fn works(cluster: &Tls, name: &str) {
    cluster.is_ready().await;
    connected(cluster, AGENTS.len()).await;
    let graph = (0..4)
        .fold(Graph::default(), |graph, number| graph.node(&format!("n{number}"), "debug:sleep", json!({ "ms": 20 })));
    let workflow = cluster.client().save(name, &graph).await;
    let run = cluster.client().run(&workflow, name).await;
    let ended = cluster.client().ended(&run, SOON).await;
    assert_eq!(ended["status"], "COMPLETED", "{name}: {ended}");
    for reason in ["certificate_expired", "no_certificate", "bad_certificate", "token_expired", "distrusted"] {
        assert_eq!(cluster.refused(reason).await, 0, "{name}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_because_a_clock_has_jumped_an_hour() {
    let Some(clocks) = Clocks::here() else { return };
    let mut cluster = cluster(clocks).await;
    let everybody = ["coordinator", "gateway", "agent-1", "agent-2", "newcomer"];
    let only = |who: &'static str, offset| everybody.map(|part| (part, if part == who { offset } else { TRUE }));
    let but = |others, offset| everybody.map(|part| (part, if part == "coordinator" { offset } else { others }));
    for (number, offsets) in [
        only("coordinator", "+3600"),
        only("coordinator", "-3600"),
        only("gateway", "+3600"),
        only("gateway", "-3600"),
        only("agent-1", "+3600"),
        only("agent-1", "-3600"),
        but("+3600", "-3600"),
        but("-3600", "+3600"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{offsets:?}");
        for (part, offset) in offsets {
            cluster.set_clock(part, offset);
        }
        // Connections are opened anew, by certificates of before; the coordinator makes itself one by its clock.
        for (part, _) in offsets.into_iter().filter(|(part, offset)| *offset != TRUE && *part != "newcomer") {
            restart(&mut cluster, part);
        }
        works(&cluster, &name).await;
        // And one joins now, with a token that is good for a minute.
        let token = cluster.token("agent").await;
        let newcomer = format!("newcomer-{number}");
        let (_, offset) = offsets[4];
        cluster.set_clock(&newcomer, offset);
        cluster.start_agent(&newcomer, 1, Some(&token));
        connected(&cluster, AGENTS.len() + 1).await;
        cluster.kill(&newcomer);
        works(&cluster, &format!("{name}, after a newcomer")).await;
        // Home again, which is a jump as well.
        for (part, _) in offsets {
            cluster.set_clock(part, TRUE);
        }
        for (part, _) in offsets.into_iter().filter(|(part, offset)| *offset != TRUE && *part != "newcomer") {
            restart(&mut cluster, part);
        }
        works(&cluster, &format!("{name}, and home")).await;
    }
}

/// By such a clock a certificate is due; what is made meanwhile by a coordinator whose clock is wrong as well is good at home, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_by_a_wrong_clock_is_as_good_as_another() {
    let Some(clocks) = Clocks::here() else { return };
    let mut cluster = cluster(clocks).await;
    let files = ["agent-1/tls/certificate.pem", "agent-2/tls/certificate.pem", "gateway/tls/certificate.pem"];
    for coordinator in ["+3600", "-3600"] {
        let read = |file: &str| std::fs::read(cluster.path(file)).unwrap();
        let before: Vec<_> = files.iter().map(|file| read(file)).collect();
        cluster.set_clock("coordinator", coordinator);
        ["gateway", "agent-1", "agent-2"].iter().for_each(|member| cluster.set_clock(member, AHEAD));
        for (file, before) in files.iter().zip(before) {
            wait::until(&format!("a new {file}"), 2 * SOON, || async {
                if read(file) == before { Err("it is the old one".to_owned()) } else { Ok(()) }
            })
            .await;
        }
        works(&cluster, coordinator).await;
        ["coordinator", "gateway", "agent-1", "agent-2"].iter().for_each(|part| cluster.set_clock(part, TRUE));
        ["coordinator", "gateway", "agent-1", "agent-2"].iter().for_each(|part| restart(&mut cluster, part));
        works(&cluster, &format!("{coordinator}, and home")).await;
    }
}

/// Further ahead than is borne: nobody believes what it made of itself. When its clock is set, it makes itself another.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_whose_clock_was_far_ahead_is_believed_when_it_is_set() {
    let Some(clocks) = Clocks::here() else { return };
    let mut cluster = cluster(clocks).await;
    cluster.set_clock("coordinator", "+36000");
    restart(&mut cluster, "coordinator");
    wait::until("members that do not believe it", SOON, || async {
        let log = std::fs::read_to_string(cluster.path("coordinator.log")).unwrap();
        if log.contains("distrusted") { Ok(()) } else { Err(log) }
    })
    .await;
    cluster.set_clock("coordinator", TRUE);
    cluster.is_ready().await;
    connected(&cluster, AGENTS.len()).await;
}

/// Keys, addresses and repeated requests: for as long as the database says, whatever the gateway's clock does.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_good_for_a_while_is_good_for_as_long() {
    let Some(clocks) = Clocks::here() else { return };
    let cluster = cluster(clocks).await;
    let client = cluster.client();
    let workflow = client.save("once", &Graph::default().node("n", "debug:sleep", json!({ "ms": 1 }))).await;
    for offset in ["+3600", "-3600"] {
        cluster.set_clock("gateway", TRUE);
        let key = async |life: Duration| {
            let ends = (jiff::Timestamp::now() + life).to_string();
            let body = json!({ "subject": offset, "scopes": ["workflows:read"], "expiresAt": ends });
            let made = cluster.asked(Method::POST, "/api/v1/keys", body).await;
            assert_eq!(made.status, 201, "{made}");
            text(&made.json()["key"])
        };
        let address = async || {
            let body = json!({ "bytes": 2, "filename": "x.txt", "contentType": "text/plain" });
            let made = cluster.asked(Method::POST, "/api/v1/media/upload-url", body).await;
            assert_eq!(made.status, 200, "{made}");
            text(&made.json()["data"]["uploadUrl"])
        };
        let put = async |address: &str| {
            let request = reqwest::Client::new().put(address).header("content-type", "text/plain");
            send(request.body("ok")).await.unwrap()
        };
        let listed = async |key: &str| {
            let request = client.anonymous(Method::GET, "/api/v1/workflows").bearer_auth(key);
            send(request).await.unwrap().status
        };
        let since = Instant::now();
        let (long, short) = (key(LONG).await, key(SHORT).await);
        assert_eq!((listed(&long).await, listed(&short).await), (200, 200), "{offset}");
        let (before, run) = (address().await, client.run(&workflow, offset).await);
        cluster.set_clock("gateway", offset);
        let put_before = put(&before).await;
        assert!(put_before.is_success(), "{offset}: {put_before}");
        // Made by the wrong clock, it ends as if it were right; and it is good at once.
        let made = address().await;
        let expires = made.split("expires=").nth(1).and_then(|rest| rest.split('&').next()?.parse::<i64>().ok());
        let left = expires.unwrap() - jiff::Timestamp::now().as_second();
        assert!((UPLOAD_ADDRESS_SECONDS - 30..=UPLOAD_ADDRESS_SECONDS + 30).contains(&left), "{offset}: {left} s");
        assert!(put(&made).await.is_success(), "{offset}");
        assert_eq!(client.run(&workflow, offset).await, run, "{offset}: the same request is the same run");
        assert_eq!(listed(&long).await, 200, "{offset}");
        wait::pace((SHORT + Duration::from_secs(1)).saturating_sub(since.elapsed())).await;
        assert_eq!((listed(&long).await, listed(&short).await), (200, 401), "{offset}");
        cluster.set_clock("gateway", TRUE);
        assert!(put(&address().await).await.is_success(), "{offset}, and home");
    }
}
