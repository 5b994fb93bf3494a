//! `heddle agent`: the part that does the work.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use heddle_telemetry::Component;
use tracing_subscriber::filter::LevelFilter;

use super::up::Debug;
use crate::compose::{AgentOptions, LinkOptions, agent_failed, real_network, sandbox_only, start_agent};
use crate::contradiction::refuse;
use crate::data_dir::DataDir;
use crate::error::{Failure, Result};
use crate::limits::DRAIN_WAIT_MAX;
use crate::metrics::Metrics;
use crate::service::{Stop, announce_agent};
use crate::telemetry;
use crate::ui::note;

/// Run an agent: it does the work
#[derive(Debug, Args)]
pub struct Agent {
    /// Where the coordinator listens
    #[arg(long, env = "HEDDLE_COORDINATOR", default_value = "127.0.0.1:7420", value_name = "ADDRESS")]
    coordinator: String,
    #[command(flatten)]
    joining: Joining,
    /// What work may ask for, such as gpu=a100,region=eu
    #[arg(long, env = "HEDDLE_LABELS", value_delimiter = ',', value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Nodes that run at once
    #[arg(long, default_value_t = 16, value_name = "NUMBER")]
    slots: u32,
    /// The folder of its identity and certificate [default: `agent` in $XDG_DATA_HOME/heddle or ~/.local/share/heddle]
    #[arg(long, env = "HEDDLE_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where a sandbox provider listens that answers in the place of every server
    #[arg(long, value_name = "ADDRESS")]
    sandbox_address: Option<SocketAddr>,
    /// The DNS server that knows the names of servers, such as 10.0.0.2:53 [default: this machine's resolver]
    #[arg(long, env = "HEDDLE_RESOLVER", value_name = "ADDRESS")]
    resolver: Option<SocketAddr>,
    #[command(flatten)]
    debug: Debug,
    #[command(flatten)]
    metrics: Metrics,
}

impl Agent {
    /// Runs the agent until a signal comes or the coordinator refuses it.
    pub async fn run(self) -> Result<()> {
        telemetry::start(LevelFilter::INFO);
        telemetry::export(&[Component::Agent]);
        self.debug.check()?;
        let labels = labels(&self.labels)?;
        let link = self.joining.link(&self.coordinator)?;
        self.metrics.serve()?;
        let mut stop = Stop::listen()?;
        let data = match self.data_dir {
            Some(folder) => DataDir::at(folder),
            None => DataDir::choose(None)?.inside("agent"),
        };
        data.create()?;
        let options = AgentOptions {
            link,
            data_dir: data.path().to_owned(),
            labels,
            slots: self.slots,
            debug: self.debug.into(),
            network: self.sandbox_address.map_or_else(|| real_network(&data, self.resolver), sandbox_only),
        };
        let agent = start_agent(options).await?;
        let ended = tokio::select! {
            () = stop.asked() => Ok(()),
            // The coordinator may be away for long: the agent dials until it is told to stop.
            registered = agent.registered() => match registered {
                Err(exit) => Err(agent_failed(&exit)),
                Ok(()) => {
                    announce_agent(&self.coordinator)?;
                    tokio::select! {
                        () = stop.asked() => Ok(()),
                        exit = agent.wait() => Err(agent_failed(&exit)),
                    }
                }
            },
        };
        let drained = async {
            agent.drain(DRAIN_WAIT_MAX / 2).await;
        };
        stop.drain(drained).await.and(ended)
    }
}

/// How agents and gateways prove who they are.
#[derive(Debug, Clone, Args)]
pub struct Joining {
    /// A join token, or @FILE: needed for TLS until there is a certificate in the data folder
    #[arg(long, value_name = "TOKEN")]
    join: Option<String>,
    /// Speak plaintext to another machine: whoever is between can read and change everything
    #[arg(long)]
    insecure: bool,
}

impl Joining {
    /// The way to the coordinator, with a word about what is not safe.
    ///
    /// # Errors
    /// Settings that ask for TLS and for plaintext.
    pub(super) fn link(&self, coordinator: &str) -> Result<LinkOptions> {
        let join = self.join.clone().filter(|join| !join.is_empty());
        let next = "leave one of them out";
        let what = "--insecure asks for plaintext, and --join brings a token for TLS";
        refuse(self.insecure && join.is_some(), what, next)?;
        let what = format!("--insecure asks for plaintext, and --coordinator {coordinator} for TLS");
        refuse(self.insecure && coordinator.starts_with("https://"), what, next)?;
        let what = format!("--join brings a token for TLS, and --coordinator {coordinator} asks for plaintext");
        let next = "write the address as https://HOST:PORT, or leave --join out";
        refuse(join.is_some() && coordinator.starts_with("http://"), what, next)?;
        if self.insecure {
            note(&format!(
                "--insecure: whoever is between this machine and {coordinator} can read and change everything"
            ));
        }
        Ok(LinkOptions { coordinator: coordinator.to_owned(), join, insecure: self.insecure, secret: None })
    }
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for pair in given {
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Failure::usage(format!("{pair:?} is not a label")).with_next("write labels as NAME=VALUE,NAME=VALUE")
        })?;
        let other = labels.insert(name.to_owned(), value.to_owned()).filter(|other| other != value);
        let what = format!("the label {name} is {} and {value}", other.as_deref().unwrap_or_default());
        refuse(other.is_some(), what, "give each label one value")?;
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn labels_are_pairs() {
        let given = ["gpu=a100".to_owned(), "note=a=b".to_owned()];
        let expected = [("gpu".to_owned(), "a100".to_owned()), ("note".to_owned(), "a=b".to_owned())];
        assert_eq!(labels(&given).unwrap(), BTreeMap::from(expected));
        let twice = |second: &str| labels(&["gpu=a100".to_owned(), second.to_owned()]);
        assert_eq!(twice("gpu=a100").unwrap().len(), 1);
        for failure in [labels(&["gpu".to_owned()]), labels(&["=x".to_owned()]), twice("gpu=t4")] {
            assert_eq!(failure.unwrap_err().exit, Exit::Usage);
        }
    }
}
