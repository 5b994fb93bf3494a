//! A workflow in a file: a React Flow graph as JSON. Nodes and edges are passed on byte for byte.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Context, Exit, Failure, Result};
use crate::limits::WORKFLOW_FILE_BYTES_MAX;
use crate::text_file;

mod shape;

/// Renderer types that carry no work.
const DECORATION: [&str; 2] = ["stickyNote", "custom_group"];

/// A workflow as it stands in a file.
#[derive(Debug)]
pub struct WorkflowFile {
    /// The file's name without its ending.
    pub name: String,
    /// What the file says of the workflow itself.
    pub about: About,
    /// The `nodes` array as written.
    pub nodes: Box<RawValue>,
    /// The `edges` array as written.
    pub edges: Box<RawValue>,
    /// The policy for all nodes, as written.
    pub policy: Option<Box<RawValue>>,
    outline: Vec<Node>,
    arrows: Vec<Edge>,
}

/// What a file may say beside its graph.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct About {
    /// The workflow that it is a state of.
    pub id: Option<String>,
    /// The workflow's name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Document {
    nodes: Box<RawValue>,
    edges: Box<RawValue>,
    #[serde(default)]
    policy: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Node {
    id: String,
    #[serde(rename = "type", default)]
    renderer: Option<String>,
    #[serde(default)]
    data: NodeData,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NodeData {
    label: Option<String>,
    node_type: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    source: String,
    target: String,
}

impl Node {
    fn label(&self) -> &str {
        self.data.label.as_deref().filter(|label| !label.is_empty()).unwrap_or(&self.id)
    }

    fn node_type(&self) -> &str {
        self.data.node_type.as_deref().unwrap_or_default()
    }
}

impl WorkflowFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = text_file::read(path, WORKFLOW_FILE_BYTES_MAX)?;
        let name = path.file_stem().map_or_else(|| "workflow".into(), |stem| stem.to_string_lossy().into_owned());
        // The parser would speak of Rust's types, and it takes arrays for objects.
        let shaped = shape::fault(&text).map_or(Ok(()), Err);
        shaped.and_then(|()| Self::parse(name, &text).map_err(|error| error.to_string())).map_err(|why| {
            Failure::usage(format!("{} is not a workflow: {why}", path.display()))
                .with_next("give a JSON file with the arrays `nodes` and `edges`, as React Flow exports it")
        })
    }

    fn parse(name: String, text: &str) -> serde_json::Result<Self> {
        let document: Document = serde_json::from_str(text)?;
        let about = serde_json::from_str(text)?;
        let outline: Vec<Node> = serde_json::from_str(document.nodes.get())?;
        let arrows = serde_json::from_str(document.edges.get())?;
        let outline = outline
            .into_iter()
            .filter(|node| !node.renderer.as_deref().is_some_and(|renderer| DECORATION.contains(&renderer)))
            .collect();
        let Document { nodes, edges, policy } = document;
        Ok(WorkflowFile { name, about, nodes, edges, policy, outline, arrows })
    }

    /// What the workflow is called: as the file says, else as the file is called.
    pub fn title(&self) -> &str {
        self.about.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.name)
    }

    /// The type of the node that a person means; `None` for one that is not there.
    pub fn node_type(&self, name: &str) -> Option<&str> {
        self.outline.iter().find(|node| node.id == name || node.label() == name).map(Node::node_type)
    }

    /// SHA-256 over nodes, edges and policy, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.nodes.get().len() as u64).to_be_bytes());
        hash.update(self.nodes.get());
        hash.update(self.edges.get());
        self.policy.iter().for_each(|policy| hash.update(policy.get()));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The id of the node that a person means: its id, else its label if only one node has that.
    pub fn resolve(&self, name: &str) -> Result<&str> {
        if let Some(node) = self.outline.iter().find(|node| node.id == name) {
            return Ok(&node.id);
        }
        let mut labelled = self.outline.iter().filter(|node| node.label() == name);
        match (labelled.next(), labelled.next()) {
            (Some(node), None) => Ok(&node.id),
            (Some(_), Some(_)) => {
                Err(Failure::usage(format!("several nodes are labelled {name:?}")).with_next("name the node by its id"))
            }
            (None, _) => {
                let known: Vec<&str> = self.outline.iter().map(|node| node.id.as_str()).take(20).collect();
                Err(Failure::usage(format!("the workflow has no node {name:?}"))
                    .with_next(format!("name one of: {}", known.join(", "))))
            }
        }
    }

    /// Values given as `key=text` or `key:=json`. A key that names a node stands for it; others are left to the server
    /// (port or config keys). A number, boolean or JSON input takes its text as JSON.
    pub fn inputs(&self, given: &[String]) -> Result<Map<String, Value>> {
        let mut inputs = Map::new();
        for pair in given {
            let (key, value) = self.input(pair)?;
            if inputs.insert(key.clone(), value).is_some() {
                return Err(Failure::usage(format!("the input {key:?} is given twice")));
            }
        }
        Ok(inputs)
    }

    fn input(&self, pair: &str) -> Result<(String, Value)> {
        let (name, text) = pair.split_once('=').ok_or_else(|| {
            Failure::usage(format!("{pair:?} is not an input")).with_next("write -i NAME=TEXT or -i NAME:=JSON")
        })?;
        let (name, as_json) = name.strip_suffix(':').map_or((name, false), |name| (name, true));
        let node = self.outline.iter().find(|node| node.id == name || node.label() == name);
        let key = match node {
            Some(_) => self.resolve(name)?.to_owned(),
            None => name.to_owned(),
        };
        let typed = node.is_some_and(|node| {
            matches!(
                node.node_type(),
                "input:number" | "input:seed" | "input:boolean" | "input:toggle" | "input:json" | "input:list"
            )
        });
        if !as_json && !typed {
            return Ok((key, Value::String(text.to_owned())));
        }
        let value = serde_json::from_str(text).context(Exit::Usage, format_args!("the input {name:?} is not JSON"))?;
        Ok((key, value))
    }

    /// Nodes as (id, label, depth), each after those it depends on, as far as there is no cycle.
    pub fn tree(&self) -> Vec<(String, String, usize)> {
        let mut depth: HashMap<&str, usize> = self.outline.iter().map(|node| (node.id.as_str(), 0)).collect();
        let mut open: HashMap<&str, usize> = HashMap::new();
        let mut successors: HashMap<&str, Vec<&str>> = HashMap::new();
        for edge in self.arrows.iter().filter(|edge| depth.contains_key(edge.source.as_str())) {
            *open.entry(&edge.target).or_default() += 1;
            successors.entry(&edge.source).or_default().push(&edge.target);
        }
        let mut ready: Vec<&str> = depth.keys().copied().filter(|id| !open.contains_key(id)).collect();
        while let Some(id) = ready.pop() {
            let below = depth.get(id).copied().unwrap_or(0) + 1;
            for target in successors.remove(id).unwrap_or_default() {
                if let Some(known) = depth.get_mut(target) {
                    *known = below.max(*known);
                }
                if let Some(count) = open.get_mut(target) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(target);
                    }
                }
            }
        }
        let mut rows: Vec<(String, String, usize)> = self
            .outline
            .iter()
            .map(|node| (node.id.clone(), node.label().to_owned(), depth.get(node.id.as_str()).copied().unwrap_or(0)))
            .collect();
        rows.sort_by_key(|(_, _, depth)| *depth);
        rows
    }

    /// The nodes whose results a person waits for: the target, else the `output:*` nodes, else those nothing follows.
    pub fn results(&self, target: Option<&str>) -> Vec<&str> {
        let named = |node: &'_ &Node| match target {
            Some(target) => node.id == target,
            None => node.node_type().starts_with("output:"),
        };
        let chosen: Vec<&Node> = self.outline.iter().filter(named).collect();
        let sources: HashSet<&str> = self.arrows.iter().map(|edge| edge.source.as_str()).collect();
        let last = || self.outline.iter().filter(|node| !sources.contains(node.id.as_str())).collect();
        let chosen = if chosen.is_empty() { last() } else { chosen };
        chosen.into_iter().map(|node| node.id.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"{"viewport": {}, "nodes": [
        {"id":"c","data":{"label":"Out","nodeType":"output:text"}},
        {"id":"a","data":{"label":"Topic","nodeType":"input:text"}},
        {"id":"n","data":{"label":"Count","nodeType":"input:number"}},
        {"id":"b","data":{"label":"Draw","nodeType":"debug:noop"}},
        {"id":"s","type":"stickyNote","data":{"text":"hello"}}
      ], "edges": [{"id":"e1","source":"a","target":"b"},{"id":"e2","source":"b","target":"c"},{"id":"e3","source":"a","target":"c"}]}"#;

    fn file() -> WorkflowFile {
        WorkflowFile::parse("poster".into(), TEXT).unwrap()
    }

    #[test]
    fn the_tree_follows_the_edges() {
        let tree: Vec<(String, usize)> = file().tree().into_iter().map(|(id, _, depth)| (id, depth)).collect();
        assert_eq!(tree, [("a".into(), 0), ("n".into(), 0), ("b".into(), 1), ("c".into(), 2)]);
    }

    #[test]
    fn a_cycle_or_a_dangling_edge_is_the_servers_to_refuse() {
        let text = r#"{"nodes":[{"id":"a"},{"id":"b"}],"edges":[{"source":"a","target":"b"},{"source":"b","target":"a"},{"source":"x","target":"y"}]}"#;
        assert_eq!(WorkflowFile::parse("w".into(), text).unwrap().tree().len(), 2);
    }

    #[test]
    fn nodes_go_by_id_or_label() {
        let file = file();
        assert_eq!(file.resolve("b").unwrap(), "b");
        assert_eq!(file.resolve("Draw").unwrap(), "b");
        let failure = file.resolve("Drow").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.next.as_deref(), Some("name one of: c, a, n, b"));
    }

    #[test]
    fn inputs_are_text_unless_they_say_otherwise() {
        let given = ["Topic=5".to_owned(), "n=5".to_owned(), "size:=[1,2]".to_owned(), "x=a=b".to_owned()];
        let inputs = file().inputs(&given).unwrap();
        assert_eq!(Value::Object(inputs), json!({"a": "5", "n": 5, "size": [1, 2], "x": "a=b"}));
        for wrong in [vec!["Topic".to_owned()], vec!["n=five".to_owned()], vec!["a=1".to_owned(), "Topic=2".to_owned()]]
        {
            assert_eq!(file().inputs(&wrong).unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn results_are_the_target_or_the_outputs_or_the_last() {
        assert_eq!(file().results(Some("b")), ["b"]);
        assert_eq!(file().results(None), ["c"]);
        let text = r#"{"nodes":[{"id":"a"},{"id":"b"}],"edges":[{"source":"a","target":"b"}]}"#;
        assert_eq!(WorkflowFile::parse("w".into(), text).unwrap().results(None), ["b"]);
    }

    #[test]
    fn the_digest_is_of_the_graph_alone() {
        let other = TEXT.replace("\"viewport\": {}", "\"viewport\": {\"x\":1}");
        assert_eq!(WorkflowFile::parse("w".into(), &other).unwrap().digest(), file().digest());
        let policy = TEXT.replace("\"viewport\": {}", "\"policy\": {\"timeoutMs\": 5}");
        let with_policy = WorkflowFile::parse("w".into(), &policy).unwrap();
        assert_eq!(with_policy.policy.as_ref().map(|policy| policy.get()), Some("{\"timeoutMs\": 5}"));
        assert_ne!(with_policy.digest(), file().digest(), "what counts for all nodes is part of the graph");
        let other = TEXT.replace("Topic", "Subject");
        assert_ne!(WorkflowFile::parse("w".into(), &other).unwrap().digest(), file().digest());
    }

    #[test]
    fn what_is_no_workflow_is_a_usage_error() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.json");
        assert_eq!(WorkflowFile::read(&path).unwrap_err().exit, Exit::Usage);
        std::fs::write(&path, "{\"nodes\": 3}").unwrap();
        let failure = WorkflowFile::read(&path).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.next.is_some());
        for (text, expected) in [
            ("{\"nodes\": 3}", "expected an array, found a number at /nodes"),
            ("[]", "expected an object, found an array"),
            ("{\"nodes\": [[]], \"edges\": []}", "expected an object, found an array at /nodes/0"),
            ("{\"nodes\": [{\"id\": 1}], \"edges\": []}", "expected a string, found a number at /nodes/0/id"),
            (
                "{\"nodes\": [{\"id\":\"a\",\"data\":[]}], \"edges\": []}",
                "expected an object, found an array at /nodes/0/data",
            ),
            ("{\"nodes\": []}", "there is nothing at /edges"),
            ("{\"nodes\": [], \"edges\": [{\"source\": \"a\"}]}", "there is nothing at /edges/0/target"),
            ("{\"nodes\": [], \"edges\": [], \"policy\": 3}", "expected an object, found a number at /policy"),
            ("{\"nodes\": [", "EOF while parsing"),
        ] {
            std::fs::write(&path, text).unwrap();
            let failure = WorkflowFile::read(&path).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(expected), "{text}: {failure}");
            assert!(!failure.message.contains("struct"), "{text}: {failure}");
        }
    }
}
