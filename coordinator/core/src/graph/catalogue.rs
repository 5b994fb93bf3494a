//! The node types that graphs may use: the core's own, and those that agents brought (E30).

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::nearest::{distance, is_slip_of};
use super::policies::{self, ServerPolicyError};
use crate::control_types;
use crate::limits::GRAPH_ID_BYTES_MAX;
use crate::node_type::{NodeType, Port};
use crate::policy::PolicyDraft;

/// Bytes of one manifest.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;
/// Inputs or outputs of one node type.
pub const TYPE_PORTS_MAX: usize = 256;
/// Families that the core keeps to itself.
const CONTROL_FAMILIES: [&str; 6] = ["input", "output", "logic", "trigger", "engine", "blueprint"];
/// How many known ids a message names beside an unknown one.
const NEAREST_MAX: usize = 3;

/// Why a manifest is refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is longer than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest has {0} bytes; at most {MANIFEST_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// It does not have a manifest's fields.
    #[error("the manifest cannot be read: {0}; see the schema of node types")]
    Json(#[from] serde_json::Error),
    /// Its id is not `family:name` in lower-case letters, digits, `_` and `-`.
    #[error("\"{0}\" is no id of a node type; write it as family:name, in lower case")]
    BadId(String),
    /// Its id lies in a family of the core.
    #[error("\"{0}\" lies in a family of built-in types; choose another family")]
    Reserved(String),
    /// Two of its ports share an id, or it has too many.
    #[error("the ports of \"{0}\" have the same id twice or are more than {TYPE_PORTS_MAX}; correct the manifest")]
    BadPorts(String),
    /// An alias leads to no port.
    #[error("\"{id}\" has the alias \"{alias}\", which leads to no port; correct the manifest")]
    BadAlias {
        /// The node type.
        id: String,
        /// The alias.
        alias: String,
    },
    /// The same id and version came with another meaning before.
    #[error("\"{id}\" version {version} is known with other content; raise the version with every change")]
    Conflict {
        /// The node type.
        id: String,
        /// Its version.
        version: u32,
    },
}

impl ManifestError {
    /// A stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            ManifestError::TooLarge(_) => "manifest_too_large",
            ManifestError::Json(_) => "manifest_unreadable",
            ManifestError::BadId(_) => "manifest_bad_id",
            ManifestError::Reserved(_) => "manifest_reserved_id",
            ManifestError::BadPorts(_) => "manifest_bad_ports",
            ManifestError::BadAlias { .. } => "manifest_bad_alias",
            ManifestError::Conflict { .. } => "manifest_conflict",
        }
    }
}

/// The newest version of each known node type.
#[derive(Debug, Clone)]
pub struct TypeCatalogue {
    types: BTreeMap<Arc<str>, Arc<NodeType>>,
    aliases: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether any agent has brought a type.
    has_brought: bool,
    /// What the server's settings say for all nodes whose own policy, type and workflow say nothing.
    policy: PolicyDraft,
}

impl Default for TypeCatalogue {
    fn default() -> Self {
        Self::new()
    }
}

impl TypeCatalogue {
    /// The core's own types.
    pub fn new() -> Self {
        let types: BTreeMap<_, _> =
            control_types::all().into_iter().map(|node_type| (node_type.id.clone(), Arc::new(node_type))).collect();
        let of = |node_type: &Arc<NodeType>| {
            let id = node_type.id.clone();
            node_type.aliases.clone().into_iter().map(move |alias| (alias, id.clone()))
        };
        let aliases = types.values().flat_map(of).collect();
        Self { types, aliases, has_brought: false, policy: PolicyDraft::default() }
    }

    /// Takes the server's policy for all nodes.
    ///
    /// # Errors
    /// [`ServerPolicyError`] if it says what only a graph can say.
    pub fn set_policy(&mut self, policy: PolicyDraft) -> Result<(), ServerPolicyError> {
        policies::check_server(&policy)?;
        self.policy = policy;
        Ok(())
    }

    /// The server's policy for all nodes.
    pub(super) fn policy(&self) -> &PolicyDraft {
        &self.policy
    }

    /// Takes in a manifest that an agent brought. An older version than the known one changes nothing.
    pub fn add_manifest(&mut self, json: &[u8]) -> Result<Arc<NodeType>, ManifestError> {
        if json.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge(json.len()));
        }
        self.add(serde_json::from_slice(json)?)
    }

    /// Takes in a node type that was read already; as [`Self::add_manifest`].
    pub fn add(&mut self, node_type: NodeType) -> Result<Arc<NodeType>, ManifestError> {
        check(&node_type)?;
        self.has_brought = true;
        if let Some(known) = self.types.get(&node_type.id) {
            if known.version > node_type.version {
                return Ok(Arc::new(node_type));
            }
            if known.version == node_type.version && **known != node_type {
                return Err(ManifestError::Conflict { id: node_type.id.to_string(), version: node_type.version });
            }
        }
        let node_type = Arc::new(node_type);
        // An alias belongs to the smallest id that claims it, whatever the order in which agents come.
        for alias in &node_type.aliases {
            let owner = self.aliases.entry(alias.clone()).or_insert_with(|| node_type.id.clone());
            if node_type.id < *owner {
                *owner = node_type.id.clone();
            }
        }
        self.types.insert(node_type.id.clone(), node_type.clone());
        Ok(node_type)
    }

    /// The type of exactly this id.
    pub fn get(&self, id: &str) -> Option<&Arc<NodeType>> {
        self.types.get(id)
    }

    /// The type that has this id or goes by it as well.
    pub fn resolve(&self, id: &str) -> Option<&Arc<NodeType>> {
        self.get(id).or_else(|| self.aliases.get(id).and_then(|id| self.get(id)))
    }

    /// Whether a type of this id could be there, and is not since no agent has ever brought any.
    pub fn lacks_agents(&self, id: &str) -> bool {
        let family = id.split(':').next().unwrap_or_default();
        !self.has_brought && !CONTROL_FAMILIES.contains(&family)
    }

    /// All types, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<NodeType>> {
        self.types.values()
    }

    /// The known ids that look most like this one, best first; at most three, and none if nothing is alike.
    pub fn nearest(&self, id: &str) -> Vec<Arc<str>> {
        let distance_max = (id.len() / 3).max(2);
        let mut alike: Vec<(usize, &Arc<str>)> =
            self.types.keys().filter_map(|known| Some((distance(id, known, distance_max)?, known))).collect();
        alike.sort_unstable();
        alike.into_iter().take(NEAREST_MAX).map(|(_, known)| known.clone()).collect()
    }

    /// Whether a known id is at most two letters away: the id is a slip of the pen.
    pub fn is_slip(&self, id: &str) -> bool {
        self.types.keys().any(|known| is_slip_of(id, known))
    }
}

fn check(node_type: &NodeType) -> Result<(), ManifestError> {
    let id = &node_type.id;
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.'))
    };
    let (family, name) = id.split_once(':').unwrap_or_default();
    if !is_name(family) || !is_name(name) || id.len() > GRAPH_ID_BYTES_MAX {
        return Err(ManifestError::BadId(id.to_string()));
    }
    if CONTROL_FAMILIES.contains(&family) {
        return Err(ManifestError::Reserved(id.to_string()));
    }
    if !are_ports_sound(&node_type.inputs) || !are_ports_sound(&node_type.outputs) {
        return Err(ManifestError::BadPorts(id.to_string()));
    }
    let sides = [(&node_type.input_aliases, &node_type.inputs), (&node_type.output_aliases, &node_type.outputs)];
    let mut aliases = sides.iter().flat_map(|(aliases, ports)| aliases.iter().map(move |pair| (pair, ports)));
    match aliases.find(|((alias, target), ports)| !super::ports::is_alias_sound(alias, target, ports)) {
        Some(((alias, _), _)) => Err(ManifestError::BadAlias { id: id.to_string(), alias: alias.clone() }),
        None => Ok(()),
    }
}

fn are_ports_sound(ports: &[Port]) -> bool {
    let mut ids: Vec<_> = ports.iter().map(|port| &port.id).collect();
    ids.sort_unstable();
    ids.len() <= TYPE_PORTS_MAX && ids.windows(2).all(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::question::EVALUATOR_TYPE;

    fn manifest(id: &str, version: u32, rest: &str) -> String {
        format!(r#"{{"id":"{id}","version":{version},"title":"T","inputs":[],"outputs":[],"effect":"pure"{rest}}}"#)
    }

    #[test]
    fn the_newest_version_stays() {
        let mut types = TypeCatalogue::new();
        types.add_manifest(manifest("debug:echo", 2, "").as_bytes()).unwrap();
        types.add_manifest(manifest("debug:echo", 1, "").as_bytes()).unwrap();
        assert_eq!(types.get("debug:echo").unwrap().version, 2);
        types.add_manifest(manifest("debug:echo", 3, r#","aliases":["debug:copy"]"#).as_bytes()).unwrap();
        assert_eq!(types.resolve("debug:copy").unwrap().version, 3);
    }

    #[test]
    fn bad_manifests_are_refused_with_a_reason() {
        let mut types = TypeCatalogue::new();
        types.add_manifest(manifest("debug:echo", 1, "").as_bytes()).unwrap();
        let cases = [
            (manifest("debug:echo", 1, r#","summary":"other""#), "manifest_conflict"),
            (manifest("input:mine", 1, ""), "manifest_reserved_id"),
            (manifest(EVALUATOR_TYPE, 1, ""), "manifest_reserved_id"),
            (manifest("Echo", 1, ""), "manifest_bad_id"),
            (manifest("debug:x", 1, r#","inputAliases":{"a":"b"}"#), "manifest_bad_alias"),
            (manifest("debug:x", 1, r#","colour":"red""#), "manifest_unreadable"),
            (
                manifest("debug:x", 1, "")
                    .replace(r#""inputs":[]"#, r#""inputs":[{"id":"a","type":"TEXT"},{"id":"a","type":"TEXT"}]"#),
                "manifest_bad_ports",
            ),
            (" ".repeat(MANIFEST_BYTES_MAX + 1), "manifest_too_large"),
        ];
        for (manifest, code) in cases {
            assert_eq!(types.add_manifest(manifest.as_bytes()).unwrap_err().code(), code);
        }
    }

    #[test]
    fn what_is_meant_is_found() {
        let types = TypeCatalogue::new();
        assert_eq!(types.nearest("input:txt").first().map(|id| &**id), Some("input:text"));
        assert!(types.is_slip("inputs:text") && !types.is_slip("llm:something"));
        assert!(types.nearest("zzzzzzzzzzzzzzzzzzzz").is_empty());
    }

    #[test]
    fn what_agents_bring_is_only_missed_before_the_first_has_come() {
        let mut types = TypeCatalogue::new();
        assert!(types.lacks_agents("llm:chat") && !types.lacks_agents("logic:chat"));
        types.add_manifest(manifest("debug:echo", 1, "").as_bytes()).unwrap();
        assert!(!types.lacks_agents("llm:chat"));
    }
}
