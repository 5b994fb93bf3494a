//! API keys: made, listed, replaced, revoked. A key acts within its tenant, and so do the requests about it.

use std::sync::Arc;

use heddle_core::id::{KeyId, TenantId};
use heddle_core::time::{Span, Timestamp};
use heddle_proto::control as wire;
use tonic::Status;

use super::failure;
use crate::keys::{Keys, KeysError, SCOPES, new_row};
use crate::limits::{KEY_SUBJECT_BYTES_MAX, KEYS_PER_TENANT_MAX};
use crate::records::{ApiKeyRow, KeyEnd};
use crate::shared::Shared;

const ADMIN: &str = "admin";

pub(super) async fn create(
    shared: &Arc<Shared>,
    keys: &Keys,
    request: wire::CreateKeyRequest,
) -> Result<wire::MintedKey, Status> {
    failure::if_stalled(shared)?;
    let tenant = TenantId::from(request.tenant.as_str());
    let (now, expires_at) = (shared.clock.now(), request.expires_at_ms.map(Timestamp::from_millis));
    let subject = request.subject.trim();
    if subject.is_empty() || subject.len() > KEY_SUBJECT_BYTES_MAX {
        return Err(invalid(format!("subject says who will hold the key, in at most {KEY_SUBJECT_BYTES_MAX} bytes")));
    }
    if let Some(unknown) = request.scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        return Err(invalid(format!("scopes: {unknown:?} is no scope; there are {}", SCOPES.join(", "))));
    }
    if request.scopes.is_empty() {
        return Err(invalid(format!("scopes: a key needs at least one of {}", SCOPES.join(", "))));
    }
    if expires_at.is_some_and(|at| at <= now) {
        return Err(invalid("expiresAt: this instant is over already".to_owned()));
    }
    let mut scopes: Vec<Arc<str>> = request.scopes.iter().map(|scope| scope.as_str().into()).collect();
    scopes.sort();
    scopes.dedup();
    room(shared, &tenant).await?;
    minted(keys, new_row(tenant, subject.into(), scopes, expires_at, now)).await
}

pub(super) async fn list(shared: &Arc<Shared>, request: wire::ListKeysRequest) -> Result<wire::KeyList, Status> {
    let rows = all(shared, &request.tenant.as_str().into()).await?;
    Ok(wire::KeyList { keys: rows.iter().map(to_wire).collect() })
}

/// A new key like the old one, which works on for a while so that its holders can change over.
pub(super) async fn rotate(
    shared: &Arc<Shared>,
    keys: &Keys,
    request: wire::RotateKeyRequest,
) -> Result<wire::MintedKey, Status> {
    failure::if_stalled(shared)?;
    let tenant = TenantId::from(request.tenant.as_str());
    let (id, now) = (key_id(&request.id)?, shared.clock.now());
    let old = all(shared, &tenant).await?.into_iter().find(|row| row.id == id).ok_or_else(not_found)?;
    if !works(&old, now) {
        return Err(failure::plain(409, "key_ended", "this key has ended; create a new one"));
    }
    room(shared, &tenant).await?;
    let new = minted(keys, new_row(tenant.clone(), old.subject, old.scopes, old.expires_at, now)).await?;
    let end = KeyEnd::Expires(now.plus(Span::from_millis(request.overlap_ms)));
    shared.records.end_api_key(tenant, id, end).await.map_err(|error| failure::journal(&error))?;
    Ok(new)
}

pub(super) async fn revoke(shared: &Arc<Shared>, request: wire::RevokeKeyRequest) -> Result<wire::ApiKey, Status> {
    failure::if_stalled(shared)?;
    let tenant = TenantId::from(request.tenant.as_str());
    let (id, now) = (key_id(&request.id)?, shared.clock.now());
    let rows = all(shared, &tenant).await?;
    if !rows.iter().any(|row| row.id == id) {
        return Err(not_found());
    }
    let can_administer = |row: &&ApiKeyRow| works(row, now) && row.scopes.iter().any(|scope| &**scope == ADMIN);
    if !rows.iter().filter(can_administer).any(|row| row.id != id) {
        let message = "this is the last key that can make others; create another one with the scope admin first";
        return Err(failure::plain(409, "last_admin_key", message));
    }
    let ended = shared.records.end_api_key(tenant, id, KeyEnd::Revoked(now)).await;
    ended.map_err(|error| failure::journal(&error))?.as_ref().map(to_wire).ok_or_else(not_found)
}

fn works(row: &ApiKeyRow, now: Timestamp) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|at| at > now)
}

async fn all(shared: &Shared, tenant: &TenantId) -> Result<Vec<ApiKeyRow>, Status> {
    shared.records.api_keys(tenant.clone()).await.map_err(|error| failure::journal(&error))
}

async fn room(shared: &Shared, tenant: &TenantId) -> Result<(), Status> {
    let now = shared.clock.now();
    let working = all(shared, tenant).await?.iter().filter(|row| works(row, now)).count();
    if working < KEYS_PER_TENANT_MAX {
        return Ok(());
    }
    let message = format!("a tenant has at most {KEYS_PER_TENANT_MAX} keys that work; revoke those that nobody needs");
    Err(failure::plain(409, "too_many_keys", message))
}

async fn minted(keys: &Keys, row: ApiKeyRow) -> Result<wire::MintedKey, Status> {
    let key = Some(to_wire(&row));
    match keys.create(row).await {
        Ok(text) => Ok(wire::MintedKey { text, key }),
        Err(KeysError::Journal(error)) => Err(failure::journal(&error)),
        Err(error) => {
            tracing::error!(%error, "no key could be made");
            Err(failure::busy("no_randomness", "the system gives no random bytes now; try again"))
        }
    }
}

fn key_id(text: &str) -> Result<KeyId, Status> {
    text.parse().map_err(|_| not_found())
}

fn not_found() -> Status {
    failure::plain(404, "key_not_found", "API key not found")
}

fn invalid(message: String) -> Status {
    failure::plain(400, "invalid_key_request", message)
}

fn to_wire(row: &ApiKeyRow) -> wire::ApiKey {
    wire::ApiKey {
        id: row.id.to_string(),
        subject: row.subject.to_string(),
        scopes: row.scopes.iter().map(ToString::to_string).collect(),
        created_at_ms: row.created_at.as_millis(),
        expires_at_ms: row.expires_at.map(Timestamp::as_millis),
        revoked_at_ms: row.revoked_at.map(Timestamp::as_millis),
    }
}
