//! The service that knows of artifacts. What a caller may see is decided by the tenant of each request.

use std::sync::Arc;

use heddle_artifacts::limits::ARTIFACT_BYTES_MAX;
use heddle_artifacts::media;
use heddle_core::id::{Slot, UploadId};
use heddle_core::value::Digest;
use heddle_proto::control::artifacts_server::Artifacts;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::failure;
use crate::artifacts::rows::UploadRow;
use crate::auth::{self, Tenant};
use crate::journal::JournalError;
use crate::limits::{UPLOAD_NAME_BYTES_MAX, UPLOADS_PAGE_MAX};
use crate::shared::Shared;

/// The service of artifacts.
pub(crate) struct ArtifactsService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Artifacts for ArtifactsService {
    async fn describe_store(
        &self,
        _: Request<wire::DescribeStoreRequest>,
    ) -> Result<Response<wire::StoreDescription>, Status> {
        let artifacts = &self.shared.artifacts;
        Ok(Response::new(wire::StoreDescription {
            address: artifacts.store.address().to_string(),
            id: artifacts.id.clone(),
            link_key: artifacts.link_key.clone(),
        }))
    }

    async fn get_artifact(
        &self,
        request: Request<wire::ArtifactRequest>,
    ) -> Result<Response<wire::ArtifactInfo>, Status> {
        let request = request.into_inner();
        let tenant = auth::tenant(&request)?;
        let digest = digest_of(&request.digest).ok_or_else(artifact_not_found)?;
        let row = self.shared.artifacts.rows.artifact(tenant, digest).await.map_err(journal)?;
        let row = row.ok_or_else(artifact_not_found)?;
        let (digest, media_type) = (row.digest.to_string(), row.media_type.to_string());
        Ok(Response::new(wire::ArtifactInfo { digest, bytes: row.bytes, media_type }))
    }

    async fn admit_upload(
        &self,
        request: Request<wire::AdmitUploadRequest>,
    ) -> Result<Response<wire::AdmittedUpload>, Status> {
        failure::if_stalled(&self.shared)?;
        let request = request.into_inner();
        let (tenant, bytes) = (auth::tenant(&request)?, request.bytes);
        let room = self.shared.artifacts.room(&tenant).await.map_err(journal)?;
        let bytes_max = room.map_err(|exceeded| failure::quota(&exceeded))?.min(ARTIFACT_BYTES_MAX);
        if bytes > bytes_max {
            let message = format!("the file has {bytes} bytes, and there is room for {bytes_max}; send less");
            return Err(failure::plain(413, "artifact_too_large", message));
        }
        let random = u128::from(self.shared.seed()) << 64 | u128::from(self.shared.seed());
        let id = UploadId::new(self.shared.clock.now(), Slot(0), random).to_string();
        Ok(Response::new(wire::AdmittedUpload { id, bytes_max }))
    }

    async fn keep_upload(&self, request: Request<wire::KeepUploadRequest>) -> Result<Response<wire::Upload>, Status> {
        failure::if_stalled(&self.shared)?;
        let request = request.into_inner();
        let tenant = auth::tenant(&request)?;
        let artifact = request.artifact.unwrap_or_default();
        let digest = digest_of(&artifact.digest).ok_or_else(artifact_not_found)?;
        let media_type = media::essence(&artifact.media_type).unwrap_or_else(|| media::UNKNOWN.to_owned());
        let upload = UploadRow {
            id: upload_id(&request.id)?,
            tenant: tenant.id().clone(),
            name: shortened(&request.name).into(),
            digest,
            bytes: artifact.bytes.min(ARTIFACT_BYTES_MAX),
            media_type: media_type.into(),
            created_at: self.shared.clock.now(),
        };
        let id = upload.id;
        self.shared.artifacts.rows.put_upload(upload).await.map_err(journal)?;
        self.find(tenant, id).await
    }

    async fn get_upload(&self, request: Request<wire::UploadRequest>) -> Result<Response<wire::Upload>, Status> {
        let request = request.into_inner();
        self.find(auth::tenant(&request)?, upload_id(&request.id)?).await
    }

    async fn list_uploads(
        &self,
        request: Request<wire::ListUploadsRequest>,
    ) -> Result<Response<wire::UploadList>, Status> {
        let request = request.into_inner();
        let tenant = auth::tenant(&request)?;
        let bad_cursor =
            |_| failure::plain(400, "bad_cursor", "the cursor is not one that a list gave; begin without it");
        let before = match request.cursor.as_str() {
            "" => None,
            text => Some(text.parse().map_err(bad_cursor)?),
        };
        let limit = (request.limit as usize).clamp(1, UPLOADS_PAGE_MAX);
        let rows = self.shared.artifacts.rows.uploads(tenant, before, limit).await.map_err(journal)?;
        let is_full = rows.len() == limit;
        let next_cursor = rows.last().filter(|_| is_full).map_or_else(String::new, |row| row.id.to_string());
        Ok(Response::new(wire::UploadList { uploads: rows.iter().map(to_wire).collect(), next_cursor }))
    }

    async fn delete_upload(
        &self,
        request: Request<wire::UploadRequest>,
    ) -> Result<Response<wire::DeletedUpload>, Status> {
        failure::if_stalled(&self.shared)?;
        let request = request.into_inner();
        let (tenant, id) = (auth::tenant(&request)?, upload_id(&request.id)?);
        let gone = self.shared.artifacts.rows.delete_upload(tenant, id).await;
        match gone.map_err(journal)? {
            true => Ok(Response::new(wire::DeletedUpload {})),
            false => Err(upload_not_found()),
        }
    }
}

impl ArtifactsService {
    async fn find(&self, tenant: Tenant, id: UploadId) -> Result<Response<wire::Upload>, Status> {
        let row = self.shared.artifacts.rows.upload(tenant, id).await.map_err(journal)?;
        row.as_ref().map(to_wire).map(Response::new).ok_or_else(upload_not_found)
    }
}

fn to_wire(row: &UploadRow) -> wire::Upload {
    let (digest, media_type) = (row.digest.to_string(), row.media_type.to_string());
    wire::Upload {
        id: row.id.to_string(),
        name: row.name.to_string(),
        artifact: Some(wire::ArtifactInfo { digest, bytes: row.bytes, media_type }),
        created_at_ms: row.created_at.as_millis(),
    }
}

/// As much of a name as is kept, without the one character that PostgreSQL has no place for.
fn shortened(name: &str) -> String {
    let end = name.floor_char_boundary(UPLOAD_NAME_BYTES_MAX);
    name[..end].replace('\0', "\u{fffd}")
}

fn digest_of(text: &str) -> Option<Digest> {
    text.parse::<heddle_artifacts::Digest>().ok().map(|digest| Digest(digest.0))
}

fn upload_id(text: &str) -> Result<UploadId, Status> {
    text.parse().map_err(|_| upload_not_found())
}

fn journal(error: JournalError) -> Status {
    failure::journal(&error)
}

fn artifact_not_found() -> Status {
    failure::plain(404, "artifact_not_found", "Artifact not found")
}

fn upload_not_found() -> Status {
    failure::plain(404, "media_not_found", "there is no such upload, or nothing was sent for it yet")
}
