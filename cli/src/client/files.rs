//! Files: up as inputs, down as outputs.

use std::path::Path;

use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Response, Url};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::io::ReaderStream;

use super::Client;
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::TRANSFER_WAIT_MAX;

/// The members of a value that stands for a file.
const MEDIA: [&str; 4] = ["url", "mediaType", "bytes", "digest"];

impl Client {
    /// Sends a file, as it is read. Returns the value that stands for it in inputs.
    pub async fn upload(&self, path: &Path, media_type: &str) -> Result<Value> {
        #[derive(Deserialize)]
        struct Uploaded {
            data: Map<String, Value>,
        }
        let cannot = || format!("cannot read {}", path.display());
        let file = tokio::fs::File::open(path).await.context(Exit::Usage, cannot())?;
        let bytes = file.metadata().await.context(Exit::Usage, cannot())?.len();
        let name = path.file_name().map_or_else(|| "file".into(), |name| name.to_string_lossy().into_owned());
        let part = Part::stream_with_length(Body::wrap_stream(ReaderStream::new(file)), bytes).file_name(name);
        let part = part.mime_str(media_type).context(Exit::Failed, format_args!("{media_type} is no media type"))?;
        let request = self.request(Method::POST, "/media/upload").timeout(TRANSFER_WAIT_MAX);
        let uploaded: Uploaded = self.json(request.multipart(Form::new().part("file", part))).await?;
        let mut fields = uploaded.data;
        if fields.get("url").is_none_or(|url| !url.is_string()) {
            return Err(Failure::failed(format!("{} took {} and named no url for it", self.origin(), path.display())));
        }
        fields.retain(|name, _| MEDIA.contains(&name.as_str()));
        Ok(Value::Object(fields))
    }

    /// The bytes behind a URL of this server: a path, or its own address. `None` for what lies elsewhere: the key stays
    /// with its server.
    pub async fn download(&self, url: &str) -> Result<Option<Response>> {
        let base = Url::parse(&self.origin).context(Exit::Usage, format_args!("{} is no address", self.origin))?;
        let Some(url) = base.join(url).ok().filter(|url| url.origin() == base.origin()) else { return Ok(None) };
        let request = self.authorised(self.http.get(url).timeout(TRANSFER_WAIT_MAX));
        self.accept(request.send().await).await.map(Some)
    }
}
