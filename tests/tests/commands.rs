//! The commands of documents, run as they are written: in their order, in one shell, against a server that they start.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::cluster::{free_address, heddle};
use cluster_tests::repository::blocks::{Block, RUN_PAGES, blocks};
use cluster_tests::repository::{TextFile, root};
use cluster_tests::wait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

const PAGE_TIME_MAX: Duration = Duration::from_secs(120);
/// Addresses in documents, which somebody else may have here.
const ADDRESSES: [&str; 3] = ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:9100"];

/// All blocks in one script: each prints into a file of its own, and the first command that fails ends it. What they leave
/// at work ends with it.
fn script(blocks: &[Block]) -> String {
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n".to_owned();
    for block in blocks {
        script += &format!("echo 'at line {0}' >&2\n{{\n{1}\n}} >said-{0}\n", block.line, block.commands);
    }
    ADDRESSES.iter().fold(script, |script, address| script.replace(address, &free_address()))
}

async fn run(page: &str) {
    let file = TextFile::new(page, std::fs::read_to_string(root().join(page)).unwrap());
    let blocks = blocks(&file).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(!blocks.is_empty(), "{page} shows no commands");
    let folder = TempDir::with_prefix("heddle-documents-").unwrap();
    let place = |name: &str| folder.path().join(name);
    std::fs::create_dir(place("bin")).unwrap();
    symlink(heddle(), place("bin/heddle")).unwrap();
    symlink(std::fs::canonicalize(root().join("examples")).unwrap(), place("examples")).unwrap();
    let log = File::create(place("log")).unwrap();
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEDDLE_") || name.starts_with("XDG_")) {
        shell.env_remove(name);
    }
    let path = format!("{}:{}", place("bin").display(), std::env::var("PATH").unwrap());
    shell.env("PATH", path).env("HOME", folder.path()).current_dir(folder.path()).process_group(0);
    shell.args(["-c", &script(&blocks)]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let mut shell = shell.spawn().unwrap();
    let ended = wait::try_until(PAGE_TIME_MAX, || {
        let ended = shell.try_wait().unwrap();
        async move { ended.ok_or_else(|| "it still runs".to_owned()) }
    })
    .await;
    // Whoever is left of it. Mostly there is nobody.
    let _left = killpg(Pid::from_raw(shell.id() as i32), Signal::SIGKILL);
    let _status = shell.wait();
    let log = std::fs::read_to_string(place("log")).unwrap();
    assert!(
        ended.is_ok_and(|status| status.success()),
        "{page}: the block at the last line that is named fails\n{log}"
    );
    for block in &blocks {
        let said = std::fs::read_to_string(place(&format!("said-{}", block.line))).unwrap();
        if let Some(output) = &block.output {
            assert_eq!(said.trim_end(), output, "{page}:{} prints something else\n{log}", block.line);
        }
    }
}

#[tokio::test]
async fn the_commands_of_documents_do_what_they_say() {
    for page in RUN_PAGES {
        run(page).await;
    }
}
