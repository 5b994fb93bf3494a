//! Who calls, and whether they may. A handler gets its [`Caller`] from here or not at all, and the coordinator's client
//! takes nothing else: a route without authentication and a scope does not compile.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use heddle_proto::control::Principal;
use heddle_proto::key::{self, KeyKind};
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::app::App;
use crate::limits::{KEY_CACHE_ENTRIES_MAX, KEY_CACHE_TIME_MAX};

/// What a route asks of a key: any one of these scopes.
pub(crate) trait Scope: Send + Sync + 'static {
    const ACCEPTED: &'static [&'static str];
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $accepted:expr;)*) => {
        $($(#[$doc])* pub(crate) enum $name {}
        impl Scope for $name {
            const ACCEPTED: &'static [&'static str] = &$accepted;
        })*
    };
}

scopes! {
    ReadWorkflows = ["workflows:read"];
    WriteWorkflows = ["workflows:write"];
    Execute = ["workflows:execute"];
    DescribeInputs = ["workflows:execute", "workflows:read"];
    /// Clients are told to create keys without `executions:read`, and poll with them.
    ReadExecutions = ["executions:read", "workflows:read", "workflows:execute"];
    /// Whoever may see a run may see its files.
    ReadArtifacts = ["executions:read", "workflows:read", "workflows:execute"];
    /// Whoever may see a run may see what it asks.
    ReadReviews = ["executions:read", "workflows:read", "workflows:execute", "reviews:decide"];
    DecideReviews = ["reviews:decide"];
    /// Of its own tenant.
    Administer = ["admin"];
    /// Of the cluster: what belongs to no tenant, and tenants themselves.
    Operate = ["operate"];
}

/// A caller whose key is known and has the scope that the route asks for.
pub(crate) struct Caller<S> {
    principal: Arc<Principal>,
    kind: KeyKind,
    scope: PhantomData<S>,
}

impl<S> Clone for Caller<S> {
    fn clone(&self) -> Self {
        Self { principal: Arc::clone(&self.principal), kind: self.kind, scope: PhantomData }
    }
}

impl<S: Scope> Caller<S> {
    /// Whose data this request may touch.
    pub(crate) fn tenant(&self) -> String {
        self.principal.tenant.clone()
    }

    /// Whom the key stands for.
    pub(crate) fn subject(&self) -> String {
        self.principal.subject.clone()
    }

    /// Whether the key operates the cluster, whatever this route asks for.
    pub(crate) fn operates(&self) -> bool {
        self.principal.scopes.iter().any(|scope| Operate::ACCEPTED.contains(&scope.as_str()))
    }

    /// Whether the key may decide reviews of runs that its subject has started.
    pub(crate) fn decides_own(&self) -> bool {
        self.principal.scopes.iter().any(|scope| scope == "reviews:decide:own")
    }

    /// Whether the key may change workflows, whatever this route asks for.
    pub(crate) fn writes_workflows(&self) -> bool {
        self.principal.scopes.iter().any(|scope| WriteWorkflows::ACCEPTED.contains(&scope.as_str()))
    }

    /// Whether provider nodes run against the sandbox.
    pub(crate) fn is_sandboxed(&self) -> bool {
        self.kind == KeyKind::Test
    }
}

impl<S: Scope> FromRequestParts<Arc<App>> for Caller<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let (key, kind) = presented_key(&parts.headers)?;
        app.watch.refuse_mismatch()?;
        let principal = app.keys.principal(key, app).await?;
        let is_allowed = principal.scopes.iter().any(|scope| S::ACCEPTED.contains(&scope.as_str()));
        if !is_allowed {
            let wanted = S::ACCEPTED.join(" or ");
            let message = format!("Forbidden: this key lacks the scope {wanted}; create a key that has it");
            return Err(ApiError::new(StatusCode::FORBIDDEN, "missing_scope", message));
        }
        Ok(Self { principal, kind, scope: PhantomData })
    }
}

fn presented_key(headers: &HeaderMap) -> Result<(&str, KeyKind), ApiError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let header =
        given.next().ok_or_else(|| ApiError::unauthorized("missing_authorization", "Missing Authorization header"))?;
    // Whoever stands between us and the client may have looked at the other one.
    if given.next().is_some() {
        let message = "this request has several Authorization headers; send one";
        return Err(ApiError::unauthorized("ambiguous_authorization", message));
    }
    let malformed = || ApiError::unauthorized("invalid_key_format", "Invalid API key format. Expected: Bearer sk-...");
    let (scheme, key) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(malformed());
    }
    key::check(key).map(|kind| (key, kind)).map_err(|_| malformed())
}

/// Answers of the coordinator about keys, each believed for at most [`KEY_CACHE_TIME_MAX`].
#[derive(Default)]
pub(crate) struct KeyCache {
    /// By SHA-256 of the key: no key stays in memory.
    entries: Mutex<HashMap<[u8; 32], Entry>>,
}

struct Entry {
    principal: Arc<Principal>,
    /// From here on one caller asks again, while the others still believe the answer.
    stale_at: Instant,
    expires_at: Instant,
    is_being_renewed: bool,
}

enum Known {
    Fresh(Arc<Principal>),
    /// Still good, and this caller is the one to ask again.
    Stale(Arc<Principal>),
    Unknown,
}

impl KeyCache {
    async fn principal(&self, key: &str, app: &App) -> Result<Arc<Principal>, ApiError> {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let fallback = match self.look_up(&digest, Instant::now()) {
            Known::Fresh(principal) => return Ok(principal),
            Known::Stale(principal) => Some(principal),
            Known::Unknown => None,
        };
        // Belief counts from before the question: a key revoked while the answer travels is not believed longer.
        let asked_at = Instant::now();
        match (app.coordinator.authenticate(key).await, fallback) {
            (Ok(principal), _) => Ok(self.remember(digest, principal, asked_at)),
            (Err(error), Some(principal)) if error.status.is_server_error() => Ok(principal),
            (Err(error), _) => {
                self.entries().remove(&digest);
                Err(documented(error))
            }
        }
    }

    fn look_up(&self, digest: &[u8; 32], now: Instant) -> Known {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(digest).filter(|entry| now < entry.expires_at) else {
            return Known::Unknown;
        };
        if now < entry.stale_at || entry.is_being_renewed {
            return Known::Fresh(entry.principal.clone());
        }
        entry.is_being_renewed = true;
        Known::Stale(entry.principal.clone())
    }

    fn remember(&self, digest: [u8; 32], principal: Principal, asked_at: Instant) -> Arc<Principal> {
        let believed = Duration::from_millis(u64::from(principal.cache_ms)).min(KEY_CACHE_TIME_MAX);
        let principal = Arc::new(principal);
        let mut entries = self.entries();
        if entries.len() >= KEY_CACHE_ENTRIES_MAX {
            entries.retain(|_, entry| asked_at < entry.expires_at);
            if entries.len() >= KEY_CACHE_ENTRIES_MAX {
                entries.clear();
            }
        }
        let entry = Entry {
            principal: principal.clone(),
            stale_at: asked_at + believed / 2,
            expires_at: asked_at + believed,
            is_being_renewed: false,
        };
        entries.insert(digest, entry);
        principal
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Entry>> {
        // A cache is as good after a panic as before it.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words that the documented API has for a refused key.
fn documented(error: ApiError) -> ApiError {
    match (error.status, &*error.code) {
        (StatusCode::UNAUTHORIZED, "api_key_expired") => {
            ApiError::unauthorized("api_key_expired", "API key has expired")
        }
        (StatusCode::UNAUTHORIZED, _) => ApiError::unauthorized("invalid_api_key", "Invalid API key"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_for_a_second_at_most() {
        let cache = KeyCache::default();
        let asked_at = Instant::now();
        cache.remember([1; 32], Principal { cache_ms: 60_000, ..Principal::default() }, asked_at);
        let at = |ms| cache.look_up(&[1; 32], asked_at + Duration::from_millis(ms));
        assert!(matches!(at(499), Known::Fresh(_)));
        // One caller asks again; the others go on.
        assert!(matches!(at(500), Known::Stale(_)));
        assert!(matches!(at(501), Known::Fresh(_)));
        assert!(matches!(at(1_000), Known::Unknown));
        assert!(matches!(cache.look_up(&[2; 32], asked_at), Known::Unknown));
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = KeyCache::default();
        let asked_at = Instant::now();
        for number in 0..(KEY_CACHE_ENTRIES_MAX as u64 + 10) {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            cache.remember(digest, Principal { cache_ms: 1_000, ..Principal::default() }, asked_at);
        }
        assert!(cache.entries().len() <= KEY_CACHE_ENTRIES_MAX);
    }
}
