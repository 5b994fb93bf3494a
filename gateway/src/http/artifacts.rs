//! Artifacts as clients get them: whole or in ranges, with a key or under a signed address.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use heddle_artifacts::link::Link;
use heddle_artifacts::{Digest, media};
use serde::Deserialize;

use super::auth::{Caller, ReadArtifacts};
use super::error::ApiError;
use super::input::{Parameters, Segment};
use crate::app::App;
use crate::artifacts::{Opened, not_found, refused};
use crate::convert::unreadable;

/// What makes an address good without a key.
#[derive(Deserialize)]
pub(crate) struct Signed {
    tenant: Option<String>,
    #[serde(rename = "type")]
    media_type: Option<String>,
    expires: Option<u64>,
    signature: Option<String>,
}

/// `GET /artifacts/{id}`: an artifact's bytes.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Segment(id): Segment,
    Parameters(signed): Parameters<Signed>,
    request: Request,
) -> Result<Response, ApiError> {
    let digest: Digest = id.parse().map_err(|_| not_found())?;
    let (mut parts, _) = request.into_parts();
    if signed.signature.is_some() {
        let opened = app.artifacts.opened(&app.coordinator).await?;
        let link = checked(opened, digest, signed)?;
        let mut response = serve(opened, &link, &parts.headers, false).await?;
        // Whoever has the address may have what it leads to, from a page of any origin.
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return Ok(response);
    }
    let caller = Caller::<ReadArtifacts>::from_request_parts(&mut parts, &app).await?;
    let artifact = app.coordinator.artifact(&caller, digest.to_string()).await?;
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let link = Link { tenant: caller.tenant(), digest, media_type: artifact.media_type, expires: 0 };
    serve(opened, &link, &parts.headers, false).await
}

/// What is to be downloaded.
#[derive(Deserialize)]
pub(crate) struct Download {
    url: Option<String>,
}

/// `GET /api/download?url=`: the same bytes, to be saved. Only for addresses that this cluster has signed.
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    Parameters(Download { url }): Parameters<Download>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let url = url.ok_or_else(|| ApiError::invalid_parameter("url", "the address of an artifact of this server"))?;
    let foreign = || {
        let message = "only addresses that this server has made can be downloaded here; open others directly";
        ApiError::new(StatusCode::FORBIDDEN, "foreign_url", message)
    };
    let url = url::Url::parse(&url).map_err(|_| foreign())?;
    let digest = url.path().strip_prefix("/api/v1/artifacts/").and_then(|id| id.parse().ok()).ok_or_else(foreign)?;
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let signed = Signed {
        tenant: value("tenant"),
        media_type: value("type"),
        expires: value("expires").and_then(|expires| expires.parse().ok()),
        signature: value("signature"),
    };
    if signed.signature.is_none() {
        return Err(foreign());
    }
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let link = checked(opened, digest, signed)?;
    serve(opened, &link, &headers, true).await
}

fn checked(opened: &Opened, digest: Digest, signed: Signed) -> Result<Link, ApiError> {
    let invalid = || {
        let message = "the signature of this address is not valid; read the run or the upload again for a new one";
        ApiError::new(StatusCode::FORBIDDEN, "invalid_signature", message)
    };
    let Signed {
        tenant: Some(tenant),
        media_type: Some(media_type),
        expires: Some(expires),
        signature: Some(signature),
    } = signed
    else {
        return Err(invalid());
    };
    let link = Link { tenant, digest, media_type, expires };
    if !opened.signer.is_signed(&link, &signature) {
        return Err(invalid());
    }
    if link.expires <= opened.now_s() {
        let message = "this address has expired; read the run or the upload again for a new one";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "link_expired", message));
    }
    Ok(link)
}

/// Part of an artifact that a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    /// Beyond its end.
    Nothing,
}

async fn serve(opened: &Opened, link: &Link, headers: &HeaderMap, saved: bool) -> Result<Response, ApiError> {
    let Link { tenant, digest, media_type, .. } = link;
    let head = opened.store.head(tenant, *digest).await.map_err(|error| refused(&error))?.ok_or_else(not_found)?;
    let tag = format!("\"{digest}\"");
    let names = |header: HeaderName| headers.get(header).and_then(|value| value.to_str().ok());
    let mut response = Response::new(Body::empty());
    let is_known = names(IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    // What the range was asked of is another file: then all of this one.
    let is_same = names(IF_RANGE).is_none_or(|condition| condition == tag);
    let asked = match names(RANGE).filter(|_| is_same) {
        Some(range) => asked(range, head.bytes),
        None => Asked::Whole,
    };
    describe(response.headers_mut(), link, &tag, saved)?;
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let range = match asked {
        Asked::Whole => None,
        Asked::Part(range) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, head.bytes);
            response.headers_mut().insert(CONTENT_RANGE, text_value(&text)?);
            Some(range)
        }
        Asked::Nothing => return nothing(head.bytes),
    };
    let length = range.as_ref().map_or(head.bytes, |range| range.end - range.start);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response.headers_mut().insert(CONTENT_TYPE, text_value(media_type)?);
    let pieces = opened.store.read(tenant, *digest, range).await.map_err(|error| refused(&error))?;
    *response.body_mut() = Body::from_stream(pieces);
    Ok(response)
}

fn describe(headers: &mut HeaderMap, link: &Link, tag: &str, saved: bool) -> Result<(), ApiError> {
    let is_shown = media::is_safe_inline(&link.media_type) && !saved;
    let extension = link.media_type.rsplit(['/', '+', '-', '.']).next().unwrap_or("bin");
    let name = format!("{}.{extension}", &link.digest.to_string()[..12]);
    let kind = if is_shown { "inline" } else { "attachment" };
    headers.insert(CONTENT_DISPOSITION, text_value(&format!("{kind}; filename=\"{name}\""))?);
    // Whatever it is, it runs nothing and loads nothing here.
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, text_value(tag)?);
    // Under one digest there are the same bytes for ever.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, immutable"));
    Ok(())
}

fn nothing(bytes: u64) -> Result<Response, ApiError> {
    use axum::response::IntoResponse as _;
    let message = format!("the range begins beyond the end of this artifact, which has {bytes} bytes");
    let mut response =
        ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", message).into_response();
    response.headers_mut().insert(CONTENT_RANGE, text_value(&format!("bytes */{bytes}"))?);
    Ok(response)
}

/// Reads a range of bytes. One that makes no sense, or several at once, count as none (RFC 9110, part 14.2).
fn asked(range: &str, bytes: u64) -> Asked {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|spec| spec.trim().split_once('-')) else {
        return Asked::Whole;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Asked::Whole,
        (Ok(first), _) if first >= bytes && (last.is_empty() || last.parse::<u64>().is_ok()) => Asked::Nothing,
        (Ok(first), Ok(last)) => Asked::Part(first..last.saturating_add(1).min(bytes)),
        (Ok(first), Err(_)) if last.is_empty() => Asked::Part(first..bytes),
        (Err(_), Ok(0)) if first.is_empty() => Asked::Nothing,
        (Err(_), Ok(_)) if first.is_empty() && bytes == 0 => Asked::Nothing,
        (Err(_), Ok(last)) if first.is_empty() => Asked::Part(bytes.saturating_sub(last)..bytes),
        _ => Asked::Whole,
    }
}

fn text_value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|_| unreadable("type of an artifact"))
}

/// What the addresses of an answer begin with.
pub(crate) struct Origin(pub(crate) String);

impl FromRequestParts<Arc<App>> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        app.hosts.origin(parts).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (range, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=2-99", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=9-9", Asked::Part(9..10)),
            ("bytes=0-18446744073709551615", Asked::Part(0..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=10-12", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=1-x", Asked::Whole),
            ("bytes=99999999999999999999-", Asked::Whole),
            ("items=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(asked(range, 10), expected, "{range}");
        }
        assert_eq!((asked("bytes=0-", 0), asked("bytes=-1", 0)), (Asked::Nothing, Asked::Nothing));
    }
}
