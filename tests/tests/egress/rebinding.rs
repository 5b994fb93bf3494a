//! Names that lead inside, at once or at the second look.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use hickory_proto::rr::RecordType;
use serde_json::json;

use super::names::{Names, Turns, alias, at};
use super::{Inside, OPEN_PORT, ask, end, own_server, set_secret, workflow};

/// Addresses of the public internet that nobody answers at: a sink for stray questions, and a block that was given back.
const PUBLIC: [&str; 2] = ["192.31.196.1", "3ffe::1"];
/// So often each name is asked for: it has turned by then, and stays so.
const ASKS: usize = 3;

/// Names that show a public address first and an inner one then.
fn turning(inner: &str) -> HashMap<String, Turns> {
    let [four, six] = PUBLIC;
    HashMap::from([
        ("four.test".to_owned(), vec![vec![at(four)], vec![at(inner)]]),
        ("six.test".to_owned(), vec![vec![at(six)], vec![at("::1")]]),
        ("both.test".to_owned(), vec![vec![at(four), at(six)], vec![at(inner), at("::1")]]),
        ("mapped.test".to_owned(), vec![vec![at(six)], vec![at(&format!("::ffff:{inner}"))]]),
        ("alias.test".to_owned(), vec![vec![at(four)], vec![alias("inner.test")]]),
    ])
}

/// Names that lead inside each time.
fn inner(inner: &str) -> HashMap<String, Turns> {
    let [_, _, c, d] = inner.parse::<std::net::Ipv4Addr>().unwrap().octets();
    HashMap::from([
        ("inner.test".to_owned(), vec![vec![at(inner), at("::1")]]),
        ("chain.test".to_owned(), vec![vec![alias("middle.test")]]),
        ("middle.test".to_owned(), vec![vec![alias("inner.test")]]),
        ("number.test".to_owned(), vec![vec![alias("localtest.test")]]),
        ("localtest.test".to_owned(), vec![vec![at("127.0.0.1"), at("::1")]]),
        ("nat64.test".to_owned(), vec![vec![at(&format!("64:ff9b::{inner}"))]]),
        ("relay.test".to_owned(), vec![vec![at(&format!("2002:7f00:{c:x}{d:02x}::1"))]]),
        ("many.inner.test".to_owned(), vec![["10.0.0.1", "169.254.169.254", inner, "::1", "fd00::1"].map(at).into()]),
    ])
}

/// Answers with many records, of which one is inner, in the front, in the middle or at the end.
fn mixed(inner: &str) -> HashMap<String, Turns> {
    let [four, six] = PUBLIC;
    HashMap::from([
        ("first.mixed.test".to_owned(), vec![[inner, four, six].map(at).into()]),
        (
            "last.mixed.test".to_owned(),
            vec![[four, "192.31.196.2", "192.31.196.3", "192.31.196.4", inner].map(at).into()],
        ),
        ("families.mixed.test".to_owned(), vec![[four, "::1"].map(at).into()]),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_turns_inside_reaches_nobody() {
    let (inside, own) = (Inside::start(), own_server());
    let address = inside.address.to_string();
    let (turning, inner, mixed) = (turning(&address), inner(&address), mixed(&address));
    let mut known: HashMap<String, Turns> = HashMap::from([("own.test".to_owned(), vec![vec![at("127.0.0.1")]])]);
    known.extend([&turning, &inner, &mixed].into_iter().flatten().map(|(name, turns)| (name.clone(), turns.clone())));
    let names = Names::start(known);
    let arguments = vec![(Part::Agent(0), vec!["--resolver".to_owned(), names.address.to_string()])];
    let cluster = Cluster::set_up(Shape::new(1, 1, 64), Setting { arguments, ..Setting::default() }).await;
    let client = cluster.client();
    set_secret(&cluster.folder().join("agent-0"), &[&format!("own.test:{own}")]);
    let keyed = workflow(client, "keyed", "http:request", json!({ "credential": "own" })).await;
    let by_name = format!("http://own.test:{own}");
    // The server of the test is the one that is asked, and what it says is connected to.
    assert_eq!(end(client, &ask(client, &keyed, &format!("{by_name}/echo")).await).await, "COMPLETED");
    let plain = workflow(client, "plain", "http:request", json!({})).await;
    let files = workflow(client, "files", "http:download", json!({})).await;
    for number in 0..ASKS {
        let mut runs = Vec::new();
        for name in turning.keys().chain(inner.keys()).chain(mixed.keys()) {
            for host in [name.clone(), format!("{name}."), name.to_uppercase()] {
                let url = format!("https://{host}:{OPEN_PORT}/");
                runs.push((name, ask(client, &plain, &url).await));
                runs.push((name, ask(client, &files, &url).await));
                runs.push((name, ask(client, &keyed, &format!("{by_name}/to?{url}")).await));
            }
        }
        for (name, run) in runs {
            let code = end(client, &run).await;
            let is_denied_for_sure = inner.contains_key(name) || (number > 0 && turning.contains_key(name));
            let is_right = code == "address_denied" || (!is_denied_for_sure && UNANSWERED.contains(&&*code));
            assert!(is_right, "{name}, time {number}: {code}");
        }
    }
    for name in turning.keys().chain(inner.keys()).chain(mixed.keys()) {
        for kind in [RecordType::A, RecordType::AAAA] {
            assert!(names.asked(name, kind) >= ASKS, "{name} {kind}");
        }
    }
    assert_eq!(inside.asked.load(Ordering::Relaxed), 0, "somebody inside was asked");
    inside.does_count().await;
}

/// How it ends when nobody answers at a public address.
const UNANSWERED: [&str; 2] = ["server_unreachable", "timeout"];
