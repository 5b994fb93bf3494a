//! Settings that contradict each other end the start with exit code 2 and a sentence, whichever way each of them came.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A part, and two settings of it that cannot both be meant: each an option and its value, or nothing for a truth.
type Pair = (&'static str, [(&'static str, &'static str); 2]);

const PAIRS: [Pair; 17] = [
    ("coordinator", [("tls", ""), ("insecure", "")]),
    ("coordinator", [("listen", "127.0.0.1:7420"), ("new-gateway-token", "")]),
    ("coordinator", [("listen", "127.0.0.1:7420"), ("certificate-life", "1h")]),
    ("coordinator", [("insecure", ""), ("certificate-life", "1h")]),
    ("coordinator", [("insecure", ""), ("new-gateway-token", "")]),
    ("coordinator", [("listen", "127.0.0.1:7420"), ("metrics", "127.0.0.1:7420")]),
    ("gateway", [("insecure", ""), ("join", "hjt_x")]),
    ("gateway", [("insecure", ""), ("coordinator", "https://192.0.2.1:7420")]),
    ("gateway", [("join", "hjt_x"), ("coordinator", "http://127.0.0.1:7420")]),
    ("gateway", [("listen", "127.0.0.1:7420"), ("coordinator", "127.0.0.1:7420")]),
    ("gateway", [("listen", "127.0.0.1:7421"), ("metrics", "0.0.0.0:7421")]),
    ("agent", [("insecure", ""), ("join", "hjt_x")]),
    ("agent", [("insecure", ""), ("coordinator", "https://192.0.2.1:7420")]),
    ("agent", [("join", "hjt_x"), ("coordinator", "http://127.0.0.1:7420")]),
    ("up", [("listen", "127.0.0.1:7422"), ("metrics", "127.0.0.1:7422")]),
    // Half of a pair.
    ("coordinator", [("tls", ""), ("ca-cert", "/nowhere/ca.pem")]),
    ("coordinator", [("tls", ""), ("ca-key", "/nowhere/ca.key")]),
];

/// How a setting is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Option,
    Variable,
    File,
}

/// Starts a part with these settings, and with nothing of this process's environment.
fn start(part: &str, settings: &[((&str, &str), By)], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_")) {
        command.env_remove(name);
    }
    command.arg(part).env("HEDDLE_DATA", folder.join("data")).stdin(Stdio::null());
    let mut file = format!("[{part}]\n");
    for ((name, value), by) in settings {
        match by {
            By::Option if value.is_empty() => drop(command.arg(format!("--{name}"))),
            By::Option => drop(command.arg(format!("--{name}={value}"))),
            By::Variable => {
                let name = format!("HEDDLE_{}", name.replace('-', "_").to_ascii_uppercase());
                command.env(name, if value.is_empty() { "true" } else { value });
            }
            By::File if value.is_empty() => file.push_str(&format!("{name} = true\n")),
            By::File => file.push_str(&format!("{name} = \"{value}\"\n")),
        }
    }
    std::fs::write(folder.join("heddle.toml"), file).unwrap();
    command.arg("--config").arg(folder.join("heddle.toml")).output().unwrap()
}

#[test]
fn what_contradicts_itself_is_refused_whichever_way_it_is_said() {
    let ways = [(By::Option, By::Option), (By::Variable, By::Variable), (By::File, By::File), (By::File, By::Option)];
    for (part, [one, other]) in PAIRS {
        for (first, second) in ways {
            let folder = TempDir::new().unwrap();
            let output = start(part, &[(one, first), (other, second)], folder.path());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{part} {one:?} {other:?} by {first:?} and {second:?}: {said}");
            assert!(said.contains(&format!("--{}", other.0)), "{part} {one:?} {other:?}: {said}");
            assert!(said.contains("next: "), "{part} {one:?} {other:?}: {said}");
            assert!(!folder.path().join("data").exists(), "{part} {one:?} {other:?}: something was written");
        }
    }
}

#[test]
fn effects_without_their_nodes_and_labels_with_two_values_are_refused() {
    for (part, setting, named) in [
        ("up", ("debug-effects", "/nowhere"), "--debug-nodes"),
        ("agent", ("debug-effects", "/nowhere"), "--debug-nodes"),
        ("agent", ("labels", "gpu=a100,gpu=t4"), "gpu"),
    ] {
        for by in [By::Option, By::Variable, By::File] {
            let folder = TempDir::new().unwrap();
            let output = start(part, &[(setting, by)], folder.path());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{part} {setting:?} by {by:?}: {said}");
            assert!(said.contains(named) && said.contains("next: "), "{part} {setting:?} by {by:?}: {said}");
        }
    }
}

#[test]
fn what_is_said_to_be_false_contradicts_nothing() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("data"), "no folder, so the start ends where the settings are taken").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
    command.args(["coordinator", "--listen", "127.0.0.1:0"]).env("HEDDLE_DATA", folder.path().join("data"));
    let output = command.env("HEDDLE_TLS", "true").env("HEDDLE_INSECURE", "false").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !said.contains("--insecure"), "{said}");
}
