//! `heddle replay`: an exported run, looked at without its server.

use std::fs::File;
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use heddle_coordinator::history::History;
use tracing_subscriber::filter::LevelFilter;

use super::executions;
use crate::client::Client;
use crate::compose::{ArtifactOptions, Cluster, ClusterOptions, DebugOptions};
use crate::data_dir::DataDir;
use crate::error::{Context, Exit, Failure, Result};
use crate::service::bind;
use crate::telemetry;
use crate::ui::{clock, note};

/// Nothing of it is at work.
const GRACE: Duration = Duration::from_secs(1);

/// Check an exported run and show how it stood, without its server
#[derive(Debug, Args)]
pub struct Replay {
    /// What `heddle executions export` has written
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show how it stood after this event [default: the last one]
    #[arg(long, value_name = "SEQ")]
    at: Option<u64>,
    /// Show where its time went, as `heddle executions trace` does
    #[arg(long, conflicts_with = "events")]
    trace: bool,
    /// Print its events, as `heddle executions events` does
    #[arg(long)]
    events: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Reads, checks and folds the history, and shows the run.
    pub async fn run(self) -> Result<()> {
        telemetry::start(LevelFilter::ERROR);
        let file = File::open(&self.file).context(Exit::Usage, format_args!("cannot read {}", self.file.display()))?;
        let history = History::read(BufReader::new(file)).map_err(|error| Failure::failed(error.to_string()))?;
        let replayed = history.replay(self.at).map_err(|error| Failure::failed(error.to_string()))?;
        note(&format!(
            "{}: {} events, none missing; checksums and hash are right; shown after event {}",
            history.run(),
            history.events(),
            replayed.last()
        ));
        clock::stand_at(replayed.at_ms());
        // A reader of runs needs a database: this one is empty but for this run, and goes away.
        let temporary = tempfile::tempdir().context(Exit::Failed, "cannot make a temporary folder")?;
        let data = DataDir::at(temporary.path());
        data.create()?;
        history.put_into(&data.database_path(), &replayed).await.context(Exit::Failed, "cannot keep the history")?;
        let cluster = open(&data).await?;
        let client = Client::new(&cluster.url(), data.key())?;
        let shown = self.show(&client, &history.run()).await;
        drop(client);
        cluster.shutdown(GRACE).await;
        shown
    }

    async fn show(&self, client: &Client, id: &str) -> Result<()> {
        match (self.trace, self.events) {
            (true, _) => executions::trace(client, id, self.json).await,
            (_, true) => executions::events(client, id, "0", false, self.json).await,
            _ => executions::get(client, id, self.json).await,
        }
    }
}

/// A server for this process alone, without agents: it only reads.
async fn open(data: &DataDir) -> Result<Cluster> {
    let lock = data.try_lock()?.ok_or_else(|| data.held())?;
    let options = ClusterOptions {
        published: false,
        listener: bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?,
        data: data.clone(),
        agents: 0,
        slots: 0,
        // Whatever types the run had.
        debug: DebugOptions { nodes: true, effects: None },
        sandbox: None,
        artifacts: ArtifactOptions::default(),
        fetch_allowed: Vec::new(),
        public_url: None,
        new_key: false,
        policies: heddle_coordinator::Policies { keep_runs: kept(), ..heddle_coordinator::Policies::default() },
    };
    Cluster::start(options, lock, |_| Ok(())).await
}

/// For ever: the run may be old.
fn kept() -> heddle_coordinator::KeepRuns {
    heddle_coordinator::KeepRuns::FOR_EVER
}
