//! The server that `heddle run` uses: one that runs already, or one of its own for as long as the run takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use heddle_sandbox::ScriptsByCredential;
use tokio::time::sleep;
use tracing_subscriber::filter::LevelFilter;

use crate::client::Client;
use crate::compose::{ArtifactOptions, Cluster, ClusterOptions, DebugOptions};
use crate::connection::Connection;
use crate::data_dir::{DataDir, FolderLock};
use crate::error::{Exit, Failure, Result};
use crate::limits::{FOLDER_PAUSE, FOLDER_WAIT_MAX, SANDBOX_SCRIPT_BYTES_MAX};
use crate::service::{Stop, bind};
use crate::{telemetry, text_file, ui};

/// Attempts that run at once on the agent of a cluster of one's own.
const SLOTS: u32 = 16;
/// How long such a cluster finishes what it has. What a run leaves behind, the next start takes up.
const GRACE: Duration = Duration::from_secs(2);
/// Where runs without providers are, in the data folder.
const SANDBOX_FOLDER: &str = "sandbox";

/// A server to use, and to end if it is our own.
#[derive(Debug)]
pub struct Session {
    client: Client,
    own: Option<Box<Own>>,
}

/// A cluster that ends with the command.
#[derive(Debug)]
struct Own {
    cluster: Cluster,
    data: DataDir,
    sandbox: bool,
}

impl Session {
    /// The server that the user named, else the one that runs on the data folder, else a new one on that folder.
    pub async fn open(connection: &Connection) -> Result<Self> {
        if let Some(client) = connection.named()? {
            return Ok(Session { client, own: None });
        }
        Self::on(connection, DataDir::choose(connection.data_dir.as_deref())?, None).await
    }

    /// A server of its own where the sandbox stands for every provider, on a folder of its own inside the data folder: runs
    /// that were begun with providers are not ended without them.
    pub async fn open_sandbox(connection: &Connection, script: Option<&Path>) -> Result<Self> {
        if let Some(server) = &connection.server {
            return Err(Failure::usage(format!("--sandbox is for a cluster of the run's own, and {server} is named"))
                .with_next("start that server with --sandbox, or leave --server and HEDDLE_URL out"));
        }
        let data = DataDir::choose(connection.data_dir.as_deref())?.inside(SANDBOX_FOLDER);
        // A key of the other folder is none here.
        let connection = Connection { key: None, ..connection.clone() };
        let scripts = script.map(scripts).transpose()?.unwrap_or_default();
        let session = Self::on(&connection, data, Some(scripts)).await?;
        if script.is_some() && session.own.is_none() {
            return Err(Failure::usage(
                "a server runs on the folder of the sandbox, and its provider has no such script",
            )
            .with_next("stop that server, or give another folder: --data-dir FOLDER"));
        }
        Ok(session)
    }

    async fn on(connection: &Connection, data: DataDir, sandbox: Option<ScriptsByCredential>) -> Result<Self> {
        let until = Instant::now() + FOLDER_WAIT_MAX;
        loop {
            if let Some(client) = connection.local(&data).await? {
                return Ok(Session { client, own: None });
            }
            data.create()?;
            if let Some(lock) = data.try_lock()? {
                return Self::start(connection, data, lock, sandbox).await;
            }
            if Instant::now() > until {
                return Err(data.held());
            }
            // A server that is just starting, or another run that is about to end.
            sleep(FOLDER_PAUSE).await;
        }
    }

    async fn start(
        connection: &Connection,
        data: DataDir,
        lock: FolderLock,
        sandbox: Option<ScriptsByCredential>,
    ) -> Result<Self> {
        let is_sandbox = sandbox.is_some();
        telemetry::start(LevelFilter::WARN);
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let debug = DebugOptions::default();
        let options = ClusterOptions {
            published: false,
            listener,
            data: data.clone(),
            agents: 1,
            slots: SLOTS,
            debug,
            sandbox,
            artifacts: ArtifactOptions::default(),
            fetch_allowed: Vec::new(),
            public_url: None,
            new_key: false,
            policies: heddle_coordinator::Policies::default(),
        };
        let cluster = Cluster::start(options, lock, |_| {
            ui::note(&format!(
                "made a cluster in {}; its key is in {}",
                data.path().display(),
                data.key_path().display()
            ));
            Ok(())
        })
        .await?;
        let key = connection.key.clone().or_else(|| data.key()).ok_or_else(|| {
            Failure::new(Exit::Auth, format!("the data folder has no key in {}", data.key_path().display())).with_next(
                format!(
                    "pass a key: --key KEY; or make one again: `{} up --new-key --data-dir {}`",
                    ui::program(),
                    data.path().display()
                ),
            )
        })?;
        let client = Client::new(&cluster.url(), Some(key))?;
        Ok(Session { client, own: Some(Box::new(Own { cluster, data, sandbox: is_sandbox })) })
    }

    /// Speaks to the server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What a user does next about a run that is not over; `None` when the server goes on with it.
    pub fn leaves_behind(&self) -> Option<String> {
        let Own { data, sandbox, .. } = self.own.as_deref()?;
        let sandbox = if *sandbox { " --sandbox" } else { "" };
        Some(format!("`{} up{sandbox} --data-dir {}` goes on with it", ui::program(), data.path().display()))
    }

    /// The options with which other commands reach the server, as the end of a command line.
    pub fn options(&self) -> String {
        match self.own.as_deref() {
            // It is in no file of the folder: others would take it for one that stays.
            Some(Own { cluster, data, .. }) => {
                format!(" --server {} --key \"$(cat '{}')\"", cluster.url(), data.key_path().display())
            }
            None => String::new(),
        }
    }

    /// Ends the server, if it is our own; a signal meanwhile ends it at once.
    pub async fn close(self) -> Result<()> {
        let Session { client, own } = self;
        // Its connections end with it: the server would wait for another request on them.
        drop(client);
        match own {
            Some(own) => Stop::listen()?.drain(own.cluster.shutdown(GRACE)).await,
            None => Ok(()),
        }
    }
}

/// The sandbox's scripts, from a file.
pub(crate) fn scripts(path: &Path) -> Result<ScriptsByCredential> {
    let text = text_file::read(path, SANDBOX_SCRIPT_BYTES_MAX)?;
    ScriptsByCredential::read(text.as_bytes()).map_err(|fault| {
        Failure::usage(format!("{} is no script of the sandbox: {fault}", path.display()))
            .with_next("give a JSON object with a script for each credential, as docs/node-types.md has it")
    })
}
