//! API keys: made, listed, replaced, revoked, within the caller's tenant.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{CreateKeyRequest, MintedKey};

use super::auth::{Administer, Caller};
use super::error::ApiError;
use super::input::{JsonBody, Segment};
use super::reply;
use crate::app::App;
use crate::convert;
use crate::dto::key::ApiKey;
use crate::limits::{CONTROL_BODY_BYTES_MAX, KEY_OVERLAP_SECONDS_DEFAULT, KEY_OVERLAP_SECONDS_MAX};

pub(super) type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

/// `GET /keys`: a bare array of all keys, the youngest first, without their texts.
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller<Administer>) -> Result<Response, ApiError> {
    let list = app.coordinator.keys(&caller).await?;
    let keys: Vec<ApiKey<'_>> = list.keys.iter().map(|key| convert::key::key(key, None)).collect();
    reply::bare(StatusCode::OK, &keys)
}

/// `POST /keys`: a new key; its text is in this answer only.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller<Administer>,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let NewKey { subject, scopes, expires_at_ms } = NewKey::read(&body)?;
    let request = CreateKeyRequest { subject, scopes, expires_at_ms, ..CreateKeyRequest::default() };
    shown_once(&app.coordinator.create_key(&caller, request).await?)
}

/// `POST /keys/{id}/rotate`: a new key like this one, which works on for `overlapSeconds`.
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller<Administer>,
    Segment(id): Segment,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["overlapSeconds"])?;
    let overlap_seconds = fields.count("overlapSeconds")?.unwrap_or(KEY_OVERLAP_SECONDS_DEFAULT);
    if overlap_seconds > KEY_OVERLAP_SECONDS_MAX {
        let expected = format!("a number of seconds up to {KEY_OVERLAP_SECONDS_MAX}");
        return Err(ApiError::invalid_field("overlapSeconds", &expected));
    }
    shown_once(&app.coordinator.rotate_key(&caller, id, overlap_seconds * 1_000).await?)
}

/// `DELETE /keys/{id}`: the key stops working within a second.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller<Administer>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let key = app.coordinator.revoke_key(&caller, id).await?;
    reply::bare(StatusCode::OK, &convert::key::key(&key, None))
}

/// What a body asks for that makes a key.
pub(super) struct NewKey {
    pub(super) subject: String,
    pub(super) scopes: Vec<String>,
    pub(super) expires_at_ms: Option<i64>,
}

impl NewKey {
    pub(super) fn read(body: &ControlBody) -> Result<Self, ApiError> {
        let fields = body.fields()?;
        fields.refuse_unknown(&["subject", "scopes", "expiresAt"])?;
        Ok(Self {
            subject: fields.text("subject")?.unwrap_or_default(),
            scopes: fields.texts("scopes")?.unwrap_or_default(),
            expires_at_ms: fields.instant("expiresAt")?,
        })
    }
}

/// The answer with a key's text, which no cache may keep.
pub(super) fn shown_once(minted: &MintedKey) -> Result<Response, ApiError> {
    let key = minted.key.as_ref().ok_or_else(|| convert::unreadable("row of a new key"))?;
    let response = reply::bare(StatusCode::CREATED, &convert::key::key(key, Some(&minted.text)))?;
    Ok(reply::never_stored(response))
}
