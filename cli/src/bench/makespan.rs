//! The makespan of recorded workflows: how close a run comes to a schedule that costs nothing.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::cluster::{Agents, Cluster};
use super::list_schedule::{bound_ms, makespan_ms};
use super::measured::Measured;
use super::quantile;
use super::report::{Report, round};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::BENCH_GRAPHS_MAX;
use crate::ui::note;
use crate::wfformat::{Import, Priorities, Scale, SleepGraph, Workflow};

/// The clusters: one slot, four in two agents, sixteen in four.
const CLUSTERS: [Agents; 3] =
    [Agents { count: 1, slots: Some(1) }, Agents { count: 2, slots: Some(2) }, Agents { count: 4, slots: Some(4) }];
const PRIORITIES: [Priorities; 2] = [Priorities::None, Priorities::Rank];

/// What is measured.
#[derive(Debug, Clone)]
pub struct Makespan {
    /// A folder of documents in WfFormat.
    pub graphs: PathBuf,
    /// Runs of each case.
    pub repeats: usize,
    /// What each slot has to do.
    pub seconds_per_slot: f64,
}

impl Makespan {
    /// Measures every graph on every cluster, with and without priorities.
    pub(super) async fn measure(&self, scratch: &Path, report: &mut Report) -> Result<()> {
        let graphs = workflows(&self.graphs)?;
        for agents in CLUSTERS {
            let cluster = Cluster::start(scratch.join(format!("makespan-{}", agents.total())), None, agents).await?;
            report.database(&cluster.database().await?);
            for (name, workflow) in &graphs {
                for priorities in PRIORITIES {
                    let scale = Scale::TotalSeconds(self.seconds_per_slot * agents.total() as f64);
                    let graph = Import { scale, priorities }.graph(workflow)?;
                    self.case(&cluster, agents, name, priorities, &graph, report).await?;
                }
            }
            cluster.stop().await;
        }
        Ok(())
    }

    async fn case(
        &self,
        cluster: &Cluster,
        agents: Agents,
        name: &str,
        priorities: Priorities,
        graph: &SleepGraph,
        report: &mut Report,
    ) -> Result<()> {
        let slots = agents.total();
        let mut connection = cluster.connect().await?;
        let workflow = connection.save(&graph.to_json()).await?;
        let before = cluster.counters().await?;
        let mut walls_ms = Vec::with_capacity(self.repeats);
        for _ in 0..self.repeats {
            let since = Instant::now();
            connection.run(&workflow).await?;
            walls_ms.push(round(since.elapsed().as_secs_f64() * 1e3));
        }
        let after = cluster.counters().await?;
        let (wall_ms, list_ms) = (quantile(&walls_ms, 0.5), makespan_ms(&graph.nodes, slots));
        let line = Measured::Makespan {
            graph: name.to_owned(),
            nodes: graph.nodes.len(),
            slots,
            agents: agents.count,
            priorities: match priorities {
                Priorities::None => "none",
                Priorities::Rank => "rank",
            },
            wall_ms,
            list_ms,
            bound_ms: bound_ms(graph, slots),
            ratio: round(wall_ms / list_ms as f64),
            walls_ms,
        };
        note(&line.sentence());
        report.line(line, after.since(before))
    }
}

/// The documents of a folder with their names, in the order of these.
fn workflows(folder: &Path) -> Result<Vec<(String, Workflow)>> {
    let failed = format!("cannot read the folder {}", folder.display());
    let entries = std::fs::read_dir(folder).context(Exit::Usage, &failed)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()
        .context(Exit::Usage, &failed)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    match paths.len() {
        0 => {
            let failure = Failure::usage(format!("there is no .json file in {}", folder.display()));
            return Err(failure.with_next("name a folder of documents in WfFormat"));
        }
        count if count > BENCH_GRAPHS_MAX => {
            let message = format!("there are {count} .json files in {}", folder.display());
            return Err(Failure::usage(message).with_next(format!("leave {BENCH_GRAPHS_MAX} of them there")));
        }
        _ => {}
    }
    let named = |path: PathBuf| {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Workflow::read(&path).map(|workflow| (name, workflow))
    };
    paths.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_documents_in_order() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let found = workflows(&fixtures).unwrap();
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["bakery.wfformat"]);
        let empty = tempfile::tempdir().unwrap();
        assert!(workflows(empty.path()).unwrap_err().message.starts_with("there is no .json file"));
        std::fs::write(empty.path().join("x.json"), "[]").unwrap();
        assert!(workflows(empty.path()).unwrap_err().message.contains("x.json is not a workflow in WfFormat"));
    }
}
