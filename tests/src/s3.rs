//! A server that speaks S3, for tests: `moto_server` of the Python package `moto`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::cluster::network::{Machine, Network};
use crate::cluster::{client, free_address};
use crate::python::Packages;
use crate::wait;

/// What is installed where it is missing; the lower bound is the one that the suite was written with.
const PACKAGE: &str = "moto[server]>=5.1,<6";
/// Where it listens on a machine of its own.
const PORT: u16 = 9_000;
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A running server. It is killed when this value is dropped, and forgets everything.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    address: String,
}

impl S3 {
    /// Starts a server with one bucket. `None`, said aloud, where there is neither the program nor a way to install it.
    ///
    /// # Panics
    /// When it does not start; and in continuous integration, when it is missing.
    pub async fn start(bucket: &str) -> Option<Self> {
        let program = find()?;
        let server = Self::spawn(program, free_address());
        server.serves(bucket).await;
        Some(server)
    }

    /// The same on a machine of a network, for who can reach it. Installing takes the network of the host: call [`find`]
    /// there.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_on(network: &Network, program: &Path, bucket: &str) -> Self {
        let address = format!("{}:{PORT}", network.address(Machine::Store));
        let server = network.on(Machine::Store, || Self::spawn(program, address));
        server.serves(bucket).await;
        server
    }

    fn spawn(program: &Path, address: String) -> Self {
        let (host, port) = address.split_once(':').unwrap_or((&address, ""));
        let mut command = Command::new(program);
        command.args(["-H", host, "-p", port]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("moto_server does not start: {error}"));
        Self { child, address }
    }

    async fn serves(&self, bucket: &str) {
        client::ready();
        wait::until("a server of S3", START_TIME_MAX, || async {
            TcpStream::connect(&self.address).map(drop).map_err(|error| error.to_string())
        })
        .await;
        let made = reqwest::Client::new().put(format!("{}/{bucket}", self.endpoint())).send().await;
        let made = made.unwrap_or_else(|error| panic!("no bucket: {error}"));
        assert!(made.status().is_success(), "no bucket: {}", made.status());
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A bucket's address, as `--artifacts` takes it.
    pub fn address(&self, bucket: &str, prefix: &str) -> String {
        format!("s3://{bucket}/{prefix}?endpoint={}&region=us-east-1", self.endpoint())
    }

    /// What a process must have in its environment to use it.
    pub fn variables() -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![pair("AWS_ACCESS_KEY_ID", "testing"), pair("AWS_SECRET_ACCESS_KEY", "testing")]
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The program, installed if it has to be. `None`, said aloud, where it cannot be.
///
/// # Panics
/// In continuous integration, when it is missing.
pub fn find() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(program).as_deref()
}

/// The program: named by `MOTO_SERVER`, on the path, or of a package that is installed for it.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("MOTO_SERVER") {
        return Some(named.into());
    }
    let on_path = PathBuf::from("moto_server");
    let tried = Command::new(&on_path).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(on_path);
    }
    Packages::installed("moto", &[PACKAGE]).map(|packages| packages.program("moto_server"))
}
