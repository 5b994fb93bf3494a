//! Which crate may know which: dependencies point inward only, and the engine knows no runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use super::Problem;

/// Every arrow that may exist between crates of the workspace. A crate that is not named here may not exist.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "heddle",
        &[
            "heddle-agent",
            "heddle-coordinator",
            "heddle-error-chain",
            "heddle-gateway",
            "heddle-proto",
            "heddle-sandbox",
            "heddle-telemetry",
            "heddle-test-postgres",
            "heddle-trust",
        ],
    ),
    // Agents and gateways move large values themselves; the coordinator collects what nobody refers to.
    ("heddle-artifacts", &[]),
    // Whoever asks what a user names.
    ("heddle-address-guard", &[]),
    // The sandbox for tests: what the agent says to providers is held against it.
    (
        "heddle-agent",
        &[
            "heddle-address-guard",
            "heddle-artifacts",
            "heddle-condition",
            "heddle-crash-point",
            "heddle-error-chain",
            "heddle-proto",
            "heddle-sandbox",
            "heddle-schema-cost",
            "heddle-telemetry",
            "heddle-trust",
        ],
    ),
    (
        "heddle-coordinator",
        &[
            "heddle-artifacts",
            "heddle-core",
            "heddle-crash-point",
            "heddle-error-chain",
            "heddle-proto",
            "heddle-schema-cost",
            "heddle-telemetry",
            "heddle-test-postgres",
            "heddle-trust",
        ],
    ),
    (
        "heddle-gateway",
        &[
            "heddle-address-guard",
            "heddle-artifacts",
            "heddle-crash-point",
            "heddle-error-chain",
            "heddle-proto",
            "heddle-telemetry",
            "heddle-trust",
        ],
    ),
    // The engine and agents evaluate conditions alike.
    ("heddle-condition", &[]),
    ("heddle-core", &["heddle-condition"]),
    ("heddle-error-chain", &[]),
    ("heddle-proto", &[]),
    ("heddle-crash-point", &[]),
    ("heddle-telemetry", &[]),
    ("heddle-sandbox", &[]),
    // The coordinator checks what people send, agents what runs give.
    ("heddle-schema-cost", &[]),
    ("heddle-test-postgres", &[]),
    // Both ends of a wire name and verify members by the same rules.
    ("heddle-trust", &["heddle-error-chain", "heddle-proto"]),
    // It asks the gateway for the table of its routes, so that no route escapes the suites.
    (
        "cluster-tests",
        &[
            "heddle-artifacts",
            "heddle-core",
            "heddle-crash-point",
            "heddle-gateway",
            "heddle-proto",
            "heddle-test-postgres",
            "heddle-trust",
        ],
    ),
    ("heddle-sim", &["heddle-core"]),
];

/// What the engine may name in its manifest (I1).
const CORE_DEPENDENCIES: &[&str] = &[
    "base64",
    "bytes",
    "heddle-condition",
    "hmac",
    // Time zones as data that is compiled in: the engine asks it for no clock.
    "jiff",
    "postcard",
    "serde",
    "serde_json",
    "sha2",
    "strsim",
    "strum",
    "thiserror",
];
/// What its tests and benches may name besides.
const CORE_DEV_DEPENDENCIES: &[&str] = &["proptest"];
/// What must not reach the engine through anything it names: runtimes, clocks, randomness, networks, databases.
const CORE_NEVER: &[&str] = &[
    "async-std",
    "chrono",
    "fastrand",
    "futures-executor",
    "getrandom",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "ractor",
    "rand",
    "rand_core",
    "reqwest",
    "socket2",
    "time",
    "tokio",
    "tonic",
];

/// The part of `cargo metadata` that says who depends on whom.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
    /// What the engine reaches when it is built alone: in the workspace, others switch on features of the same crates.
    #[serde(skip)]
    engine_alone: Option<BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    /// Absent for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

impl Dependency {
    fn is_dev_only(&self) -> bool {
        self.dep_kinds.iter().all(|found| found.kind.as_deref() == Some("dev"))
    }
}

/// Asks cargo about the workspace, for this machine's platform and without a network.
///
/// # Panics
/// When cargo does not answer: the caller is a test.
pub fn metadata() -> Metadata {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host];
    let mut metadata: Metadata =
        serde_json::from_str(&cargo(&arguments)).expect("cargo metadata has the documented shape");
    let tree = ["tree", "--package", "heddle-core", "--edges", "normal", "--prefix", "none", "--locked", "--offline"];
    let names = cargo(&tree).lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    metadata.engine_alone = Some(names);
    metadata
}

/// Every arrow that must not exist.
pub fn problems(metadata: &Metadata) -> Vec<Problem> {
    let crates = Crates::new(metadata);
    let mut problems = arrows_between_members(&crates);
    problems.extend(dependencies_of_core(&crates, metadata.engine_alone.as_ref()));
    problems
}

fn arrows_between_members(crates: &Crates<'_>) -> Vec<Problem> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut problems = Vec::new();
    for member in crates.members {
        let from = crates.name(member);
        let Some(allowed) = allowed.get(from) else {
            problems.push(problem(format!("{from} is new: say in ARROWS what it may depend on")));
            continue;
        };
        let targets = crates.dependencies(member).filter(|dependency| crates.members.contains(&dependency.pkg));
        let forbidden = targets.map(|dependency| crates.name(&dependency.pkg)).filter(|to| !allowed.contains(to));
        problems.extend(forbidden.map(|to| problem(format!("{from} must not depend on {to}"))));
    }
    problems
}

fn dependencies_of_core(crates: &Crates<'_>, alone: Option<&BTreeSet<String>>) -> Vec<Problem> {
    let Some(core) = crates.members.iter().find(|member| crates.name(member) == "heddle-core") else {
        return vec![problem("the workspace has no heddle-core")];
    };
    let mut problems = Vec::new();
    for dependency in crates.dependencies(core) {
        let name = crates.name(&dependency.pkg);
        let allowed =
            CORE_DEPENDENCIES.contains(&name) || dependency.is_dev_only() && CORE_DEV_DEPENDENCIES.contains(&name);
        if !allowed {
            problems.push(problem(format!("heddle-core must not depend on {name} (I1)")));
        }
    }
    let mut reached = BTreeSet::new();
    let mut waiting = vec![core.as_str()];
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            waiting
                .extend(crates.dependencies(id).filter(|found| !found.is_dev_only()).map(|found| found.pkg.as_str()));
        }
    }
    let is_its_own = |name: &&str| alone.is_none_or(|alone| alone.contains(*name));
    let never =
        reached.into_iter().map(|id| crates.name(id)).filter(|name| CORE_NEVER.contains(name)).filter(is_its_own);
    problems.extend(never.map(|name| problem(format!("heddle-core reaches {name} through what it depends on (I1)"))));
    problems
}

/// The metadata, by id.
struct Crates<'a> {
    members: &'a BTreeSet<String>,
    names: BTreeMap<&'a str, &'a str>,
    dependencies: BTreeMap<&'a str, &'a [Dependency]>,
}

impl<'a> Crates<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        Self {
            members: &metadata.workspace_members,
            names: metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect(),
            dependencies: metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node.deps.as_slice())).collect(),
        }
    }

    fn name(&self, id: &'a str) -> &'a str {
        self.names.get(id).copied().unwrap_or(id)
    }

    fn dependencies(&self, id: &str) -> impl Iterator<Item = &'a Dependency> + use<'a> {
        self.dependencies.get(id).copied().unwrap_or_default().iter()
    }
}

fn problem(what: impl Into<String>) -> Problem {
    Problem { path: "Cargo.toml".to_owned(), line: 1, what: what.into() }
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(super::root()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo speaks UTF-8")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn inward_arrows_may_exist() {
        check(&[("heddle-core", &["serde"]), ("heddle-coordinator", &["heddle-core", "tokio"])], &[]);
    }

    #[test]
    fn the_gateway_must_not_know_the_coordinator() {
        check(
            &[
                ("heddle-core", &[]),
                ("heddle-error-chain", &[]),
                ("heddle-coordinator", &[]),
                ("heddle-gateway", &["heddle-coordinator"]),
            ],
            &["heddle-gateway must not depend on heddle-coordinator"],
        );
    }

    #[test]
    fn a_new_crate_must_say_what_it_knows() {
        check(&[("heddle-core", &[]), ("heddle-error-chain", &[]), ("heddle-cache", &[])], &["heddle-cache is new"]);
    }

    #[test]
    fn the_core_must_not_know_a_runtime() {
        check(&[("heddle-core", &["tokio"])], &["heddle-core must not depend on tokio", "heddle-core reaches tokio"]);
    }

    #[test]
    fn the_core_must_not_reach_randomness_through_others() {
        check(&[("heddle-core", &["serde"]), ("serde", &["rand"])], &["heddle-core reaches rand"]);
    }

    #[test]
    fn a_workspace_without_core_is_not_checked_by_mistake() {
        check(&[("heddle-proto", &[])], &["the workspace has no heddle-core"]);
    }

    /// Checks a workspace of these crates (those named `heddle…` are members) against the starts of the expected problems.
    fn check(crates: &[(&str, &[&str])], expected: &[&str]) {
        let mut names: BTreeSet<&str> = crates.iter().map(|(name, _)| *name).collect();
        names.extend(crates.iter().flat_map(|(_, dependencies)| dependencies.iter()));
        let nodes: Vec<Value> = crates.iter().map(|(name, dependencies)| node(name, dependencies)).collect();
        let metadata = json!({
            "packages": names.iter().map(|name| json!({"id": name, "name": name})).collect::<Vec<_>>(),
            "workspace_members": names.iter().filter(|name| name.starts_with("heddle")).collect::<Vec<_>>(),
            "resolve": {"nodes": nodes},
        });
        let found = problems(&serde_json::from_value(metadata).unwrap());
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.what.starts_with(expected), "{found} is not {expected:?}");
        }
    }

    fn node(name: &str, dependencies: &[&str]) -> Value {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|name| json!({"pkg": name, "dep_kinds": [{"kind": null}]})).collect();
        json!({"id": name, "deps": dependencies})
    }
}
