//! API keys: made, listed, replaced, revoked. A key acts within its tenant, and so do the requests about it.

use std::sync::Arc;

use heddle_core::id::KeyId;
use heddle_core::time::{Span, Timestamp};
use heddle_proto::control as wire;
use tonic::Status;

use super::failure;
use crate::auth::{self, FIRST_TENANT, Tenant};
use crate::keys::{ADMIN, Keys, KeysError, OPERATE, SCOPES, new_row};
use crate::limits::{KEY_SUBJECT_BYTES_MAX, KEYS_PER_TENANT_MAX};
use crate::records::{ApiKeyRow, KeyEnd};
use crate::shared::Shared;

/// A key that somebody asks for.
pub(super) struct Wanted<'a> {
    pub(super) subject: &'a str,
    pub(super) scopes: &'a [String],
    pub(super) expires_at_ms: Option<i64>,
    /// Whether the asker's key has the scope `operate`, and may give it on.
    pub(super) operates: bool,
}

pub(super) async fn create(
    shared: &Arc<Shared>,
    keys: &Keys,
    request: wire::CreateKeyRequest,
) -> Result<wire::MintedKey, Status> {
    let tenant = auth::tenant(&request)?;
    let wire::CreateKeyRequest { subject, scopes, expires_at_ms, operates, .. } = &request;
    let wanted = Wanted { subject, scopes, expires_at_ms: *expires_at_ms, operates: *operates };
    create_in(shared, keys, &tenant, wanted).await
}

/// Makes a key of this tenant.
pub(super) async fn create_in(
    shared: &Arc<Shared>,
    keys: &Keys,
    tenant: &Tenant,
    wanted: Wanted<'_>,
) -> Result<wire::MintedKey, Status> {
    failure::if_stalled(shared)?;
    let (now, expires_at) = (shared.clock.now(), wanted.expires_at_ms.map(Timestamp::from_millis));
    let subject = wanted.subject.trim();
    if subject.is_empty() || subject.len() > KEY_SUBJECT_BYTES_MAX {
        return Err(invalid(format!("subject says who will hold the key, in at most {KEY_SUBJECT_BYTES_MAX} bytes")));
    }
    if expires_at.is_some_and(|at| at <= now) {
        return Err(invalid("expiresAt: this instant is over already".to_owned()));
    }
    let scopes = scopes(tenant, &wanted)?;
    room(shared, tenant).await?;
    minted(keys, new_row(tenant, subject.into(), scopes, expires_at, now)).await
}

fn scopes(tenant: &Tenant, wanted: &Wanted<'_>) -> Result<Vec<Arc<str>>, Status> {
    if let Some(unknown) = wanted.scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        return Err(invalid(format!("scopes: {unknown:?} is no scope; there are {}", SCOPES.join(", "))));
    }
    if wanted.scopes.is_empty() {
        return Err(invalid(format!("scopes: a key needs at least one of {}", SCOPES.join(", "))));
    }
    if wanted.scopes.iter().any(|scope| scope == OPERATE) {
        if tenant.text() != FIRST_TENANT {
            return Err(invalid(format!("scopes: {OPERATE} is for keys of the tenant {FIRST_TENANT} only")));
        }
        if !wanted.operates {
            return Err(not_an_operator());
        }
    }
    let mut scopes: Vec<Arc<str>> = wanted.scopes.iter().map(|scope| scope.as_str().into()).collect();
    scopes.sort();
    scopes.dedup();
    Ok(scopes)
}

pub(super) async fn list(shared: &Arc<Shared>, request: wire::ListKeysRequest) -> Result<wire::KeyList, Status> {
    list_in(shared, &auth::tenant(&request)?).await
}

/// All keys of this tenant.
pub(super) async fn list_in(shared: &Shared, tenant: &Tenant) -> Result<wire::KeyList, Status> {
    let rows = all(shared, tenant).await?;
    Ok(wire::KeyList { keys: rows.iter().map(to_wire).collect() })
}

/// A new key like the old one, which works on for a while so that its holders can change over.
pub(super) async fn rotate(
    shared: &Arc<Shared>,
    keys: &Keys,
    request: wire::RotateKeyRequest,
) -> Result<wire::MintedKey, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let (id, now) = (key_id(&request.id)?, shared.clock.now());
    let old = all(shared, &tenant).await?.into_iter().find(|row| row.id == id).ok_or_else(not_found)?;
    if has(&old, OPERATE) && !request.operates {
        return Err(not_an_operator());
    }
    if !works(&old, now) {
        return Err(failure::plain(409, "key_ended", "this key has ended; create a new one"));
    }
    room(shared, &tenant).await?;
    let new = minted(keys, new_row(&tenant, old.subject, old.scopes, old.expires_at, now)).await?;
    let end = KeyEnd::Expires(now.plus(Span::from_millis(request.overlap_ms)));
    shared.records.end_api_key(tenant, id, end).await.map_err(|error| failure::journal(&error))?;
    Ok(new)
}

pub(super) async fn revoke(shared: &Arc<Shared>, request: wire::RevokeKeyRequest) -> Result<wire::ApiKey, Status> {
    failure::if_stalled(shared)?;
    let tenant = auth::tenant(&request)?;
    let (id, now) = (key_id(&request.id)?, shared.clock.now());
    let rows = all(shared, &tenant).await?;
    let row = rows.iter().find(|row| row.id == id).ok_or_else(not_found)?;
    if has(row, OPERATE) && !request.operates {
        return Err(not_an_operator());
    }
    for scope in [ADMIN, OPERATE] {
        let others = rows.iter().filter(|other| other.id != id && works(other, now) && has(other, scope));
        if works(row, now) && has(row, scope) && others.count() == 0 {
            let message = format!("this is the last key with the scope {scope}; create another one with it first");
            return Err(failure::plain(409, "last_admin_key", message));
        }
    }
    let ended = shared.records.end_api_key(tenant, id, KeyEnd::Revoked(now)).await;
    ended.map_err(|error| failure::journal(&error))?.as_ref().map(to_wire).ok_or_else(not_found)
}

fn works(row: &ApiKeyRow, now: Timestamp) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|at| at > now)
}

fn has(row: &ApiKeyRow, scope: &str) -> bool {
    row.scopes.iter().any(|has| &**has == scope)
}

async fn all(shared: &Shared, tenant: &Tenant) -> Result<Vec<ApiKeyRow>, Status> {
    shared.records.api_keys(tenant.clone()).await.map_err(|error| failure::journal(&error))
}

async fn room(shared: &Shared, tenant: &Tenant) -> Result<(), Status> {
    let now = shared.clock.now();
    let working = all(shared, tenant).await?.iter().filter(|row| works(row, now)).count();
    if working < KEYS_PER_TENANT_MAX {
        return Ok(());
    }
    let message = format!("a tenant has at most {KEYS_PER_TENANT_MAX} keys that work; revoke those that nobody needs");
    Err(failure::plain(409, "too_many_keys", message))
}

async fn minted(keys: &Keys, row: ApiKeyRow) -> Result<wire::MintedKey, Status> {
    match keys.create(row).await {
        Ok(Some((text, row))) => Ok(wire::MintedKey { text, key: Some(to_wire(&row)) }),
        Ok(None) => Err(failure::tenant_not_found()),
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

/// Who does not operate the cluster makes, replaces and ends no key that does.
fn not_an_operator() -> Status {
    failure::plain(403, "missing_scope", format!("Forbidden: this needs a key with the scope {OPERATE}"))
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
        hint: row.hint.to_string(),
        last_used_at_ms: row.last_used_at.map(Timestamp::as_millis),
    }
}
