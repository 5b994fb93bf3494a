//! Waits for a while, until an instant, and until a local time.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::*;

/// How long the short waits are.
const WHILE: Duration = Duration::from_millis(1_200);

/// So far from now, in whole milliseconds, as nothing finer is waited for.
fn from_now(time: Duration) -> Timestamp {
    Timestamp::from_millisecond((Timestamp::now() + time).as_millisecond()).unwrap()
}

/// What clocks in Tokyo show. There is no summer time there, so that nothing depends on the day of the test.
fn in_tokyo(at: Timestamp) -> DateTime {
    TimeZone::fixed(jiff::tz::offset(9)).to_datetime(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_once_and_not_before_its_time() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let due = from_now(2 * WHILE);
    let waits = [
        ("for", json!({ "for": "PT1.2S" })),
        ("milliseconds", json!({ "forMs": WHILE.as_millis() as u64 })),
        ("an instant", json!({ "until": due.to_string() })),
        ("an instant with an offset", json!({ "until": format!("{}+09:00", in_tokyo(due)) })),
        ("a local time", json!({ "until": in_tokyo(due).to_string(), "timezone": "Asia/Tokyo" })),
        ("the past", json!({ "until": "2001-01-01T00:00:00Z" })),
        ("the local past", json!({ "until": "2001-01-01T00:00", "timezone": "Europe/Berlin" })),
    ];
    let mut runs = Vec::new();
    for (name, config) in waits {
        let since = Instant::now();
        runs.push((name, since, start(client, name, &timer(config)).await));
    }
    for (name, since, execution) in runs {
        completed(client, &execution).await;
        match name {
            "for" | "milliseconds" => assert!(since.elapsed() >= WHILE, "{name} ended too early"),
            "the past" | "the local past" => {}
            _ => assert!(from_now(Duration::ZERO) >= due, "{name} ended too early"),
        }
        assert_eq!(effects(&cluster, &execution), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_of_day_is_the_next_one_there() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let due = from_now(2 * WHILE);
    let time = in_tokyo(due).time().to_string();
    let execution = start(client, "soon", &timer(json!({ "until": time, "timezone": "Asia/Tokyo" }))).await;
    completed(client, &execution).await;
    assert!(from_now(Duration::ZERO) >= due);
    // A minute ago: that is tomorrow.
    let time = in_tokyo(Timestamp::now() - Duration::from_secs(60)).time().strftime("%H:%M").to_string();
    let execution = start(client, "tomorrow", &timer(json!({ "until": time, "timezone": "Asia/Tokyo" }))).await;
    let wait = waiting(client, &execution, "timer", 1).await.remove(0);
    let (since, due) = (text(&wait["since"]), text(&wait["dueAt"]));
    assert_ne!(since[..10], due[..10], "{wait}");
    assert_eq!(due[16..], *":00.000Z", "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_means_nothing_is_refused_with_what_to_write() {
    let cluster = Cluster::start(1, 1).await;
    for config in [
        json!({}),
        json!({ "for": "soon" }),
        json!({ "until": "2026-12-24T18:00" }),
        json!({ "until": "2026-12-24T18:00", "timezone": "Europe/Atlantis" }),
        json!({ "until": "25:00", "timezone": "UTC" }),
        json!({ "forMs": 5, "timezone": "UTC" }),
    ] {
        let body = timer(config.clone()).parts();
        let linted = cluster.client().post("/api/v1/workflows/lint", &body, &config.to_string()).await.json();
        assert_eq!(linted["ok"], false, "{config}: {linted}");
        assert_eq!(linted["violations"][0]["nodeId"], "w", "{config}: {linted}");
    }
}
