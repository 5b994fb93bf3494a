//! API keys.

use heddle_proto::control;

use crate::dto::key::ApiKey;
use crate::dto::time::Time;

/// A key, with its text if it was just made.
pub(crate) fn key<'a>(key: &'a control::ApiKey, text: Option<&'a str>) -> ApiKey<'a> {
    ApiKey {
        id: &key.id,
        key: text,
        hint: &key.hint,
        subject: &key.subject,
        scopes: &key.scopes,
        created_at: Time(key.created_at_ms),
        expires_at: key.expires_at_ms.map(Time),
        revoked_at: key.revoked_at_ms.map(Time),
        last_used_at: key.last_used_at_ms.map(Time),
    }
}
