//! The gateway's way to the artifact store, and the addresses under which clients get artifacts.
//!
//! Where the store is and the key that signs addresses come from the coordinator, once; bytes go between the client, this
//! process and the store.

use std::sync::Arc;

use bytes::Bytes;
use heddle_artifacts::limits::LINK_SECONDS_DEFAULT;
use heddle_artifacts::link::{Link, Signer};
use heddle_artifacts::{Digest, Store, StoreError, Traffic};
use heddle_error_chain::chain;
use heddle_proto::control::{PlacedArtifact, PortValue, Run};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use axum::http::StatusCode;

use crate::client::Coordinator;
use crate::clock::ClusterClock;
use crate::http::auth::{Caller, WriteWorkflows};
use crate::http::error::ApiError;
use crate::limits::UPLOADS_MAX;

/// Addresses made within the same hour are the same, so that what lies under them can be cached.
const ROUND_SECONDS: u64 = 3_600;

/// The store, once it is known.
pub(crate) struct Artifacts {
    opened: OnceCell<Opened>,
    uploads: Semaphore,
    /// What has gone between this gateway and the store.
    pub(crate) traffic: Arc<Traffic>,
}

impl Default for Artifacts {
    fn default() -> Self {
        Self { opened: OnceCell::new(), uploads: Semaphore::new(UPLOADS_MAX), traffic: Arc::default() }
    }
}

/// The store, and what signs addresses.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) signer: Signer,
    clock: Arc<ClusterClock>,
}

impl Opened {
    /// Makes addresses for a tenant, that begin with this origin.
    pub(crate) fn linker<'a>(&'a self, tenant: String, origin: &'a str) -> Linker<'a> {
        Linker { signer: &self.signer, now_s: self.now_s(), tenant, origin }
    }

    /// The time by which addresses end, in seconds since 1970.
    pub(crate) fn now_s(&self) -> u64 {
        self.clock.second()
    }
}

/// Whose upload it is: said by a key, or by an address that was signed for one with a key.
pub(crate) struct UploadOwner(String);

impl UploadOwner {
    pub(crate) fn of(caller: &Caller<WriteWorkflows>) -> Self {
        Self(caller.tenant())
    }

    /// The tenant that a signature holds to. The caller has checked the signature.
    pub(crate) fn signed(tenant: String) -> Self {
        Self(tenant)
    }

    pub(crate) fn tenant(&self) -> String {
        self.0.clone()
    }
}

impl Artifacts {
    /// The store. Asked for until it is there; then known for good.
    pub(crate) async fn opened(&self, coordinator: &Coordinator) -> Result<&Opened, ApiError> {
        let open = || async {
            let description = coordinator.store().await?;
            let store = Store::open(&description.address).map_err(|error| refused(&error))?;
            store.check(&description.id).await.map_err(|error| refused(&error))?;
            let store = store.counted(Arc::clone(&self.traffic));
            let signer = Signer::new(&description.link_key).ok_or_else(ApiError::internal)?;
            if !coordinator.clock.is_known() {
                // What it cannot tell now it tells within a second.
                let _status = coordinator.look().await;
            }
            Ok(Opened { store, signer, clock: Arc::clone(&coordinator.clock) })
        };
        self.opened.get_or_try_init(open).await
    }

    /// A place for one more file on its way in.
    pub(crate) fn place(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.uploads.try_acquire().map_err(|_| {
            let message = "too many files are on their way in; send this one again in a moment";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_uploads", message).retry_after(1)
        })
    }
}

/// What the store's refusal is to a client.
pub(crate) fn refused(error: &StoreError) -> ApiError {
    match error {
        StoreError::NotFound { .. } => not_found(),
        StoreError::TooLarge => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error.code(), error.to_string()),
        _ => {
            tracing::error!(error = chain(&error), "the artifact store did not do what a request needs");
            let message = "the artifact store cannot be used now; the server's log says why";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), message).retry_after(5)
        }
    }
}

pub(crate) fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "artifact_not_found", "Artifact not found")
}

/// Makes addresses for one caller.
pub(crate) struct Linker<'a> {
    signer: &'a Signer,
    /// In seconds since 1970.
    now_s: u64,
    tenant: String,
    /// `http://host:port`, as the caller reached this gateway.
    origin: &'a str,
}

impl Linker<'_> {
    /// An address that is good for a day, without a key.
    pub(crate) fn url(&self, digest: Digest, media_type: &str) -> String {
        let expires = (self.now_s / ROUND_SECONDS + 1) * ROUND_SECONDS + LINK_SECONDS_DEFAULT;
        let (tenant, media_type) = (self.tenant.clone(), media_type.to_owned());
        address(self.origin, self.signer, &Link { tenant, digest, media_type, expires })
    }

    /// Puts addresses into everything that a run shows.
    pub(crate) fn link(&self, run: &mut Run) {
        run.nodes.iter_mut().for_each(|node| self.link_values(&mut node.outputs));
    }

    /// The same for values.
    pub(crate) fn link_values(&self, values: &mut [PortValue]) {
        for output in values {
            if let Some(value_json) = self.linked(output) {
                output.value_json = value_json;
            }
        }
    }

    fn linked(&self, output: &PortValue) -> Option<Bytes> {
        let described = |artifact: &PlacedArtifact| {
            let digest = artifact.digest.parse().ok()?;
            let url = self.url(digest, &artifact.media_type);
            let (bytes, media_type) = (artifact.bytes, &artifact.media_type);
            Some(json!({ "url": url, "mediaType": media_type, "bytes": bytes, "digest": artifact.digest }).to_string())
        };
        let first = output.artifacts.first()?;
        if output.value_json.first() != Some(&b'[') {
            return described(first).map(Bytes::from);
        }
        let items: Vec<&RawValue> = serde_json::from_slice(&output.value_json).ok()?;
        let mut items: Vec<String> = items.into_iter().map(|item| item.get().to_owned()).collect();
        for artifact in &output.artifacts {
            *items.get_mut(artifact.place as usize)? = described(artifact)?;
        }
        Some(format!("[{}]", items.join(",")).into())
    }
}

/// The address of an artifact, signed.
pub(crate) fn address(origin: &str, signer: &Signer, link: &Link) -> String {
    let Link { tenant, digest, media_type, expires } = link;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("tenant", tenant)
        .append_pair("type", media_type)
        .append_pair("expires", &expires.to_string())
        .append_pair("signature", &signer.sign(link))
        .finish();
    format!("{origin}/api/v1/artifacts/{digest}?{query}")
}

/// Whether anything that a run shows lies in the store.
pub(crate) fn has_artifacts(run: &Run) -> bool {
    run.nodes.iter().flat_map(|node| &node.outputs).any(|output| !output.artifacts.is_empty())
}

#[cfg(test)]
mod tests {
    use heddle_artifacts::link::KEY_BYTES;
    use heddle_proto::control::Node;

    use super::*;

    #[test]
    fn outputs_get_addresses_in_their_places() {
        let signer = Signer::new(&[1; KEY_BYTES]).unwrap();
        let linker = Linker { signer: &signer, now_s: 0, tenant: "default".into(), origin: "http://h" };
        let digest = Digest::of(b"x").to_string();
        let placed = |place| PlacedArtifact { place, digest: digest.clone(), bytes: 7, media_type: "image/png".into() };
        let output = |json: &'static str, artifacts| PortValue {
            port: "out".into(),
            value_json: Bytes::from_static(json.as_bytes()),
            artifacts,
        };
        let outputs =
            vec![output("{}", vec![placed(0)]), output("[1,{},3]", vec![placed(1)]), output("[2.50]", Vec::new())];
        let mut run = Run { nodes: vec![Node { outputs, ..Node::default() }], ..Run::default() };
        assert!(has_artifacts(&run));
        linker.link(&mut run);
        let json = |place: usize| -> serde_json::Value {
            serde_json::from_slice(&run.nodes[0].outputs[place].value_json).unwrap()
        };
        let (one, list) = (json(0), json(1));
        assert_eq!((&one["bytes"], &one["digest"]), (&json!(7), &json!(digest)));
        assert!(
            one["url"].as_str().unwrap().starts_with(&format!("http://h/api/v1/artifacts/{digest}?tenant=default&"))
        );
        assert_eq!((&list[0], &list[1], &list[2]), (&json!(1), &one, &json!(3)));
        assert_eq!(run.nodes[0].outputs[2].value_json, "[2.50]");
    }
}
