//! The program under test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::repository;

/// Names a binary to test instead of building one.
const VARIABLE: &str = "HEDDLE_BIN";

/// The `heddle` binary, with its crash points: the one that `HEDDLE_BIN` names, else a release build, made once.
///
/// # Panics
/// When there is none and it cannot be built.
pub fn heddle() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "{VARIABLE} names no file: {}", path.display());
            path
        }
        None => built(),
    })
}

fn built() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--release", "--locked", "-p", "heddle", "--features", "crash-points"];
    let mut build = Command::new(cargo);
    build.current_dir(repository::root()).args(arguments).args(["--message-format", "json-render-diagnostics"]);
    let output = build.stderr(std::process::Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("cargo cannot be run: {error}"));
    assert!(output.status.success(), "the binary does not build");
    let said = String::from_utf8_lossy(&output.stdout);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back().unwrap_or_else(|| panic!("cargo named no executable"))
}
