//! A cluster answers as its own OpenAPI document says. schemathesis makes requests of the document, valid ones and others, alone
//! and in sequences along its links, and holds every answer against it: no fault of the server, no status, media type, header or
//! body that is not documented, nothing invalid taken, nothing valid refused, no key forgotten.
//!
//! Every check that it has runs on every operation. `hooks.py` says what is not held against the server, and why.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::python::Packages;
use cluster_tests::wait;

const DOCUMENT: &str = "/api/v1/openapi.json";
// Within one minor version: the next one may have other checks.
const PACKAGES: [&str; 1] = ["schemathesis>=4.32.5,<4.33"];
/// Requests of each operation that are made up, beside those that the document's bounds ask for.
const EXAMPLES: &str = "20";
const TESTS_TIME_MAX: Duration = Duration::from_secs(300);
/// Operations that never succeed here, each with its reason.
const NEVER: [(&str, &str); 3] = [
    ("POST /api/v1/agents/tokens", "a cluster in plaintext has no tokens: 409 says so"),
    ("DELETE /api/v1/agents/tokens/{id}", "there is none, for the same reason"),
    ("PUT /api/v1/media/uploads/{id}", "its address is signed: nobody makes one up"),
];

#[tokio::test]
async fn every_answer_is_as_the_document_says() {
    let Some(packages) = Packages::installed("openapi", &PACKAGES) else { return };
    let mut cluster = Cluster::start(1, 4).await;
    let origin = cluster.origin(0);
    let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap().trim().to_owned();
    let keys = cluster.client().get_json("/api/v1/keys").await;
    let key_id = keys[0]["id"].as_str().unwrap().to_owned();
    let (calls, said) = (cluster.folder().join("calls"), cluster.folder().join("schemathesis"));

    let mut tests = Command::new(packages.program("st"));
    tests.args(["--no-color", "run", &format!("{origin}{DOCUMENT}")]);
    tests.args(["--header", &format!("Authorization: Bearer {key}")]);
    // The same requests each time, as far as answers are the same.
    tests.args(["--checks", "all", "--max-examples", EXAMPLES, "--generation-deterministic", "--no-shrink"]);
    tests.args(["--continue-on-failure", "--request-timeout", "60"]);
    // The document says in words that no text holds U+0000.
    tests.args(["--generation-allow-x00", "false"]);
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi");
    tests.env("PYTHONPATH", hooks).env("PYTHONDONTWRITEBYTECODE", "1").env("SCHEMATHESIS_HOOKS", "hooks");
    tests
        .env("HEDDLE_ORIGIN", &origin)
        .env("HEDDLE_KEY", &key)
        .env("HEDDLE_KEY_ID", key_id)
        .env("HEDDLE_CALLS", &calls);
    tests.current_dir(cluster.folder()).env("NO_PROXY", "*").stdin(Stdio::null());
    let mut tests = tests.stdout(File::create(&said).unwrap()).spawn().unwrap();
    let ended = wait::try_until(TESTS_TIME_MAX, || {
        let ended = tests.try_wait().unwrap();
        async move { ended.ok_or_else(|| "it runs".to_owned()) }
    })
    .await;
    if ended.is_err() {
        tests.kill().unwrap();
    }
    let (status, said) = (tests.wait().unwrap(), std::fs::read_to_string(&said).unwrap());
    assert!(status.success(), "{ended:?}: {said}");

    // It did reach what it asked for: each operation has succeeded, and the key is still good.
    let mut statuses: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for line in std::fs::read_to_string(&calls).unwrap().lines() {
        let (operation, status) = line.rsplit_once(' ').unwrap();
        statuses.entry(operation.to_owned()).or_default().insert(status.parse().unwrap());
    }
    let operations = cluster.client().get_json(DOCUMENT).await;
    // The document is what it works by: it asks for it once, and not as an operation.
    for (path, methods) in operations["paths"].as_object().unwrap().iter().filter(|(path, _)| *path != DOCUMENT) {
        for method in methods.as_object().unwrap().keys() {
            let operation = format!("{} {path}", method.to_ascii_uppercase());
            let met = statuses.get(&operation).unwrap_or_else(|| panic!("{operation} was not asked"));
            let succeeds = met.iter().any(|status| (200..400).contains(status));
            let never = NEVER.iter().any(|(never, _)| *never == operation);
            assert!(succeeds != never, "{operation} was answered {met:?}");
        }
    }
    assert_eq!(cluster.client().get("/api/v1/keys").await.status, 200);
}
