//! Whose data a request may touch. A [`Tenant`] is the proof that readers and writers of rows ask for; nothing but this
//! file makes one: of a call that a gateway has authenticated, of a key, of a run that the engine itself holds, or of an
//! object in the artifact store.

use heddle_artifacts::{Digest, Listed};
use heddle_core::batch::BatchCreated;
use heddle_core::id::TenantId;
use heddle_core::partition::batch::RunCreated;
use heddle_core::partition::io::Question;
use heddle_proto::control as wire;
use tonic::Status;

use crate::alerts::AlertRow;
use crate::records::{ApiKeyRow, WorkflowRow};
use crate::rpc::failure;

/// The tenant of the first key, whose keys may operate the cluster.
pub(crate) const FIRST_TENANT: &str = "default";

/// Proof that whoever holds it may touch this tenant's data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(TenantId);

impl Tenant {
    /// Which tenant.
    pub fn id(&self) -> &TenantId {
        &self.0
    }

    /// As the databases keep it.
    pub(crate) fn text(&self) -> &str {
        &self.0.0
    }

    /// For the engine, which works for its runs' own tenants.
    pub(crate) fn of_run(created: &RunCreated) -> Self {
        Self(created.tenant.clone())
    }

    /// For the engine, which works for its batches' own tenants.
    pub(crate) fn of_batch(created: &BatchCreated) -> Self {
        Self(created.tenant.clone())
    }

    /// For the engine, which looks for what its runs' own tenants share among their runs.
    pub(crate) fn of_question(question: &Question) -> Self {
        Self(question.tenant.clone())
    }

    /// For a note on the key itself.
    pub(crate) fn of_key(row: &ApiKeyRow) -> Self {
        Self(row.tenant.clone())
    }

    /// For a rule that watches over runs of its own tenant.
    pub(crate) fn of_alert(row: &AlertRow) -> Self {
        Self(row.tenant.clone())
    }

    /// For what belongs to a workflow that was found under its tenant.
    pub(crate) fn of_workflow(row: &WorkflowRow) -> Self {
        Self(row.tenant.clone())
    }

    /// For collection, which asks whether somebody still needs what lies in the store. `None`: it is no artifact.
    pub(crate) fn of_object(listed: &Listed) -> Option<(Self, Digest)> {
        listed.artifact.as_ref().map(|(tenant, digest)| (Self(tenant.as_str().into()), *digest))
    }

    /// For the first key of a new database.
    pub(crate) fn first() -> Self {
        Self(FIRST_TENANT.into())
    }

    /// For tests, which are their own callers.
    #[cfg(test)]
    pub(crate) fn of_test(id: impl Into<TenantId>) -> Self {
        Self(id.into())
    }
}

/// A call that names the tenant of its caller's key, as [`wire::Principal`] said it.
pub(crate) trait Authenticated {
    /// The tenant's name in the call.
    fn named(&self) -> &str;
}

macro_rules! authenticated {
    ($($request:ident: $field:ident),* $(,)?) => {
        $(impl Authenticated for wire::$request {
            fn named(&self) -> &str {
                &self.$field
            }
        })*
    };
}

authenticated! {
    SaveWorkflowRequest: tenant, WorkflowRequest: tenant, ListWorkflowsRequest: tenant, LintRequest: tenant,
    SubmitRequest: tenant, GetRunRequest: tenant, GetNodeRequest: tenant, ListRunsRequest: tenant,
    ReadEventsRequest: tenant, CancelRunRequest: tenant, BatchRequest: tenant, CancelBatchRequest: tenant, TraceRequest: tenant,
    ExplainRequest: tenant,
    FollowNodeRequest: tenant,
    ResumeRequest: tenant, LineageRequest: tenant, ListNodeTypesRequest: tenant, ListAgentsRequest: tenant,
    CreateKeyRequest: tenant, ListKeysRequest: tenant, RotateKeyRequest: tenant, RevokeKeyRequest: tenant,
    ArtifactRequest: tenant, AdmitUploadRequest: tenant, KeepUploadRequest: tenant, UploadRequest: tenant,
    ListUploadsRequest: tenant, ListReviewsRequest: tenant, ReviewRequest: tenant, DecideReviewRequest: tenant,
    ListVersionsRequest: tenant, VersionRequest: tenant, RestoreVersionRequest: tenant, CompareVersionsRequest: tenant,
    PatchNodeRequest: tenant, DuplicateWorkflowRequest: tenant, LayOutRequest: tenant,
    StatsRequest: tenant, ListAlertsRequest: tenant, AlertRequest: tenant, CreateAlertRequest: tenant,
    ReplaceAlertRequest: tenant, ListIncidentsRequest: tenant,
    ExportRequest: tenant,
    CreateTenantRequest: operator, ListTenantsRequest: operator, TenantRequest: operator,
    UpdateTenantRequest: operator, CreateTenantKeyRequest: operator,
    CreateJoinTokenRequest: operator, ListJoinTokensRequest: operator, RevokeJoinTokenRequest: operator,
    SendSignalRequest: tenant,
    DrainAgentRequest: operator, PauseRunRequest: tenant, PauseNodeTypeRequest: operator,
}

/// Whose data this call may touch.
///
/// # Errors
/// The call names nobody: its gateway is broken.
pub(crate) fn tenant(call: &impl Authenticated) -> Result<Tenant, Status> {
    match call.named() {
        "" => Err(failure::plain(401, "unauthenticated", "this call names no tenant; update the gateway")),
        named => Ok(Tenant(named.into())),
    }
}

/// Proof that its caller operates the cluster: may see and change what belongs to no tenant, and make keys for any.
pub(crate) struct Operator(());

/// Whether this call comes from an operator.
///
/// # Errors
/// Its key is of another tenant than the first: whatever scopes it has, it operates nothing.
pub(crate) fn operator(call: &impl Authenticated) -> Result<Operator, Status> {
    match tenant(call)?.text() {
        FIRST_TENANT => Ok(Operator(())),
        _ => {
            Err(failure::plain(403, "missing_scope", "Forbidden: only keys of the tenant default operate the cluster"))
        }
    }
}

impl Operator {
    /// Stands in for the administrators of a tenant.
    pub(crate) fn on_behalf_of(&self, tenant: &str) -> Tenant {
        Tenant(tenant.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tenant: &str) -> wire::ListAgentsRequest {
        wire::ListAgentsRequest { tenant: tenant.into() }
    }

    #[test]
    fn a_call_touches_what_its_tenant_has() {
        assert_eq!(tenant(&call("acme")).unwrap().text(), "acme");
        assert!(tenant(&call("")).is_err(), "nobody is not everybody");
    }

    #[test]
    fn only_the_first_tenant_operates() {
        assert!(operator(&call(FIRST_TENANT)).is_ok());
        for other in ["acme", "Default", ""] {
            assert!(operator(&call(other)).is_err(), "{other:?}");
        }
    }
}
