//! `heddle coordinator`: the part that decides and makes durable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use heddle_telemetry::Component;
use tracing_subscriber::filter::LevelFilter;

use super::up::{Artifacts, say_key};
use crate::compose::{coordinator_failed, ready, start_coordinator};
use crate::data_dir::DataDir;
use crate::error::{Context, Exit, Failure, Result};
use crate::service::{Stop, announce, bind, check_debug_nodes};
use crate::telemetry;
use crate::ui::note;

/// Run a coordinator: it decides what happens next and makes it durable
#[derive(Debug, Args)]
pub struct Coordinator {
    /// Where gateways and agents connect to
    #[arg(long, default_value = "127.0.0.1:7420", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE [default: heddle.db in the data folder]
    // It may hold a password, and so it is better named by the variable; the help must not show it.
    #[arg(long, env = "HEDDLE_DATABASE", hide_env_values = true, value_name = "DATABASE")]
    database: Option<String>,
    /// The data folder [default: $XDG_DATA_HOME/heddle or ~/.local/share/heddle]
    #[arg(long, env = "HEDDLE_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    artifacts: Artifacts,
    /// Accept the node types for tests and benches (debug:*)
    #[arg(long)]
    debug_nodes: bool,
}

impl Coordinator {
    /// Runs the coordinator until a signal comes.
    pub async fn run(self) -> Result<()> {
        telemetry::start(LevelFilter::INFO);
        telemetry::export(&[Component::Coordinator]);
        check_debug_nodes(self.debug_nodes, self.listen)?;
        let mut stop = Stop::listen()?;
        let data = DataDir::choose(self.data_dir.as_deref())?;
        let database = database(self.database.as_deref(), &data)?;
        // A taken port must not leave a half-made database behind.
        drop(bind(self.listen)?);
        data.create()?;
        let _lock = data.lock()?;
        if !self.listen.ip().is_loopback() {
            note("whoever reaches this address is trusted as a gateway or an agent: keep it in a private network");
        }
        let coordinator =
            start_coordinator(self.listen, &data, database, self.debug_nodes, self.artifacts.into()).await?;
        coordinator.first_key().map_or(Ok(()), |key| say_key(key, &data))?;
        let started = tokio::select! {
            ready = ready(&coordinator) => ready.and_then(|()| announce("coordinator", coordinator.local_addr())),
            () = stop.asked() => return stop.drain(coordinator.shutdown()).await,
        };
        let ended = match started {
            Ok(()) => tokio::select! {
                () = stop.asked() => Ok(()),
                why = coordinator.failed() => Err(coordinator_failed(&why)),
            },
            failed => failed,
        };
        stop.drain(coordinator.shutdown()).await.and(ended)
    }
}

/// What the address of a PostgreSQL server begins with.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// The database's address, as the coordinator wants it: with a whole path.
fn database(chosen: Option<&str>, data: &DataDir) -> Result<String> {
    let Some(text) = chosen else { return Ok(data.database()) };
    if let Some(file) = text.strip_prefix("sqlite:").filter(|file| !file.is_empty()) {
        let file = std::path::absolute(file).context(Exit::Usage, format_args!("{file:?} is no path"))?;
        return Ok(format!("sqlite:{}", file.display()));
    }
    let scheme = text.split(':').next().unwrap_or_default();
    if POSTGRES.iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(text.to_owned());
    }
    let failure = Failure::usage(format!("{scheme:?} is no kind of database"));
    Err(failure.with_next("use --database sqlite:FILE, or --database postgres://USER:PASSWORD@HOST/DATABASE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_go_by_their_scheme() {
        let data = DataDir::at("/d");
        assert_eq!(database(None, &data).unwrap(), "sqlite:/d/heddle.db");
        assert_eq!(database(Some("sqlite:/x/y.db"), &data).unwrap(), "sqlite:/x/y.db");
        assert!(database(Some("sqlite:y.db"), &data).unwrap().starts_with("sqlite:/"));
        for right in ["postgres://u:p@h/d", "postgresql://h"] {
            assert_eq!(database(Some(right), &data).unwrap(), right);
        }
        for wrong in ["postgres:u:secret@h/d", "mysql://u:secret@h/d", "sqlite:", "mysql:x", ""] {
            let failure = database(Some(wrong), &data).unwrap_err();
            assert!(!failure.to_string().contains("secret"), "{failure}");
            assert_eq!((failure.exit, failure.next.is_some()), (Exit::Usage, true), "{wrong}");
        }
    }
}
