//! A server that speaks S3, for tests: `moto_server` of the Python package `moto`.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster::free_address;
use crate::python::Packages;
use crate::wait;

/// What is installed where it is missing; the lower bound is the one that the suite was written with.
const PACKAGE: &str = "moto[server]>=5.1,<6";
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
        let program = program()?;
        let address = free_address();
        let (host, port) = address.split_once(':').unwrap_or((&address, ""));
        let mut command = Command::new(program);
        command.args(["-H", host, "-p", port]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("moto_server does not start: {error}"));
        let server = Self { child, address };
        wait::until("a server of S3", START_TIME_MAX, || async {
            TcpStream::connect(&server.address).map(drop).map_err(|error| error.to_string())
        })
        .await;
        let made = reqwest::Client::new().put(format!("{}/{bucket}", server.endpoint())).send().await;
        let made = made.unwrap_or_else(|error| panic!("no bucket: {error}"));
        assert!(made.status().is_success(), "no bucket: {}", made.status());
        Some(server)
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
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
