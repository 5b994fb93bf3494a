//! The official client asks the sandbox; `package.py` says what it makes of it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::cluster::process::Process;
use cluster_tests::cluster::{START_TIME_MAX, free_address};
use cluster_tests::python::Packages;
use cluster_tests::wait;
use tempfile::TempDir;

use super::PACKAGES;

const TESTS_TIME_MAX: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_official_client_and_the_sandbox_understand_each_other() {
    let Some(packages) = Packages::installed("openai", &PACKAGES) else { return };
    let (folder, address) = (TempDir::new().unwrap(), free_address());
    let arguments = ["sandbox", "--listen", &address].map(str::to_owned);
    let _sandbox = Process::start(&arguments, &folder.path().join("log"), None);
    let origin = format!("http://{address}");
    wait::until("a sandbox", START_TIME_MAX, || async {
        let health = reqwest::get(format!("{origin}/health")).await.map_err(|error| error.to_string())?;
        if health.status().is_success() { Ok(()) } else { Err(health.status().to_string()) }
    })
    .await;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai/package.py");
    let mut tests = Command::new(packages.program("python"));
    tests.arg("-B").arg(script).env("HEDDLE_SANDBOX", &origin).env("NO_PROXY", "*").stdin(Stdio::null());
    let said = folder.path().join("said");
    let mut tests = tests.stderr(File::create(&said).unwrap()).spawn().unwrap();
    let ended = wait::try_until(TESTS_TIME_MAX, || {
        let ended = tests.try_wait().unwrap();
        async move { ended.ok_or_else(|| "they run".to_owned()) }
    })
    .await;
    if ended.is_err() {
        tests.kill().unwrap();
    }
    let (status, said) = (tests.wait().unwrap(), std::fs::read_to_string(&said).unwrap());
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split_once(' ')?.0.parse::<u32>().ok());
    assert!(status.success() && ran.is_some_and(|ran| ran > 20), "{ended:?}: {said}");
}
