//! Files that people bring: sent in a form, fetched from an address, or put under an address made for them.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use heddle_address_guard::GuardError;
use heddle_artifacts::limits::ARTIFACT_BYTES_MAX;
use heddle_artifacts::link::are_equal;
use heddle_artifacts::{Digest, media as kinds};
use heddle_proto::control::{ArtifactInfo, KeepUploadRequest, Upload};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::artifacts::Origin;
use super::auth::{Caller, ReadWorkflows, WriteWorkflows};
use super::error::ApiError;
use super::input::{JsonBody, Parameters, Segment};
use super::pace::Paced;
use super::query::limit;
use super::reply;
use crate::app::App;
use crate::artifacts::{Linker, UploadOwner, refused};
use crate::convert::unreadable;
use crate::dto::media::{Address, Media, MediaPage};
use crate::dto::time::Time;
use crate::limits::{
    CONTROL_BODY_BYTES_MAX, MEDIA_BYTES_MAX, MEDIA_LIMIT_DEFAULT, MEDIA_LIMIT_MAX, MULTIPART_SPARE_BYTES,
    UPLOAD_LINK_SECONDS, UPLOAD_TIME_MAX,
};

type ControlBody = JsonBody<CONTROL_BODY_BYTES_MAX>;
type Pieces<'a> = BoxStream<'a, Result<Bytes, ApiError>>;

/// A file on its way in.
struct Incoming<'a> {
    id: String,
    name: String,
    declared: Option<String>,
    bytes_max: u64,
    pieces: Pieces<'a>,
}

/// `POST /media/upload`: a file in the field `file` of a form, or the address of one as `{"url"}`.
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Origin(origin): Origin,
    request: Request,
) -> Result<Response, ApiError> {
    let _place = app.artifacts.place()?;
    let admitted = app.coordinator.admit_upload(&caller, 0).await?;
    let (id, bytes_max) = (admitted.id, admitted.bytes_max.min(MEDIA_BYTES_MAX));
    let owner = UploadOwner::of(&caller);
    let upload = match multer::parse_boundary(content_type(request.headers()).unwrap_or_default()) {
        Ok(boundary) => {
            let form = in_a_form(&app, &owner, request, boundary, (id, bytes_max));
            timeout(UPLOAD_TIME_MAX, form).await.map_err(|_| too_late())??
        }
        Err(_) => {
            let body = ControlBody::from_request(request, &app).await?;
            let fields = body.fields()?;
            fields.refuse_unknown(&["url", "filename"])?;
            let url = fields.text("url")?.ok_or_else(|| ApiError::missing_fields("url"))?;
            let name = fields.text("filename")?;
            fetched(&app, &owner, &url, name, (id, bytes_max)).await?
        }
    };
    shown(&app, &caller.tenant(), &origin, StatusCode::CREATED, &upload).await
}

async fn in_a_form(
    app: &App,
    owner: &UploadOwner,
    request: Request,
    boundary: String,
    (id, bytes_max): (String, u64),
) -> Result<Upload, ApiError> {
    let declared = content_length(request.headers());
    if declared.is_some_and(|bytes| bytes > bytes_max + MULTIPART_SPARE_BYTES) {
        return Err(ApiError::too_large(bytes_max as usize));
    }
    let mut form = multer::Multipart::new(paced(request.into_body()), boundary);
    while let Some(field) = form.next_field().await.map_err(broken_form)? {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().unwrap_or("file").to_owned();
        let declared = field.content_type().map(|kind| kind.essence_str().to_owned());
        let pieces = field.map_err(broken_form).boxed();
        return take(app, owner, Incoming { id, name, declared, bytes_max, pieces }).await;
    }
    Err(ApiError::missing_fields("file (a field of the form, with the file in it)"))
}

async fn fetched(
    app: &App,
    owner: &UploadOwner,
    url: &str,
    name: Option<String>,
    (id, bytes_max): (String, u64),
) -> Result<Upload, ApiError> {
    let fetched = app.guard.get(url).await.map_err(|error| unfetched(&error))?;
    if fetched.length.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::too_large(bytes_max as usize));
    }
    let last = fetched.url.path_segments().and_then(|mut parts| parts.next_back()).filter(|part| !part.is_empty());
    let name = name.or_else(|| last.map(str::to_owned)).unwrap_or_else(|| "file".to_owned());
    let pieces = fetched.pieces.map_err(|error| unfetched(&error)).boxed();
    take(app, owner, Incoming { id, name, declared: fetched.content_type, bytes_max, pieces }).await
}

/// Brings a file into the store, then says so to the coordinator.
async fn take(app: &App, owner: &UploadOwner, incoming: Incoming<'_>) -> Result<Upload, ApiError> {
    let Incoming { id, name, declared, bytes_max, pieces } = incoming;
    let stored = timeout(UPLOAD_TIME_MAX, store(app, owner, declared.as_deref(), bytes_max, pieces)).await;
    let artifact = stored.map_err(|_| too_late())??;
    let request = KeepUploadRequest { id, name, artifact: Some(artifact), ..KeepUploadRequest::default() };
    app.coordinator.keep_upload(owner, request).await
}

fn too_late() -> ApiError {
    let message = format!("the file did not arrive within {} s", UPLOAD_TIME_MAX.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

async fn store(
    app: &App,
    owner: &UploadOwner,
    declared: Option<&str>,
    bytes_max: u64,
    mut pieces: Pieces<'_>,
) -> Result<ArtifactInfo, ApiError> {
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let writer = opened.store.writer(&owner.tenant()).map_err(|error| refused(&error))?;
    let mut writer = writer.with_limit(bytes_max);
    let mut first: Vec<u8> = Vec::new();
    let taken = async {
        while let Some(piece) = pieces.try_next().await? {
            let room = kinds::SNIFF_BYTES.saturating_sub(first.len());
            first.extend_from_slice(&piece[..room.min(piece.len())]);
            if room > 0 && first.len() >= kinds::SNIFF_BYTES {
                // Told as soon as it can be, not after the whole file.
                settled(declared, &first)?;
            }
            writer.write(piece).await.map_err(|error| match error {
                heddle_artifacts::StoreError::TooLarge => ApiError::too_large(bytes_max as usize),
                error => refused(&error),
            })?;
        }
        settled(declared, &first)
    };
    match taken.await {
        Ok(media_type) => {
            let (digest, bytes) = writer.finish().await.map_err(|error| refused(&error))?;
            Ok(ArtifactInfo { digest: digest.to_string(), bytes, media_type })
        }
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

fn settled(declared: Option<&str>, first: &[u8]) -> Result<String, ApiError> {
    kinds::settle(declared, first).map_err(|mismatch| {
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type_mismatch", mismatch.to_string())
    })
}

/// What an address for one file holds to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ticket {
    tenant: String,
    bytes: u64,
    #[serde(rename = "type")]
    media_type: String,
    name: String,
    expires: u64,
    signature: String,
}

impl Ticket {
    fn text(&self, id: &str) -> [String; 7] {
        let (bytes, expires) = (self.bytes.to_string(), self.expires.to_string());
        let (tenant, media_type, name) = (self.tenant.clone(), self.media_type.clone(), self.name.clone());
        ["upload".into(), id.to_owned(), tenant, bytes, media_type, name, expires]
    }
}

/// `POST /media/upload-url`: an address that takes one file, without a key.
pub(crate) async fn upload_url(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Origin(origin): Origin,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["bytes", "filename", "contentType"])?;
    let bytes = fields.count("bytes")?.ok_or_else(|| ApiError::missing_fields("bytes"))?;
    let name = fields.text("filename")?.ok_or_else(|| ApiError::missing_fields("filename"))?;
    if bytes > ARTIFACT_BYTES_MAX {
        return Err(ApiError::invalid_field("bytes", "at most 2147483648"));
    }
    let declared = fields.text("contentType")?;
    let media_type = match &declared {
        None => kinds::UNKNOWN.to_owned(),
        Some(text) => {
            let essence = kinds::essence(text);
            essence.ok_or_else(|| ApiError::invalid_field("contentType", "a media type, such as video/mp4"))?
        }
    };
    let admitted = app.coordinator.admit_upload(&caller, bytes).await?;
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let expires = opened.now_s() + UPLOAD_LINK_SECONDS;
    let (tenant, signature, sent) = (caller.tenant(), String::new(), media_type.clone());
    let mut ticket = Ticket { tenant, bytes, media_type, name, expires, signature };
    let text = ticket.text(&admitted.id);
    ticket.signature = opened.signer.text(&text.each_ref().map(String::as_str));
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("tenant", &ticket.tenant)
        .append_pair("bytes", &ticket.bytes.to_string())
        .append_pair("type", &ticket.media_type)
        .append_pair("name", &ticket.name)
        .append_pair("expires", &ticket.expires.to_string())
        .append_pair("signature", &ticket.signature)
        .finish();
    let address = Address {
        upload_url: format!("{origin}/api/v1/media/uploads/{}?{query}", admitted.id),
        method: "PUT",
        media_id: &admitted.id,
        headers: [("Content-Type", sent.as_str())].into(),
    };
    reply::enveloped(StatusCode::OK, &address)
}

/// `PUT /media/uploads/{id}`: takes the file that an address was made for.
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    Parameters(ticket): Parameters<Ticket>,
    request: Request,
) -> Result<Response, ApiError> {
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let text = ticket.text(&id);
    let expected = opened.signer.text(&text.each_ref().map(String::as_str));
    if !are_equal(expected.as_bytes(), ticket.signature.as_bytes()) {
        let message = "the signature of this address is not valid; ask POST /api/v1/media/upload-url for a new one";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "invalid_signature", message));
    }
    if ticket.expires <= opened.now_s() {
        let message = "this address has expired; ask POST /api/v1/media/upload-url for a new one";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "link_expired", message));
    }
    let wrong_length = || {
        let message = format!("this address takes a file of {} bytes; send exactly that one", ticket.bytes);
        ApiError::bad_request("length_mismatch", message)
    };
    if content_length(request.headers()).is_some_and(|length| length != ticket.bytes) {
        return Err(wrong_length());
    }
    let _place = app.artifacts.place()?;
    let mut left = ticket.bytes;
    let pieces = paced(request.into_body());
    // A file that ends early must not be taken for the whole one.
    let counted = async_count(pieces, &mut left);
    let declared = Some(ticket.media_type.clone());
    let (name, bytes_max) = (ticket.name.clone(), ticket.bytes);
    let incoming = Incoming { id, name, declared, bytes_max, pieces: counted };
    let owner = UploadOwner::signed(ticket.tenant.clone());
    let taken = take(&app, &owner, incoming).await;
    match taken {
        Err(error) if error.code == "body_too_large" || error.code == "length_mismatch" => Err(wrong_length()),
        Err(error) => Err(error),
        Ok(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::OK;
            Ok(response)
        }
    }
}

/// The same pieces; their end is an error unless they are as many bytes as were announced.
fn async_count<'a>(pieces: Pieces<'static>, left: &'a mut u64) -> Pieces<'a> {
    futures::stream::try_unfold((pieces, left), |(mut pieces, left)| async move {
        match pieces.try_next().await? {
            Some(piece) => {
                *left = left.saturating_sub(piece.len() as u64);
                Ok(Some((piece, (pieces, left))))
            }
            None if *left > 0 => Err(ApiError::bad_request("length_mismatch", "the file ended early")),
            None => Ok(None),
        }
    })
    .boxed()
}

/// `POST /media/upload-url/complete`: the file that was put, as it can be used now.
pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Origin(origin): Origin,
    body: ControlBody,
) -> Result<Response, ApiError> {
    let fields = body.fields()?;
    fields.refuse_unknown(&["mediaId", "filename"])?;
    fields.text("filename")?;
    let id = fields.text("mediaId")?.ok_or_else(|| ApiError::missing_fields("mediaId"))?;
    let upload = app.coordinator.upload(&caller, id).await?;
    shown(&app, &caller.tenant(), &origin, StatusCode::OK, &upload).await
}

/// Which page of the list.
#[derive(Deserialize)]
pub(crate) struct ListParameters {
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /media`: the files, the youngest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<ReadWorkflows>,
    Origin(origin): Origin,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Response, ApiError> {
    let limit = limit("limit", parameters.limit.as_deref(), MEDIA_LIMIT_DEFAULT, MEDIA_LIMIT_MAX)?;
    let list = app.coordinator.uploads(&caller, limit, parameters.cursor.unwrap_or_default()).await?;
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let linker = opened.linker(caller.tenant(), &origin);
    let data = list.uploads.iter().map(|upload| media(&linker, upload)).collect::<Result<Vec<_>, _>>()?;
    let next_cursor = Some(list.next_cursor.as_str()).filter(|cursor| !cursor.is_empty());
    reply::bare(StatusCode::OK, &MediaPage { data, next_cursor })
}

/// `DELETE /media/{id}`: takes a file off the list. Runs that use it keep it.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller<WriteWorkflows>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    app.coordinator.delete_upload(&caller, id).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

async fn shown(
    app: &App,
    tenant: &str,
    origin: &str,
    status: StatusCode,
    upload: &Upload,
) -> Result<Response, ApiError> {
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let linker = opened.linker(tenant.to_owned(), origin);
    reply::enveloped(status, &media(&linker, upload)?)
}

fn media<'a>(linker: &Linker<'_>, upload: &'a Upload) -> Result<Media<'a>, ApiError> {
    let artifact = upload.artifact.as_ref().ok_or_else(|| unreadable("artifact of an upload"))?;
    let digest: Digest = artifact.digest.parse().map_err(|_| unreadable("digest of an upload"))?;
    Ok(Media {
        id: &upload.id,
        media_id: &upload.id,
        name: &upload.name,
        url: linker.url(digest, &artifact.media_type),
        media_type: &artifact.media_type,
        bytes: artifact.bytes,
        digest: &artifact.digest,
        created_at: Time(upload.created_at_ms),
    })
}

/// The pieces of a body, at the pace that a body must have.
fn paced(body: Body) -> Pieces<'static> {
    let pieces = futures::stream::try_unfold(Paced::new(body), |mut pieces| async move {
        Ok(pieces.next().await?.map(|piece| (piece, pieces)))
    });
    pieces.boxed()
}

fn broken_form(error: multer::Error) -> ApiError {
    if let multer::Error::StreamReadFailed(source) = &error
        && let Some(error) = source.downcast_ref::<ApiError>()
    {
        return error.clone();
    }
    ApiError::bad_request("invalid_form", format!("the body is no form that can be read: {error}"))
}

fn unfetched(error: &GuardError) -> ApiError {
    let bad = |code, error: &GuardError| ApiError::bad_request(code, error.to_string());
    match error {
        GuardError::Url { .. } => bad("url_invalid", error),
        GuardError::Denied => bad("url_denied", error),
        GuardError::Redirects | GuardError::Status { .. } | GuardError::Unreachable(_) => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "fetch_failed", error.to_string())
        }
        GuardError::Client(_) => ApiError::internal(),
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}
