//! `http:download`: brings a file into the store.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{self, Request};
use super::fault::{self, Repeat};
use super::{Net, Networks};
use crate::limits::{DOWNLOAD_BYTES_MAX, HTTP_TIMEOUT_MAX};
use crate::runners::config::config;
use crate::runners::native::{as_text, output_json, refused};
use crate::runners::{Blobs, Context, Failure, Manifest, Output, Port, PortType, Runner, Work};

/// What a server says nothing of.
const UNKNOWN: &str = "application/octet-stream";

/// Brings a file into the store.
pub(in crate::runners) struct HttpDownload {
    pub(in crate::runners) net: Networks,
    pub(in crate::runners) blobs: Arc<dyn Blobs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    max_bytes: Option<usize>,
    #[serde(default)]
    expect: Vec<String>,
    credential: Option<String>,
    timeout_ms: Option<u64>,
}

impl Runner for HttpDownload {
    fn manifest(&self) -> Manifest {
        let properties = json!({
            "maxBytes": {"type": "integer", "minimum": 1, "maximum": DOWNLOAD_BYTES_MAX, "default": DOWNLOAD_BYTES_MAX},
            "expect": {"type": "array", "items": {"type": "string"}, "description": "Media types that are taken, such as image/png or image/*."},
            "credential": {"type": "string", "description": "Name of the credential that is sent along."},
            "timeoutMs": {"type": "integer", "minimum": 1, "maximum": HTTP_TIMEOUT_MAX.as_millis() as u64},
        });
        Manifest::pure("http:download", "Download", "Brings what is at an address into the store.")
            .ports([Port::new("url", PortType::Text).required()], [Port::new("file", PortType::File)])
            .config(&[], properties)
            .aliases(
                &[],
                &[("media", "file"), ("url", "file")],
                &[("max_bytes", "maxBytes"), ("expect_mime", "expect")],
            )
    }

    fn run(&self, work: Work, context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        match self.net.of(&work) {
            Ok(net) => run(net, Arc::clone(&self.blobs), work, context).boxed(),
            Err(failure) => ready(Err(failure)).boxed(),
        }
    }
}

pub(super) async fn run(net: Net, blobs: Arc<dyn Blobs>, work: Work, context: Context) -> Result<Vec<Output>, Failure> {
    let config: Config = config(&work)?;
    let url = work.input("url").first().and_then(|json| serde_json::from_slice::<Value>(json).ok());
    let missing = || refused("input_missing", "input url has no value; wire it, or set url");
    let credential = net.credential(config.credential.as_deref())?;
    let secret = credential.as_ref().map(|known| known.secret.clone());
    let request = Request {
        method: Method::GET,
        url: net.address(call::url(&as_text(url.ok_or_else(missing)?))?)?,
        headers: HeaderMap::new(),
        body: None,
        timeout: config.timeout_ms.map_or(HTTP_TIMEOUT_MAX, Duration::from_millis).min(HTTP_TIMEOUT_MAX),
        repeat: Repeat::Harmless,
        credential,
    };
    let response = net.send(request).await?;
    let (status, host) = (response.status(), call::host(response.url()));
    if !status.is_success() {
        let headers = response.headers().clone();
        return Err(fault::refused(status, &headers, None, &host, Repeat::Harmless, secret.as_ref()));
    }
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(UNKNOWN);
    let media_type = media_type.split(';').next().unwrap_or(UNKNOWN).trim().to_ascii_lowercase();
    if !config.expect.is_empty() && !config.expect.iter().any(|expected| is_of(&media_type, expected)) {
        let message = format!("{host} gives {media_type}; ask for what is expected, or expect it");
        return Err(refused("media_type_unexpected", message));
    }
    let bytes_max = config.max_bytes.unwrap_or(DOWNLOAD_BYTES_MAX).min(DOWNLOAD_BYTES_MAX);
    let bytes = call::body(response, bytes_max, Repeat::Harmless).await?;
    Ok(vec![output_json("file", blobs.put(&context, bytes, &media_type).await?)])
}

fn is_of(media_type: &str, expected: &str) -> bool {
    match expected.strip_suffix('*') {
        Some(family) => media_type.starts_with(&family.to_ascii_lowercase()),
        None => media_type.eq_ignore_ascii_case(expected),
    }
}
