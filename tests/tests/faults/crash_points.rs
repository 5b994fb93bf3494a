//! Every marked place of the commit protocol ends its process, at several hits, while runs come in.

use std::time::Duration;

use cluster_tests::cluster::random::{Random, seed};
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use heddle_crash_point::CRASH_POINTS;

use super::kills::{Load, check};

/// Which hit of a place ends the process.
const HITS: [u32; 3] = [1, 2, 7];
/// How long the load may take to get there.
const HIT_TIME_MAX: Duration = Duration::from_secs(30);

/// Whose process passes the place.
fn part_of(point: &str) -> Part {
    match point.split_once('.') {
        Some(("gateway", _)) => Part::Gateway(0),
        Some(("agent", _)) => Part::Agent(0),
        _ => Part::Coordinator,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_marked_place_is_survived() {
    let mut random = Random::from_seed(seed("crash points"));
    let mut cluster = Cluster::start(2, 4).await;
    let load = Load::start(cluster.client(), &mut random);
    let mut missed = Vec::new();
    for point in CRASH_POINTS {
        let part = part_of(point.name);
        let mut hits = Vec::new();
        for hit in HITS {
            cluster.kill(part);
            cluster.start_part(part, Some(&format!("{}:{hit}", point.name)));
            let crash = format!("crash point {} hit {hit}:", point.name);
            let crashed = wait::try_until(HIT_TIME_MAX, || {
                let process = cluster.process(part);
                let is_hit = process.crashed() && process.said().contains(&crash);
                async move { if is_hit { Ok(()) } else { Err(String::new()) } }
            });
            match crashed.await {
                Ok(()) => hits.push(hit),
                Err(_) => missed.push(format!("{}:{hit}", point.name)),
            }
            cluster.kill(part);
            cluster.start_part(part, None);
            cluster.serves().await;
        }
        println!("crash point {:28} survived at hits {hits:?}", point.name);
    }
    let runs = load.stop().await;
    println!("crash points: {} places, {} runs acknowledged", CRASH_POINTS.len(), runs.len());
    check(&mut cluster, &runs).await;
    assert!(missed.is_empty(), "never reached: {missed:?}");
}
