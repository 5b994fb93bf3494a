//! Operations on rows about artifacts, beside those that commits write.

use bytes::Bytes;
use heddle_core::id::UploadId;
use heddle_core::value::Digest;

use super::super::codec::random;
use super::{Pair, same};
use crate::artifacts::rows::{ArtifactRows as _, UploadRow};

pub(super) const OPERATIONS: &[&str] = &[
    "artifact",
    "touch_artifact",
    "artifact_bytes",
    "upload",
    "uploads",
    "delete_upload",
    "forget_artifacts",
    "agree",
];

impl Pair {
    pub(super) async fn perform_on_artifacts(&mut self, operation: &str) -> bool {
        let (tenant, digest) = (self.draw.tenant(), self.draw.digest());
        let id = UploadId(self.draw.below(8).into());
        match operation {
            "artifact" => same!(self, artifact(tenant, digest)).unwrap().is_some(),
            "touch_artifact" => {
                let now = self.draw.time_near(self.clock.now());
                same!(self, touch_artifact(tenant, digest, now)).unwrap().is_some()
            }
            "artifact_bytes" => same!(self, artifact_bytes(tenant)).unwrap() > 0,
            "upload" => {
                let (artifact, name) = (self.draw.from(random::artifact()), self.draw.text());
                let upload = UploadRow {
                    id,
                    tenant: tenant.id().clone(),
                    name: name.into(),
                    digest: artifact.digest,
                    bytes: artifact.bytes,
                    media_type: artifact.media_type,
                    created_at: self.clock.now(),
                };
                same!(self, put_upload(upload)).unwrap();
                same!(self, upload(tenant, id)).unwrap().is_some()
            }
            "uploads" => {
                let before = self.draw.maybe(id);
                let limit = self.draw.below(6) as usize;
                same!(self, uploads(tenant, before, limit)).unwrap().len() > 1
            }
            "delete_upload" => same!(self, delete_upload(tenant, id)).unwrap(),
            "forget_artifacts" => {
                // One that nobody needs any more, beside those that runs need.
                let digest = Digest([100 + self.draw.below(9) as u8; 32]);
                let (created_at, id) = (self.clock.now(), UploadId(u128::from(100 + self.draw.below(3))));
                let (name, media_type) = ("n".into(), "text/plain".into());
                let whose = tenant.id().clone();
                let upload = UploadRow { id, tenant: whose, name, digest, bytes: 1, media_type, created_at };
                same!(self, put_upload(upload)).unwrap();
                same!(self, delete_upload(tenant, id)).unwrap();
                self.clock.advance(10);
                let before = self.draw.time_near(self.clock.now());
                let limit = self.draw.below(3) as usize;
                !same!(self, forget_artifacts(before, limit)).unwrap().is_empty()
            }
            "agree" => {
                let name = self.draw.one_of(&["one", "two"]);
                let proposed: Bytes = self.draw.bytes();
                same!(self, agree(name, proposed)).unwrap() != proposed
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }
}
