//! Tenants.

use heddle_proto::control;

use crate::dto;
use crate::dto::time::Time;

pub(crate) fn tenant(tenant: &control::Tenant) -> dto::tenant::Tenant<'_> {
    let control::Tenant { id, name, created_at_ms, closed_at_ms } = tenant;
    dto::tenant::Tenant { id, name, created_at: Time(*created_at_ms), closed_at: closed_at_ms.map(Time) }
}
