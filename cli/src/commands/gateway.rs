//! `heddle gateway`: the part that speaks REST.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use heddle_gateway::Listen;
use heddle_telemetry::Component;
use tracing_subscriber::filter::LevelFilter;

use super::agent::Joining;
use super::up::Fetch;
use crate::compose::{Outside, start_gateway};
use crate::contradiction::{is_same_place, refuse};
use crate::data_dir::DataDir;
use crate::error::Result;
use crate::limits::DRAIN_WAIT_MAX;
use crate::metrics::Metrics;
use crate::service::{Stop, announce, bind};
use crate::telemetry;
use crate::ui::clock;

/// Run a gateway: it speaks REST to clients
#[derive(Debug, Args)]
pub struct Gateway {
    /// Where clients connect to
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the coordinator listens
    #[arg(long, env = "HEDDLE_COORDINATOR", default_value = "127.0.0.1:7420", value_name = "ADDRESS")]
    coordinator: String,
    #[command(flatten)]
    metrics: Metrics,
    #[command(flatten)]
    joining: Joining,
    /// The folder of its certificate [default: `gateway` in $XDG_DATA_HOME/heddle or ~/.local/share/heddle]
    #[arg(long, env = "HEDDLE_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    fetch: Fetch,
    /// How long a client of an event stream may take nothing before it is told where to go on and its place is free, from
    /// 1s to 10m
    #[arg(long, env = "HEDDLE_STREAM_STALL", default_value = "60s", value_name = "TIME", value_parser = stream_stall)]
    stream_stall: Duration,
}

fn stream_stall(text: &str) -> std::result::Result<Duration, String> {
    let stall = clock::parse_span(text)?;
    let is_sound = (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&stall);
    if is_sound { Ok(stall) } else { Err("expected 1s to 10m".to_owned()) }
}

impl Gateway {
    /// Runs the gateway until a signal comes.
    pub async fn run(self) -> Result<()> {
        telemetry::start(LevelFilter::INFO);
        telemetry::export(&[Component::Gateway]);
        self.metrics.check("--listen", self.listen)?;
        let is_own = self.coordinator.trim_start_matches("http://").trim_start_matches("https://").parse();
        let is_own = is_own.is_ok_and(|coordinator| is_same_place(self.listen, coordinator));
        let what = format!("--listen and --coordinator are both {}, and a gateway is no coordinator", self.coordinator);
        refuse(is_own, what, "let it listen on another port, or name the coordinator's address")?;
        let link = self.joining.link(&self.coordinator)?;
        self.metrics.serve()?;
        let mut stop = Stop::listen()?;
        let listen = Listen::Bound(bind(self.listen)?);
        // Plaintext needs none, so it is no fault if there is no place.
        let usual = || DataDir::choose(std::env::var_os("HEDDLE_DATA").map(PathBuf::from).as_deref()).ok();
        let data_dir = self.data_dir.or_else(|| usual().map(|data| data.inside("gateway").path().to_owned()));
        let outside = Outside { stream_stall: Some(self.stream_stall), ..self.fetch.into() };
        let gateway = tokio::select! {
            gateway = start_gateway(listen, link, data_dir, outside) => gateway?,
            // Without a certificate it waits for one.
            () = stop.asked() => return Ok(()),
        };
        announce("gateway", gateway.local_addr())?;
        stop.asked().await;
        stop.drain(gateway.shutdown(DRAIN_WAIT_MAX / 2)).await
    }
}
