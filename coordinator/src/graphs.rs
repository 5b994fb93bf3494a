//! Graphs at hand: documents in, compiled graphs out; and the node types they are compiled against (E16, E30).

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use heddle_core::condition::question::EVALUATOR_TYPE;
use heddle_core::graph::{Compile, Compiled, ConfigFault, Draft, Graph, Problem, Stored, TypeCatalogue, rule};
use heddle_core::node_type::NodeType;
use heddle_core::value::Digest;
use heddle_proto::agent as wire;
use thiserror::Error;

use crate::auth::Tenant;
use crate::config_schemas::ConfigSchema;
use crate::journal::JournalError;
use crate::limits::{FORMS_PARTS_PER_GRAPH_MAX, GRAPH_CACHE_NODES_MAX};
use crate::policies::Policies;
use crate::records::{GraphText, ManifestRow, Records};
use crate::reviews::form;

/// The types whose configs hold a form, and where.
const FORM_TYPES: [&str; 3] = ["logic:review", "logic:signal", "logic:wait_webhook"];
const FORM_KEY: &str = "schema";

/// What the log says of a type whose config schema cannot be used, and that was known before such schemas were refused.
const UNCHECKED: &str = "configs of this node type are not checked";

/// Types that exist for tests and benches.
const DEBUG_FAMILY: &str = "debug:";

/// Compiles graphs and keeps the youngest.
pub(crate) struct Graphs {
    records: Arc<dyn Records>,
    catalogue: RwLock<Known>,
    cache: Mutex<Cache>,
    debug_nodes: bool,
}

/// All node types that any agent has brought, and a number that changes with them.
#[derive(Clone)]
struct Known {
    types: Arc<TypeCatalogue>,
    generation: u64,
}

/// Digests are addresses within a tenant (E18).
type Address = (Tenant, Digest);

#[derive(Default)]
struct Cache {
    graphs: HashMap<Address, Kept>,
    order: VecDeque<Address>,
    nodes: usize,
    schemas: HashMap<(Arc<str>, u32), Option<Arc<ConfigSchema>>>,
}

#[derive(Clone)]
struct Kept {
    graph: Arc<Graph>,
    /// The types it was compiled against, if it may gain from newer ones.
    unavailable_in: Option<u64>,
}

/// Why a graph cannot be had.
#[derive(Debug, Error)]
pub(crate) enum GraphError {
    #[error("the graph is not kept here")]
    Missing,
    #[error("the graph has {} problems; the first: {}", .0.len(), .0.first().map_or("", |problem| &problem.message))]
    Invalid(Vec<Problem>),
    #[error("the database could not be read")]
    Journal(#[source] JournalError),
}

/// Reads a document: its arrays, and the policy of the workflow if there is one.
pub(crate) fn draft(nodes: &[u8], edges: &[u8], policy: &[u8]) -> Result<Draft, Vec<Problem>> {
    Draft::parse(nodes, edges)?.with_policy(policy)
}

/// Whether an agent offers this to the engine only: no graph names it, and nobody is shown it.
pub(crate) fn is_of_engine(type_id: &str) -> bool {
    type_id == EVALUATOR_TYPE
}

impl Graphs {
    /// With the types that the database knows.
    pub(crate) async fn open(
        records: Arc<dyn Records>,
        debug_nodes: bool,
        policies: &Policies,
    ) -> Result<Self, JournalError> {
        let mut types = TypeCatalogue::new();
        if let Err(error) = types.set_policy(policies.node.0.clone()) {
            // Reading it has refused this already.
            tracing::error!(%error, "the policy for all nodes is left out");
        }
        for row in records.node_types().await? {
            if !debug_nodes && row.id.starts_with(DEBUG_FAMILY) {
                continue;
            }
            match types.add_manifest(&row.json).map(|node_type| config_schema(&node_type).err()) {
                Ok(None) => {}
                // It came before this was looked at. What graphs have been saved with goes on.
                Ok(Some(fault)) => {
                    tracing::warn!(node_type = %row.id, "{UNCHECKED}: its config schema {fault}");
                }
                Err(error) => {
                    tracing::warn!(node_type = %row.id, %error, "a stored manifest is not understood; the type is unknown");
                }
            }
        }
        let catalogue = RwLock::new(Known { types: Arc::new(types), generation: 0 });
        Ok(Self { records, catalogue, cache: Mutex::default(), debug_nodes })
    }

    /// The node types that are known now.
    pub(crate) fn types(&self) -> Arc<TypeCatalogue> {
        self.known().types
    }

    /// Learns what an agent can run, durably. The error is a sentence for the agent's operator.
    pub(crate) async fn learn(&self, brought: &[wire::NodeType]) -> Result<(), String> {
        let known = self.known().types;
        let mut types = TypeCatalogue::clone(&known);
        let mut rows = Vec::new();
        let brought: Vec<&wire::NodeType> = brought.iter().filter(|it| !is_of_engine(&it.id)).collect();
        for manifest in &brought {
            if !self.debug_nodes && manifest.id.starts_with(DEBUG_FAMILY) {
                return Err(format!(
                    "{} is for tests: start the coordinator with --debug-nodes, or not the agent",
                    manifest.id
                ));
            }
            let node_type = types
                .add_manifest(&manifest.manifest_json)
                .map_err(|error| format!("the manifest of {}: {error}", manifest.id))?;
            if known.get(&node_type.id).is_some_and(|known| known.version >= node_type.version) {
                continue;
            }
            config_schema(&node_type)
                .map_err(|fault| format!("the manifest of {}: the config schema {fault}", manifest.id))?;
            rows.push(ManifestRow {
                id: node_type.id.clone(),
                version: node_type.version,
                digest: Digest::of(&manifest.manifest_json),
                json: manifest.manifest_json.clone(),
            });
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.records.put_node_types(rows).await.map_err(|error| error.to_string())?;
        let mut known = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        // Another agent may have brought types meanwhile: all are laid over what is there now.
        let mut merged = TypeCatalogue::clone(&known.types);
        for manifest in &brought {
            merged.add_manifest(&manifest.manifest_json).map_err(|error| error.to_string())?;
        }
        *known = Known { types: Arc::new(merged), generation: known.generation + 1 };
        Ok(())
    }

    /// Reads and checks a document; every problem at once.
    pub(crate) fn compile(&self, draft: &Draft, strict: bool, complete: bool) -> Result<Compiled, Vec<Problem>> {
        let parts = Cell::new(0);
        let check_config = |node_type: &NodeType, config: &str| {
            let (mut faults, config) = self.faults(node_type, config, false);
            faults.extend(config.and_then(|config| form_fault(node_type, &config, &parts)));
            faults
        };
        Graph::compile(draft, &self.known().types, Compile { strict, complete, check_config: &check_config })
    }

    /// The same of a document that is kept, so was checked when it came: a form is looked at when something is held against it.
    fn compile_kept(&self, draft: &Draft) -> Result<Graph, Vec<Problem>> {
        let check_config = |node_type: &NodeType, config: &str| self.faults(node_type, config, true).0;
        let compile = Compile { strict: false, complete: false, check_config: &check_config };
        Ok(Graph::compile(draft, &self.known().types, compile)?.graph)
    }

    /// The compiled graph of a document that is kept in the database.
    pub(crate) async fn get(&self, tenant: &Tenant, digest: Digest) -> Result<Arc<Graph>, GraphError> {
        let address = (tenant.clone(), digest);
        if let Some(graph) = self.cached(&address) {
            return Ok(graph);
        }
        let draft = self.document(tenant, digest).await?;
        let generation = self.known().generation;
        let graph = Arc::new(self.compile_kept(&draft).map_err(GraphError::Invalid)?);
        self.keep(address, &graph, generation);
        Ok(graph)
    }

    /// Makes a document durable, before any run or workflow names it. Documents at hand are durable already.
    pub(crate) async fn put(&self, tenant: &Tenant, draft: &Draft) -> Result<Arc<Graph>, GraphError> {
        let address = (tenant.clone(), draft.stored().digest());
        if let Some(graph) = self.cached(&address) {
            return Ok(graph);
        }
        let generation = self.known().generation;
        let graph = Arc::new(self.compile(draft, false, false).map_err(GraphError::Invalid)?.graph);
        self.keep_unchecked(tenant, draft).await.map_err(GraphError::Journal)?;
        self.keep(address, &graph, generation);
        Ok(graph)
    }

    /// Refuses a change that makes something wrong in a document. What was wrong before may stay: types are others than when it was
    /// saved, and whoever mends it does so step by step. Secrets never stay.
    pub(crate) fn check_change(&self, before: &Draft, after: &Draft) -> Result<(), Vec<Problem>> {
        let Err(mut problems) = self.compile(after, false, false) else { return Ok(()) };
        let known = self.compile(before, false, false).err().unwrap_or_default();
        problems.retain(|problem| problem.rule == rule::LITERAL_SECRET || !known.contains(problem));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Refuses to keep a document anew that has secrets in it, whatever else may be wrong with it.
    pub(crate) fn check_secrets(&self, draft: &Draft) -> Result<(), Vec<Problem>> {
        let mut problems = self.compile(draft, false, false).err().unwrap_or_default();
        problems.retain(|problem| problem.rule == rule::LITERAL_SECRET);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Makes a document durable that is checked already, or moved only.
    pub(crate) async fn keep_unchecked(&self, tenant: &Tenant, draft: &Draft) -> Result<(), JournalError> {
        let Stored { nodes, edges, policy } = draft.stored().clone();
        let text = GraphText { nodes, edges, policy };
        self.records.put_graph(tenant.clone(), draft.stored().digest(), text).await
    }

    /// A document that is kept in the database, as it was sent.
    pub(crate) async fn document(&self, tenant: &Tenant, digest: Digest) -> Result<Draft, GraphError> {
        let text = self.records.graph(tenant.clone(), digest).await.map_err(GraphError::Journal)?;
        let text = text.ok_or(GraphError::Missing)?;
        draft(&text.nodes, &text.edges, &text.policy).map_err(GraphError::Invalid)
    }

    fn known(&self) -> Known {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cached(&self, address: &Address) -> Option<Arc<Graph>> {
        let kept = self.cache().graphs.get(address).cloned()?;
        let is_current = kept.unavailable_in.is_none_or(|generation| generation == self.known().generation);
        is_current.then_some(kept.graph)
    }

    fn keep(&self, address: Address, graph: &Arc<Graph>, generation: u64) {
        let mut cache = self.cache();
        let unavailable = graph.nodes().any(|(_, node)| node.is_unavailable());
        let kept = Kept { graph: Arc::clone(graph), unavailable_in: unavailable.then_some(generation) };
        if cache.graphs.insert(address.clone(), kept).is_none() {
            cache.order.push_back(address);
            cache.nodes += graph.len();
        }
        while cache.nodes > GRAPH_CACHE_NODES_MAX && cache.order.len() > 1 {
            let Some(oldest) = cache.order.pop_front() else { break };
            cache.nodes -= cache.graphs.remove(&oldest).map_or(0, |kept| kept.graph.len());
        }
    }

    /// Checks a config by its type's schema: each fault with its place.
    pub(crate) fn check_config(&self, node_type: &NodeType, config: &str) -> Vec<ConfigFault> {
        let (mut faults, config) = self.faults(node_type, config, false);
        faults.extend(config.and_then(|config| form_fault(node_type, &config, &Cell::new(0))));
        faults
    }

    /// What is wrong with a config but for a form in it, and the config as JSON. `is_kept` = it was taken before.
    fn faults(
        &self,
        node_type: &NodeType,
        config: &str,
        is_kept: bool,
    ) -> (Vec<ConfigFault>, Option<serde_json::Value>) {
        let schema = {
            let mut cache = self.cache();
            let known = cache.schemas.entry((node_type.id.clone(), node_type.version));
            // One that cannot be used was told when it came.
            known.or_insert_with(|| config_schema(node_type).ok().flatten().map(Arc::new)).clone()
        };
        match serde_json::from_str(config) {
            Ok(config) => (schema.map_or_else(Vec::new, |schema| schema.faults(&config, is_kept)), Some(config)),
            // The compiler says so.
            Err(_) => (Vec::new(), None),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The config schema of a type, if it has one.
///
/// # Errors
/// Why it cannot be used and what to do, in a few words that follow "the config schema".
fn config_schema(node_type: &NodeType) -> Result<Option<ConfigSchema>, String> {
    node_type.config_schema.as_ref().map(ConfigSchema::read).transpose()
}

/// What is wrong with the form in a config; `parts` is what the forms of the graph have cost up to here.
fn form_fault(node_type: &NodeType, config: &serde_json::Value, parts: &Cell<usize>) -> Option<ConfigFault> {
    let form = config.get(FORM_KEY).filter(|form| FORM_TYPES.contains(&&*node_type.id) && form.is_object())?;
    let fault = match form::check(form) {
        Ok(more) => {
            parts.set(parts.get().saturating_add(more));
            let most = FORMS_PARTS_PER_GRAPH_MAX;
            let message = format!("the schemas of the graph have more than {most} parts.");
            let fault = ConfigFault { place: String::new(), message, fix: "Write shorter ones.".to_owned() };
            Some(fault).filter(|_| parts.get() > most)
        }
        Err(fault) => Some(fault),
    };
    fault.map(|fault| ConfigFault { place: format!("/{FORM_KEY}{}", fault.place), ..fault })
}

#[cfg(test)]
mod tests {
    use heddle_core::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::journal::memory::MemoryJournal;

    fn brought(version: u32, pattern: &str) -> wire::NodeType {
        let manifest = json!({
            "id": "acme:draw", "version": version, "title": "Draw", "inputs": [], "outputs": [], "effect": "pure",
            "configSchema": {"type": "object", "properties": {"name": {"type": "string", "pattern": pattern}}},
        });
        let manifest_json = manifest.to_string().into_bytes().into();
        wire::NodeType { id: "acme:draw".to_owned(), version, manifest_json, prefetch: false }
    }

    async fn open(records: &Arc<MemoryJournal>) -> Graphs {
        let records: Arc<dyn Records> = Arc::clone(records) as Arc<dyn Records>;
        Graphs::open(records, false, &Policies::default()).await.unwrap()
    }

    fn faults(graphs: &Graphs, name: &str) -> Vec<ConfigFault> {
        graphs.check_config(graphs.types().get("acme:draw").unwrap(), &json!({ "name": name }).to_string())
    }

    #[tokio::test]
    async fn an_agent_whose_pattern_cannot_be_used_is_refused_by_its_place() {
        let records = Arc::new(MemoryJournal::new(1, Arc::new(|| Timestamp::from_millis(1))).unwrap());
        let graphs = open(&records).await;
        let refused = graphs.learn(&[brought(1, "^(?=a)b")]).await.unwrap_err();
        for part in ["acme:draw", "\"/properties/name/pattern\"", "look-around", "write it without"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(graphs.types().get("acme:draw").is_none() && records.node_types().await.unwrap().is_empty());
        graphs.learn(&[brought(1, "^[a-z]+$")]).await.unwrap();
        assert_eq!(faults(&graphs, "ab"), []);
        let fault = faults(&graphs, "A").remove(0);
        assert_eq!((&*fault.place, &*fault.fix), ("/name", "Set name to text of the pattern ^[a-z]+$."));
        assert!(graphs.learn(&[brought(2, "(a)\\1")]).await.is_err(), "a new version is looked at, too");
    }

    #[tokio::test]
    async fn a_type_that_is_known_with_such_a_pattern_goes_on_unchecked() {
        let records = Arc::new(MemoryJournal::new(1, Arc::new(|| Timestamp::from_millis(1))).unwrap());
        let old = brought(1, "^(?=a)b");
        let (id, digest, json) = (old.id.as_str().into(), Digest::of(&old.manifest_json), old.manifest_json.clone());
        records.put_node_types(vec![ManifestRow { id, version: 1, digest, json }]).await.unwrap();
        let graphs = open(&records).await;
        assert_eq!(faults(&graphs, "A"), [], "what has been saved goes on");
        graphs.learn(&[old]).await.unwrap();
        graphs.learn(&[brought(2, "^[a-z]+$")]).await.unwrap();
        assert_eq!(faults(&graphs, "A").len(), 1);
    }

    #[tokio::test]
    async fn a_bad_weight_is_told_once_and_alike_whatever_is_wrong_with_it() {
        let records = Arc::new(MemoryJournal::new(1, Arc::new(|| Timestamp::from_millis(1))).unwrap());
        let graphs = open(&records).await;
        for (weights, place, said) in [
            (json!({"a": -1, "b": 2}), "/a", "weights.a of node \"split\" cannot be -1."),
            (json!({"a": 1, "b": "two"}), "/b", "weights.b of node \"split\" cannot be \"two\"."),
            (json!({"a": 0, "b": 0}), "", "weights of node \"split\" cannot be {\"a\":0,\"b\":0}."),
            (json!([1, 2]), "", "weights of node \"split\" cannot be [1,2]."),
        ] {
            let split = json!({"nodeType": "logic:split_test", "value": 1, "config": {"weights": weights}});
            let nodes = json!([{"id": "split", "data": split}]).to_string();
            let problems = graphs.compile(&draft(nodes.as_bytes(), b"[]", b"").unwrap(), true, false).unwrap_err();
            let told: Vec<_> = problems.iter().map(|problem| (&*problem.message, &*problem.fix)).collect();
            assert_eq!(told, [(said, "Write {\"a\": 3, \"b\": 1}: numbers from 0, not both 0.")]);
            assert_eq!(problems[0].path, Some(format!("/nodes/0/data/config/weights{place}")));
        }
    }

    #[tokio::test]
    async fn a_fault_of_a_form_says_what_to_write_at_its_exact_place() {
        let records = Arc::new(MemoryJournal::new(1, Arc::new(|| Timestamp::from_millis(1))).unwrap());
        let graphs = open(&records).await;
        let problem = |schema: Value| {
            let hook = json!({"nodeType": "logic:wait_webhook", "config": {"schema": schema}});
            let nodes = json!([{"id": "hook", "data": hook}]).to_string();
            let graph = draft(nodes.as_bytes(), b"[]", b"").unwrap();
            graphs.compile(&graph, true, false).unwrap_err().remove(0)
        };
        for (schema, place, fix) in [
            (json!({"properties": {"a": {"pattern": "(?=a)b"}}}), "/properties/a/pattern", "Write it without."),
            (json!({"items": {"minLength": "2"}}), "/items/minLength", "Set items.minLength to a whole number."),
            (json!({"$ref": "#/$defs/no"}), "/$ref", "A reference leads to a place in the schema (\"#/$defs/…\")."),
        ] {
            let problem = problem(schema);
            assert_eq!(problem.path, Some(format!("/nodes/0/data/config/schema{place}")), "{problem:?}");
            assert_eq!(problem.fix, fix, "{problem:?}");
        }
    }
}
