//! `heddle gateway`: the part that speaks REST.

use std::net::SocketAddr;

use clap::Args;
use heddle_gateway::Listen;
use heddle_telemetry::Component;
use tracing_subscriber::filter::LevelFilter;

use super::agent::coordinator_url;
use super::up::Fetch;
use crate::compose::start_gateway;
use crate::error::Result;
use crate::limits::DRAIN_WAIT_MAX;
use crate::service::{Stop, announce, bind};
use crate::telemetry;

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
    fetch: Fetch,
}

impl Gateway {
    /// Runs the gateway until a signal comes.
    pub async fn run(self) -> Result<()> {
        telemetry::start(LevelFilter::INFO);
        telemetry::export(&[Component::Gateway]);
        let mut stop = Stop::listen()?;
        let listen = Listen::Bound(bind(self.listen)?);
        let gateway = start_gateway(listen, coordinator_url(&self.coordinator), self.fetch.allow_fetch).await?;
        announce("gateway", gateway.local_addr())?;
        stop.asked().await;
        stop.drain(gateway.shutdown(DRAIN_WAIT_MAX / 2)).await
    }
}
