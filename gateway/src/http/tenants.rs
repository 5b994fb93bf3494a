//! Tenants, for operators of the cluster: made, listed, renamed, closed, and given keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{CreateTenantKeyRequest, UpdateTenantRequest};

use super::auth::{Caller, Operate};
use super::error::ApiError;
use super::input::{JsonBody, Segment};
use super::{keys, reply};
use crate::app::App;
use crate::convert;
use crate::dto::key::ApiKey;
use crate::dto::tenant::Tenant;
use crate::limits::CONTROL_BODY_BYTES_MAX;

type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;

/// `GET /tenants`: a bare array of all tenants, by their ids.
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller<Operate>) -> Result<Response, ApiError> {
    let list = app.coordinator.tenants(&caller).await?;
    let tenants: Vec<Tenant<'_>> = list.tenants.iter().map(convert::tenant::tenant).collect();
    reply::bare(StatusCode::OK, &tenants)
}

/// `POST /tenants`: a new tenant, without a key.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["id", "name"])?;
    let (id, name) = (fields.text("id")?.unwrap_or_default(), fields.text("name")?.unwrap_or_default());
    let made = app.coordinator.create_tenant(&caller, id, name).await?;
    let response = reply::bare(StatusCode::CREATED, &convert::tenant::tenant(&made))?;
    reply::located(response, &format!("/api/v1/tenants/{}", made.id))
}

/// `GET /tenants/{id}`.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let tenant = app.coordinator.tenant(&caller, id).await?;
    reply::bare(StatusCode::OK, &convert::tenant::tenant(&tenant))
}

/// `PATCH /tenants/{id}`: another name, or closed: then its keys do not work, and what it has stays.
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(id): Segment,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["name", "closed"])?;
    let (name, closed) = (fields.text("name")?, fields.flag("closed")?);
    let request = UpdateTenantRequest { id, name, closed, ..UpdateTenantRequest::default() };
    let tenant = app.coordinator.update_tenant(&caller, request).await?;
    reply::bare(StatusCode::OK, &convert::tenant::tenant(&tenant))
}

/// `GET /tenants/{id}/keys`: all keys of a tenant, the youngest first, without their texts.
pub(crate) async fn keys(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let list = app.coordinator.tenant_keys(&caller, id).await?;
    let keys: Vec<ApiKey<'_>> = list.keys.iter().map(|key| convert::key::key(key, None)).collect();
    reply::bare(StatusCode::OK, &keys)
}

/// `POST /tenants/{id}/keys`: a new key of a tenant, such as its first; its text is in this answer only.
pub(crate) async fn create_key(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Segment(id): Segment,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let keys::NewKey { subject, scopes, expires_at_ms } = keys::NewKey::read(&body)?;
    let request = CreateTenantKeyRequest { id, subject, scopes, expires_at_ms, ..CreateTenantKeyRequest::default() };
    keys::shown_once(&app.coordinator.create_tenant_key(&caller, request).await?)
}
