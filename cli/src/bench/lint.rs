//! The work lint: how long it takes to look at large graphs, and to run them.

use std::time::Instant;

use serde_json::Value;

use super::cluster::Cluster;
use super::measured::Measured;
use super::report::{Report, round};
use super::{graphs, quantile};
use crate::error::Result;

/// How often each graph is looked at.
const LOOKS: usize = 21;

/// Two graphs of many nodes: what `POST /workflows/lint` takes, the median of some, and one run of each.
pub(super) async fn measure(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let cases: [(&'static str, Value); 2] = [("chain", graphs::long_chain()), ("layers", graphs::layers())];
    for (case, graph) in cases {
        let mut connection = cluster.connect().await?;
        let size = |key: &str| graph[key].as_array().map_or(0, Vec::len);
        let (nodes, edges) = (size("nodes"), size("edges"));
        let text = graph.to_string();
        let mut times_ms = Vec::with_capacity(LOOKS);
        for _ in 0..LOOKS {
            let since = Instant::now();
            connection.lint(&text).await?;
            times_ms.push(since.elapsed().as_secs_f64() * 1e3);
        }
        let workflow = connection.save(&graph).await?;
        let before = cluster.counters().await?;
        let since = Instant::now();
        connection.run(&workflow).await?;
        let wall_ms = round(since.elapsed().as_secs_f64() * 1e3);
        let after = cluster.counters().await?;
        let line = Measured::Lint {
            case,
            nodes,
            edges,
            body_bytes: text.len(),
            lint_ms: round(quantile(&times_ms, 0.5)),
            lint_max_ms: round(quantile(&times_ms, 1.0)),
            wall_ms,
        };
        report.line(line, after.since(before))?;
    }
    Ok(())
}
