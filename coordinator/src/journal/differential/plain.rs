//! Operations on plain rows.

use heddle_core::id::{KeyId, RunId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::{Pair, same};
use crate::auth::Tenant;
use crate::records::{
    ApiKeyRow, GraphText, KeyEnd, ManifestRow, Records as _, Relative, SaveWorkflow, Saved, TenantChange, TenantRow,
    Usage, WorkflowPage,
};

pub(super) const OPERATIONS: &[&str] = &[
    "graph",
    "save_workflow",
    "save_workflow with a known key",
    "save_workflow against a newer one",
    "workflow",
    "workflows",
    "delete_workflow",
    "versions",
    "version",
    "versions_of_graph",
    "api_key",
    "api_keys",
    "end_api_key",
    "note_key_use",
    "tenant",
    "change_tenant",
    "kin",
    "node_types",
];

impl Pair {
    pub(super) async fn perform_plain(&mut self, operation: &str) -> bool {
        let (tenant, id) = (self.draw.tenant(), self.draw.workflow());
        match operation {
            "graph" => {
                let (digest, nodes, edges, policy) =
                    (self.draw.digest(), self.draw.bytes(), self.draw.bytes(), self.draw.bytes());
                same!(
                    self,
                    put_graph(
                        tenant,
                        digest,
                        GraphText { nodes: nodes.clone(), edges: edges.clone(), policy: policy.clone() }
                    )
                )
                .unwrap();
                let digest = self.draw.digest();
                same!(self, graph(tenant, digest)).unwrap().is_some()
            }
            "save_workflow" => {
                let save = self.save();
                matches!(same!(self, save_workflow(save)).unwrap(), Saved::Done { created: false, .. })
            }
            "save_workflow with a known key" => {
                let key = self.key();
                let save =
                    SaveWorkflow { tenant: Tenant::of_test(key.key.tenant.clone()), key: Some(key), ..self.save() };
                matches!(same!(self, save_workflow(save)).unwrap(), Saved::Replayed { created: false, .. })
            }
            "save_workflow against a newer one" => {
                let base_updated_at = Some(Timestamp::from_millis(self.draw.below(9) as i64));
                let save = SaveWorkflow { base_updated_at, ..self.save() };
                matches!(same!(self, save_workflow(save)).unwrap(), Saved::Stale { .. })
            }
            "workflow" => same!(self, workflow(tenant, id)).unwrap().is_some_and(|row| row.execution_count > 1),
            "workflows" => {
                let is_active = self.draw.below(2) == 0;
                let is_active = self.draw.maybe(is_active);
                let limit = 1 + self.draw.below(3) as usize;
                let first = WorkflowPage { is_active, after: None, limit };
                let rows = same!(self, workflows(tenant.clone(), first)).unwrap();
                let after = rows.last().map(|row| (row.updated_at, row.id));
                let rest = same!(self, workflows(tenant, WorkflowPage { after, ..first })).unwrap();
                after.is_some() && !rest.is_empty()
            }
            "kin" => {
                let mut few = || RunId(self.draw.below(4).into());
                let (root, parent, run, other) = (few(), few(), few(), few());
                let parent = self.draw.maybe(parent);
                same!(self, put_relative(tenant.clone(), Relative { root, run, parent })).unwrap();
                let kin = same!(self, kin(tenant.clone(), vec![other, run])).unwrap();
                let all = same!(self, relatives(tenant, root, RunId(0), 3)).unwrap();
                kin.len() > 1 && all.len() > 1 && kin.iter().any(|it| it.parent.is_some())
            }
            "delete_workflow" => same!(self, delete_workflow(tenant, id)).unwrap(),
            "versions" => {
                let limit = 1 + self.draw.below(2) as usize;
                let rows = same!(self, versions(tenant.clone(), id, None::<u64>, limit)).unwrap();
                let before = rows.last().map(|row| row.version);
                let rest = same!(self, versions(tenant, id, before, limit)).unwrap();
                before.is_some() && !rest.is_empty()
            }
            "version" => {
                let number = self.draw.below(4);
                same!(self, version(tenant, id, number)).unwrap().is_some_and(|row| row.version > 1)
            }
            "versions_of_graph" => {
                let graph = self.draw.digest();
                !same!(self, versions_of_graph(tenant, id, graph)).unwrap().is_empty()
            }
            "api_key" => {
                let (mac, row) = self.api_key();
                let only_first = self.draw.below(2) == 0;
                same!(self, put_api_key(mac, row, only_first)).unwrap();
                same!(self, api_key(mac)).unwrap().is_some()
            }
            "api_keys" => same!(self, api_keys(tenant)).unwrap().len() > 1,
            "end_api_key" => {
                let (mac, row) = self.api_key();
                same!(self, put_api_key(mac, row.clone(), false)).unwrap();
                let at = self.draw.time_near(self.clock.now());
                let end = if self.draw.below(2) == 0 { KeyEnd::Revoked(at) } else { KeyEnd::Expires(at) };
                let ended = same!(self, end_api_key(tenant, row.id, end)).unwrap();
                same!(self, api_key(mac)).unwrap();
                ended.is_some_and(|row| row.revoked_at.is_some())
            }
            "note_key_use" => {
                let (mac, row) = self.api_key();
                same!(self, put_api_key(mac, row.clone(), false)).unwrap();
                let at = self.draw.time_near(self.clock.now());
                let (owner, id) = (Tenant::of_key(&row), row.id);
                same!(self, note_key_use(tenant, id, at)).unwrap();
                same!(self, note_key_use(owner, id, at)).unwrap();
                let earlier = self.draw.time_near(self.clock.now());
                same!(self, note_key_use(owner, id, earlier)).unwrap();
                same!(self, api_key(mac)).unwrap().is_some_and(|row| row.last_used_at == Some(at.max(earlier)))
            }
            "tenant" => {
                let (name, now) = (self.draw.text().into(), self.clock.now());
                let row = TenantRow { id: tenant.id().clone(), name, created_at: now, closed_at: None };
                same!(self, put_tenant(row)).unwrap();
                assert!(same!(self, tenant(tenant)).unwrap().is_some());
                same!(self, tenants()).unwrap().len() > 1
            }
            "change_tenant" => {
                let (name, at) = (self.draw.text(), self.draw.time_near(self.clock.now()));
                let closed_at = self.draw.maybe(at);
                let change = TenantChange { name: self.draw.maybe(name.into()), closed_at: self.draw.maybe(closed_at) };
                let changed = same!(self, change_tenant(tenant, change)).unwrap();
                changed.is_some_and(|row| row.closed_at.is_some())
            }
            "node_types" => {
                let manifests: Vec<_> = (0..self.draw.below(3)).map(|_| self.manifest()).collect();
                same!(self, put_node_types(manifests)).unwrap();
                same!(self, node_types()).unwrap().len() > 1
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    fn save(&mut self) -> SaveWorkflow {
        let (name, description) = (self.draw.text(), self.draw.text());
        let description = self.draw.maybe(description.into());
        let (is_active, graph) = (self.draw.below(2) == 0, self.draw.digest());
        SaveWorkflow {
            tenant: self.draw.tenant(),
            id: self.draw.workflow(),
            must_exist: self.draw.below(2) == 0,
            name: self.draw.maybe(name.into()),
            description: self.draw.maybe(description),
            tags: self.draw.maybe(vec!["\"a\"".into(), "b".into()]),
            is_active: self.draw.maybe(is_active),
            graph: self.draw.maybe(graph),
            base_updated_at: None,
            now: self.clock.now(),
            usage: Usage { execution_count: self.draw.below(3), last_executed_at: Some(self.clock.now()) },
            key: None,
            subject: "somebody".into(),
        }
    }

    fn api_key(&mut self) -> (Digest, ApiKeyRow) {
        let now = self.clock.now();
        let expires_at = self.draw.time_near(now);
        let row = ApiKeyRow {
            id: KeyId(self.draw.from(0..u128::MAX)),
            tenant: self.draw.tenant().id().clone(),
            subject: "somebody".into(),
            scopes: vec!["admin".into(), "workflows:read".into()],
            expires_at: self.draw.maybe(expires_at),
            created_at: now,
            revoked_at: None,
            hint: "sk-…wxyz".into(),
            last_used_at: None,
        };
        (Digest(self.draw.from(proptest::array::uniform32(0..=255u8))), row)
    }

    fn manifest(&mut self) -> ManifestRow {
        let json = self.draw.bytes();
        let id = self.draw.one_of(&["text:a", "text:b", "text:c"]).into();
        ManifestRow { id, version: self.draw.below(3) as u32, digest: Digest::of(&json), json }
    }
}
