//! Jobs that an agent is asked to cancel, since the one that had begun them is gone: at every marked place around that order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// How long after each other other runs come, until the place is passed.
const OTHERS_PAUSE: Duration = Duration::from_millis(500);

/// Whose process passes a place around the order.
fn part_of(point: &str) -> Part {
    match point {
        "jobs.order-received" | "jobs.cancelled" => Part::Agent(1),
        _ => Part::Coordinator,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_at_every_marked_place_around_the_order() {
    let (sandbox, mut cluster) = set_up().await;
    let client = cluster.client().clone();
    let workflow = client.save("job", &job()).await;
    let short = Graph::default().node("text", "input:text", json!({ "text": "short" })).node(
        "work",
        "debug:effect",
        json!({ "file": "short" }),
    );
    let short = client.save("short", &short.edge("text.text", "work.in")).await;
    let mut places = 0;
    for point in CRASH_POINTS.iter().filter(|point| point.name.starts_with("jobs.")) {
        places += 1;
        // The agent that begins the job is gone for good before its run is cancelled.
        cluster.kill(Part::Agent(1));
        let run = client.run(&workflow, point.name).await;
        has_job(&client, &run).await;
        cluster.kill(Part::Agent(0));
        cancel(&client, &run).await;
        client.ended(&run, RUN_TIME_MAX).await;
        let part = part_of(point.name);
        cluster.kill(part);
        cluster.start_part(part, Some(&format!("{}:1", point.name)));
        if part == Part::Coordinator {
            cluster.start_part(Part::Agent(1), None);
        }
        // The agent is sent something else after the order.
        let (asked, short, name) = (client.clone(), short.clone(), point.name);
        let is_passed = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_passed);
        let asking = tokio::spawn(async move {
            let mut runs = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                runs.push(asked.run(&short, &format!("{name} {}", runs.len())).await);
                wait::pace(OTHERS_PAUSE).await;
            }
            runs
        });
        let said = format!("crash point {} hit 1:", point.name);
        wait::until(point.name, HIT_TIME_MAX, || {
            let process = cluster.process(part);
            let is_hit = process.crashed() && process.said().contains(&said);
            async move { if is_hit { Ok(()) } else { Err("it is not hit".to_owned()) } }
        })
        .await;
        is_passed.store(true, Ordering::Relaxed);
        cluster.kill(part);
        cluster.start_part(part, None);
        without_job(&client, &sandbox, &run).await;
        let found = problems(&client, &run).await;
        assert!(found.is_empty(), "{}: {found:?}", point.name);
        for other in asking.await.unwrap() {
            assert_eq!(client.ended(&other, RUN_TIME_MAX).await["status"], "COMPLETED", "{}", point.name);
        }
        println!("crash point {:28} survived", point.name);
        cluster.start_part(Part::Agent(0), None);
        cluster.serves().await;
    }
    let jobs = sandbox.jobs().await;
    assert!(jobs.len() == places && places == 5, "{jobs:?}");
}
