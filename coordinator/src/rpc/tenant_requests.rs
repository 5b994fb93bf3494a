//! Tenants: made, listed, renamed, closed, and given keys, by operators of the cluster.

use std::sync::Arc;

use heddle_core::time::Timestamp;
use heddle_proto::control as wire;
use tonic::Status;

use super::failure;
use super::key_requests::{self, Wanted};
use crate::auth::{self, FIRST_TENANT, Tenant};
use crate::keys::Keys;
use crate::limits::{TENANT_ID_LENGTH_MAX, TENANT_NAME_BYTES_MAX, TENANTS_MAX};
use crate::records::{TenantChange, TenantRow};
use crate::shared::Shared;

pub(super) async fn create(shared: &Arc<Shared>, request: wire::CreateTenantRequest) -> Result<wire::Tenant, Status> {
    let operator = auth::operator(&request)?;
    failure::if_stalled(shared)?;
    if !is_id(&request.id) {
        return Err(invalid(format!(
            "id: a tenant's id has at most {TENANT_ID_LENGTH_MAX} lower-case letters, digits and hyphens, and begins with \
             a letter"
        )));
    }
    let name = if request.name.trim().is_empty() { request.id.clone() } else { name(&request.name)? };
    let known = shared.records.tenants().await.map_err(|error| failure::journal(&error))?;
    if known.len() >= TENANTS_MAX {
        return Err(failure::plain(409, "too_many_tenants", format!("a cluster has at most {TENANTS_MAX} tenants")));
    }
    let id = operator.on_behalf_of(&request.id).id().clone();
    let row = TenantRow { id, name: name.into(), created_at: shared.clock.now(), closed_at: None };
    match shared.records.put_tenant(row.clone()).await.map_err(|error| failure::journal(&error))? {
        true => Ok(to_wire(&row)),
        false => Err(failure::plain(409, "tenant_exists", "there is a tenant with this id; choose another one")),
    }
}

pub(super) async fn list(shared: &Arc<Shared>, request: wire::ListTenantsRequest) -> Result<wire::TenantList, Status> {
    auth::operator(&request)?;
    let rows = shared.records.tenants().await.map_err(|error| failure::journal(&error))?;
    Ok(wire::TenantList { tenants: rows.iter().map(to_wire).collect() })
}

pub(super) async fn get(shared: &Arc<Shared>, request: wire::TenantRequest) -> Result<wire::Tenant, Status> {
    let tenant = auth::operator(&request)?.on_behalf_of(&request.id);
    found(shared, &tenant).await.map(|row| to_wire(&row))
}

pub(super) async fn update(shared: &Arc<Shared>, request: wire::UpdateTenantRequest) -> Result<wire::Tenant, Status> {
    let tenant = auth::operator(&request)?.on_behalf_of(&request.id);
    failure::if_stalled(shared)?;
    if tenant.text() == FIRST_TENANT && request.closed == Some(true) {
        let message = "the operators' own tenant cannot be closed: nobody could open it again";
        return Err(failure::plain(409, "first_tenant", message));
    }
    let change = TenantChange {
        name: request.name.as_deref().map(name).transpose()?.map(Arc::from),
        closed_at: request.closed.map(|closed| closed.then(|| shared.clock.now())),
    };
    let row = shared.records.change_tenant(tenant, change).await.map_err(|error| failure::journal(&error))?;
    row.as_ref().map(to_wire).ok_or_else(failure::tenant_not_found)
}

/// A key of a tenant that need not have any: its first one comes from here.
pub(super) async fn create_key(
    shared: &Arc<Shared>,
    keys: &Keys,
    request: wire::CreateTenantKeyRequest,
) -> Result<wire::MintedKey, Status> {
    let tenant = auth::operator(&request)?.on_behalf_of(&request.id);
    found(shared, &tenant).await?;
    let wire::CreateTenantKeyRequest { subject, scopes, expires_at_ms, .. } = &request;
    let wanted = Wanted { subject, scopes, expires_at_ms: *expires_at_ms, operates: true };
    key_requests::create_in(shared, keys, &tenant, wanted).await
}

pub(super) async fn list_keys(shared: &Arc<Shared>, request: wire::TenantRequest) -> Result<wire::KeyList, Status> {
    let tenant = auth::operator(&request)?.on_behalf_of(&request.id);
    found(shared, &tenant).await?;
    key_requests::list_in(shared, &tenant).await
}

async fn found(shared: &Shared, tenant: &Tenant) -> Result<TenantRow, Status> {
    let row = shared.records.tenant(tenant.clone()).await.map_err(|error| failure::journal(&error))?;
    row.ok_or_else(failure::tenant_not_found)
}

fn is_id(text: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    text.len() <= TENANT_ID_LENGTH_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(is_letter)
}

fn name(text: &str) -> Result<String, Status> {
    let text = text.trim();
    if text.is_empty() || text.len() > TENANT_NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(invalid(format!("name: a tenant's name is a line of at most {TENANT_NAME_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

fn invalid(message: String) -> Status {
    failure::plain(400, "invalid_tenant_request", message)
}

fn to_wire(row: &TenantRow) -> wire::Tenant {
    wire::Tenant {
        id: row.id.to_string(),
        name: row.name.to_string(),
        created_at_ms: row.created_at.as_millis(),
        closed_at_ms: row.closed_at.map(Timestamp::as_millis),
    }
}
