//! `heddle sandbox`: a provider that answers always alike.

use std::net::SocketAddr;

use clap::Args;

use crate::error::{Context, Exit, Failure, Result};
use crate::service::{Stop, announce, bind};

/// Run a provider that answers as model servers do, always alike and at no cost
#[derive(Debug, Args)]
pub struct Sandbox {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:7430", value_name = "ADDRESS")]
    listen: SocketAddr,
}

impl Sandbox {
    /// Runs the provider until a signal comes.
    pub async fn run(self) -> Result<()> {
        if !self.listen.ip().is_loopback() {
            return Err(Failure::usage(format!("the sandbox is for this machine, and {} is not on it", self.listen))
                .with_next("listen on 127.0.0.1: it knows no keys, and whoever reaches it may script it"));
        }
        let mut stop = Stop::listen()?;
        let listener = bind(self.listen)?;
        let failed = "cannot serve the sandbox";
        listener.set_nonblocking(true).context(Exit::Failed, failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).context(Exit::Failed, failed)?;
        announce("sandbox", listener.local_addr().context(Exit::Failed, failed)?)?;
        tokio::select! {
            () = stop.asked() => Ok(()),
            () = heddle_sandbox::serve(listener, heddle_sandbox::router()) => Err(Failure::failed("the sandbox ended")),
        }
    }
}
