//! Operations on results that runs share, whose rows commits write beside the events of their runs.

use heddle_core::id::{BatchNumber, EventSeq, PortIx, RunId, UploadId};
use heddle_core::partition::batch::{Batch, Beside, CacheRow, CommitOutcome};
use heddle_core::run::recall::CachedResult;
use heddle_core::value::{Digest, Value};

use super::super::codec::random;
use super::super::testing::commit;
use super::{Pair, same};
use crate::artifacts::rows::{ArtifactRows as _, UploadRow};
use crate::cache::CacheRows as _;

pub(super) const OPERATIONS: &[&str] = &[
    "commit with shared results",
    "cached",
    "cached of another tenant",
    "cached after its time",
    "expire_cached",
    "crowded_caches",
    "shorten_cache",
    "forget_artifacts of shared results",
];

impl Pair {
    pub(super) async fn perform_on_cache(&mut self, operation: &str) -> bool {
        let (tenant, key, now) = (self.draw.tenant(), self.draw.digest(), self.clock.now());
        let limit = 1 + self.draw.below(3) as usize;
        match operation {
            "commit with shared results" => self.commit_shared().await,
            "cached" => same!(self, cached(tenant, key, now)).unwrap().is_some_and(|found| found.outputs.len() > 1),
            "cached of another tenant" => {
                let found = same!(self, cached(tenant, key, now)).unwrap();
                found.is_none() && self.model.tables().has_cached(key)
            }
            "cached after its time" => {
                let Some(found) = same!(self, cached(tenant, key, now)).unwrap() else { return false };
                let late = found.expires_at;
                same!(self, cached(tenant, key, late)).unwrap().is_none()
            }
            "expire_cached" => {
                self.clock.advance(5_000);
                let now = self.clock.now();
                same!(self, expire_cached(now, limit)).unwrap() > 0
            }
            "crowded_caches" => {
                let rows_max = self.draw.below(4) as usize;
                !same!(self, crowded_caches(rows_max, limit)).unwrap().is_empty()
            }
            "shorten_cache" => {
                let (tenant, rows_max) = (tenant.id().clone(), self.draw.below(4) as usize);
                same!(self, shorten_cache(tenant, rows_max, now, limit)).unwrap() > 0
            }
            "forget_artifacts of shared results" => {
                // One that only a shared result needs: whoever brought it needs it no more.
                let Some((tenant, digest)) = self.model.tables().shared_artifact() else { return false };
                let (created_at, id) = (self.clock.now(), UploadId(900));
                let (name, media_type) = ("n".into(), "text/plain".into());
                let upload =
                    UploadRow { id, tenant: tenant.id().clone(), name, digest, bytes: 1, media_type, created_at };
                same!(self, put_upload(upload)).unwrap();
                same!(self, delete_upload(tenant, id)).unwrap();
                self.clock.advance(10_000);
                let now = self.clock.now();
                let gone = same!(self, forget_artifacts(now, 100)).unwrap();
                assert!(!gone.contains(&(tenant.id().clone(), digest)), "a shared result needs it");
                same!(self, artifact(tenant, digest)).unwrap().is_some()
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    async fn commit_shared(&mut self) -> bool {
        let (partition, epoch) = self.partition();
        let number = BatchNumber(self.draw.below(100));
        let mut lasts = self.runs.clone();
        let mut runs: Vec<_> = (0..=self.draw.below(2)).map(|_| self.run_batch(&mut lasts, "commit")).collect();
        for batch in &mut runs {
            batch.cached = (0..self.draw.below(3)).map(|_| self.cache_row(batch.run)).collect();
        }
        let has_rows = runs.iter().any(|run| !run.cached.is_empty());
        let batch = Batch { partition, epoch, number, runs, beside: Beside::default() };
        let model = commit(&self.model, batch.clone()).await;
        let database = commit(self.database(), batch.clone()).await;
        assert_eq!(database, model, "{batch:?}");
        let is_applied = model.outcome != CommitOutcome::Refused;
        if is_applied {
            self.runs = lasts;
        }
        is_applied && has_rows
    }

    fn cache_row(&mut self, run: RunId) -> CacheRow {
        let now = self.clock.now();
        let value = |pair: &mut Self| match pair.draw.below(3) {
            0 => Value::from_artifact(pair.draw.from(random::artifact())),
            _ => Value::from_json(format!("\"{}\"", pair.draw.text()).into()),
        };
        let count = self.draw.below(4) as u16;
        let outputs = (0..count).map(|port| (PortIx(port * 3), value(self))).collect();
        let expires_at = self.draw.time_near(now);
        CacheRow {
            tenant: self.draw.tenant().id().clone(),
            node: self.draw.text().as_str().into(),
            seq: EventSeq(self.draw.below(9)),
            result: CachedResult { key: self.draw.digest(), run, outputs, made_at: now, expires_at },
        }
    }
}

#[test]
fn what_is_shared_is_read_as_it_was_written() {
    use crate::journal::codec::{decode_cached, encode_cached};
    let outputs = vec![(PortIx(2), Value::from_json("7".into())), (PortIx(0), Value::from_json("{}".into()))];
    let bytes = encode_cached(&outputs);
    assert_eq!(decode_cached(&bytes.clone().into()), Some(outputs));
    assert_eq!(decode_cached(&bytes[1..].to_vec().into()), None);
    assert_eq!(Value::from_json("7".into()).digest(), Digest::of(b"7"));
}
