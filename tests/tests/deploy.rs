//! What `deploy/` says works: its command lines start a cluster that runs a workflow, and its units are sound.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cluster_tests::cluster::process::{Process, command};
use cluster_tests::cluster::{START_TIME_MAX, free_address, heddle};
use cluster_tests::wait;
use serde_json::Value;
use tempfile::TempDir;

/// Where the binary is on a machine that is set up by these files.
const INSTALLED: &str = "/usr/local/bin/heddle";
/// Where the file of the configuration is.
const CONFIGURATION: &str = "/etc/heddle/heddle.toml";
/// The parts, in the order in which they are started.
const PARTS: [&str; 3] = ["coordinator", "gateway", "agent"];

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(deploy(file)).unwrap_or_else(|error| panic!("deploy/{file}: {error}"))
}

/// Command lines as they are written, moved to this machine: other addresses, other folders.
struct Moved {
    folder: TempDir,
    coordinator: String,
    gateway: String,
    processes: Vec<Process>,
}

impl Moved {
    fn new() -> Self {
        let folder = TempDir::with_prefix("heddle-deploy-").unwrap();
        Self { folder, coordinator: free_address(), gateway: free_address(), processes: Vec::new() }
    }

    /// A text with its addresses and folders moved; each part and replica gets a folder of its own.
    fn moved(&self, text: &str, part: &str) -> String {
        let state = self.folder.path().join(part).display().to_string();
        let artifacts = self.folder.path().join("shared").display().to_string();
        let addresses = [
            ("0.0.0.0:7420", &self.coordinator),
            ("127.0.0.1:7420", &self.coordinator),
            ("coordinator:7420", &self.coordinator),
            ("0.0.0.0:8080", &self.gateway),
            ("127.0.0.1:8080", &self.gateway),
            // One folder for all.
            ("/var/lib/heddle-artifacts", &artifacts),
            ("/var/lib", &state),
        ];
        addresses.into_iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn start(&mut self, name: &str, arguments: &[String]) {
        self.start_with(name, arguments, &[]);
    }

    fn start_with(&mut self, name: &str, arguments: &[String], variables: &[(String, String)]) {
        let log = self.folder.path().join(format!("{name}.log"));
        self.processes.push(Process::start_with(arguments, &log, None, variables));
    }

    /// A small file of a part's folder, once it is written.
    async fn written(&self, file: &str) -> String {
        wait::until(&format!("a file called {file}"), START_TIME_MAX, || async {
            let found = find(self.folder.path(), file);
            let path = found.first().ok_or_else(|| "there is none".to_owned())?;
            std::fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| error.to_string())
        })
        .await
    }

    async fn is_ready(&self) {
        cluster_tests::cluster::client::ready();
        let http = reqwest::Client::new();
        let ready = format!("http://{}/readyz", self.gateway);
        wait::until("a gateway that is ready", START_TIME_MAX, || async {
            let answer = http.get(&ready).send().await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.text().await.unwrap_or_default()) }
        })
        .await;
    }

    /// A token, as the README makes it.
    async fn token(&self) -> String {
        let key = self.written("key").await;
        let mut create = command();
        create.args(["agents", "token", "create", "--server", &format!("http://{}", self.gateway)]);
        let output = create.env("HEDDLE_KEY", key).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Waits until all parts that were started are there, and runs the first workflow of the README on them.
    async fn works(mut self, agents: usize) {
        let http = reqwest::Client::new();
        self.is_ready().await;
        let keys: Vec<PathBuf> = find(self.folder.path(), "key");
        let [key_file] = &keys[..] else { panic!("one first key: {keys:?}") };
        let key = std::fs::read_to_string(key_file).unwrap();
        let url = format!("http://{}/api/v1/agents", self.gateway);
        wait::until("all agents", START_TIME_MAX, || async {
            let answer = http.get(&url).bearer_auth(key.trim()).send().await.map_err(|error| error.to_string())?;
            let list: Value = answer.json().await.map_err(|error| error.to_string())?;
            let here = list.as_array().map_or(0, Vec::len);
            if here == agents { Ok(()) } else { Err(format!("{here} of {agents}: {list}")) }
        })
        .await;
        let example = deploy("../examples/hello.json").display().to_string();
        let server = format!("http://{}", self.gateway);
        let mut run = command();
        run.args(["run", &example, "-i", "topic=tides", "--server", &server, "--key", key.trim()]);
        let output = run.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("A postcard about tides"), "{said}");
        for process in &mut self.processes {
            assert!(process.ended().is_none(), "{}", process.said());
        }
    }
}

/// Files of this name below a folder.
fn find(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(find(&entry.path(), name)),
            false if entry.file_name() == name => found.push(entry.path()),
            false => {}
        }
    }
    found
}

/// The command line of a unit, without its program.
fn exec_start(unit: &str) -> Vec<String> {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a unit starts something");
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some(INSTALLED));
    words.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_units_start_a_cluster() {
    let mut moved = Moved::new();
    let configuration = moved.folder.path().join("heddle.toml");
    std::fs::write(&configuration, moved.moved(&text("heddle.toml"), "state")).unwrap();
    for part in PARTS {
        let arguments = exec_start(&text(&format!("systemd/heddle-{part}.service")));
        let here = |word: String| if word == CONFIGURATION { configuration.display().to_string() } else { word };
        // What the README puts into the part's file of secrets.
        let join = match part {
            "gateway" => Some(moved.written("gateway-token").await),
            "agent" => {
                moved.is_ready().await;
                Some(moved.token().await)
            }
            _ => None,
        };
        let variables: Vec<_> = join.into_iter().map(|token| ("HEDDLE_JOIN".to_owned(), token)).collect();
        moved.start_with(part, &arguments.into_iter().map(here).collect::<Vec<_>>(), &variables);
    }
    moved.works(1).await;
}

#[test]
fn the_units_are_sound() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is not installed: install systemd");
        eprintln!("SKIPPED, NOT TESTED: systemd-analyze is not installed. Install systemd.");
        return;
    }
    let folder = TempDir::new().unwrap();
    for part in PARTS {
        let name = format!("heddle-{part}.service");
        // The program must be there for it to be sound.
        let unit = text(&format!("systemd/{name}")).replace(INSTALLED, &heddle().display().to_string());
        let file = folder.path().join(&name);
        std::fs::write(&file, unit).unwrap();
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let about_us: Vec<&str> = said.lines().filter(|line| line.contains("heddle")).collect();
        assert!(about_us.is_empty(), "{part}: {about_us:?}");
    }
}

/// A service of the compose file, with what it takes over from `<<`.
fn services() -> BTreeMap<String, Value> {
    let compose: Value = serde_saphyr::from_str(&text("compose.yaml")).unwrap();
    let services = compose["services"].as_object().expect("there are services");
    let whole = services.iter().map(|(name, service)| {
        let mut whole = service["<<"].as_object().cloned().unwrap_or_default();
        whole.extend(service.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        (name.clone(), Value::Object(whole))
    });
    whole.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_file_starts_a_cluster() {
    let services = services();
    let mut moved = Moved::new();
    let mut agents = 0;
    for part in PARTS {
        let service = &services[part];
        assert_eq!(service["image"], "heddle", "{part}");
        let words = service["command"].as_array().expect("a list of words").iter().map(|word| word.as_str().unwrap());
        let words: Vec<&str> = words.collect();
        for replica in 0..service["deploy"]["replicas"].as_u64().unwrap_or(1) {
            let name = format!("{part}-{replica}");
            let mut arguments: Vec<String> = words.iter().map(|word| moved.moved(word, &name)).collect();
            if part == "coordinator" {
                assert!(service["environment"]["HEDDLE_DATABASE"].as_str().unwrap().starts_with("postgres://"));
                arguments.extend(database().map(|database| ["--database".to_owned(), database]).into_iter().flatten());
            }
            moved.start(&name, &arguments);
            agents += usize::from(part == "agent");
        }
    }
    assert_eq!(agents, 3);
    moved.works(agents).await;
}

/// PostgreSQL, as the compose file has it; without it, which is said loudly, a file.
fn database() -> Option<String> {
    heddle_test_postgres::shared().map(heddle_test_postgres::Server::database)
}

#[test]
fn the_image_starts_the_binary_that_it_has() {
    let text = text("Containerfile");
    let last = |instruction: &str| text.lines().rev().find_map(|line| line.strip_prefix(instruction).map(str::trim));
    let entry: Vec<String> = serde_json::from_str(last("ENTRYPOINT").unwrap()).unwrap();
    assert_eq!(entry, ["heddle"]);
    assert!(last("COPY --from=build").unwrap().ends_with(INSTALLED));
    assert_eq!(last("USER"), Some("heddle"), "it is not root");
    let arguments: Vec<String> = serde_json::from_str(last("CMD").unwrap()).unwrap();
    let mut check = command();
    let checked = check.args(&arguments).arg("--help").output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// Longer than a drain: whoever stops a part must not cut it off.
const DRAIN: Duration = Duration::from_secs(10);

#[test]
fn stops_are_given_the_time_they_take() {
    for part in PARTS {
        let unit = text(&format!("systemd/heddle-{part}.service"));
        let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap();
        assert!(Duration::from_secs(stop) > DRAIN, "{part}");
        let grace = services()[part]["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        assert!(Duration::from_secs(grace) > DRAIN, "{part}");
    }
}
