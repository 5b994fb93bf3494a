//! Node types over pictures: functions of bytes, with a store on either side.

mod composite;
mod grid;
mod info;
mod label;
mod pixels;
mod resize;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::call::{Call, output, refused};
use super::{Answer, on_a_thread_with};
use crate::limits::{IMAGE_BYTES_MAX, IMAGES_AT_ONCE_MAX, IMAGES_BYTES_MAX, IMAGES_MAX};
use crate::runners::{Context, Failure, Manifest, Runner, Work};

/// Where pictures and other files are kept.
pub trait Blobs: Send + Sync + 'static {
    /// The bytes that a reference stands for, at most `bytes_max` of them.
    fn get(&self, reference: Reference, bytes_max: usize) -> BoxFuture<'_, Result<Bytes, Failure>>;

    /// Keeps bytes for the node that is being run.
    fn put(&self, work: &Work, bytes: Bytes, media_type: &str) -> BoxFuture<'_, Result<Reference, Failure>>;
}

/// What stands for a file in a value (graph.md, part 1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// How many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What else is known of it, such as its width.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A node type over pictures.
pub(in crate::runners) struct ImageNode {
    manifest: fn() -> Manifest,
    /// The ports that pictures come in at.
    ports: &'static [&'static str],
    function: fn(&Pictures) -> Result<Made, Failure>,
    blobs: Arc<dyn Blobs>,
}

/// All of them.
pub(in crate::runners) fn all(blobs: &Arc<dyn Blobs>) -> [ImageNode; 4] {
    let node = |manifest, ports, function| ImageNode { manifest, ports, function, blobs: Arc::clone(blobs) };
    [
        node(resize::manifest, &["image"], resize::run),
        node(composite::manifest, &["base", "overlay"], composite::run),
        node(grid::manifest, &["images"], grid::run),
        node(info::manifest, &["image"], info::run),
    ]
}

/// One call, and the bytes of its pictures.
struct Pictures {
    call: Call,
    bytes: Vec<(&'static str, Vec<Bytes>)>,
}

impl Pictures {
    fn at(&self, port: &str) -> &[Bytes] {
        self.bytes.iter().find(|(name, _)| *name == port).map_or(&[], |(_, bytes)| bytes)
    }

    /// The picture that the port must have.
    fn needed(&self, port: &str) -> Result<&Bytes, Failure> {
        let missing = || refused("input_missing", format!("input {port} has no picture; wire it"));
        self.at(port).first().ok_or_else(missing)
    }
}

/// What a function makes of pictures.
#[derive(Debug)]
enum Made {
    Picture(pixels::Encoded),
    Json(Value),
}

impl Runner for ImageNode {
    fn manifest(&self) -> Manifest {
        (self.manifest)()
    }

    fn run(&self, work: Work, _context: Context) -> BoxFuture<'static, Answer> {
        run(work, self.ports, self.function, Arc::clone(&self.blobs)).boxed()
    }
}

/// Pictures that are worked on at once in this process: each may take a hundred megabytes.
static AT_ONCE: Semaphore = Semaphore::const_new(IMAGES_AT_ONCE_MAX);

async fn run(
    work: Work,
    ports: &'static [&'static str],
    function: fn(&Pictures) -> Result<Made, Failure>,
    blobs: Arc<dyn Blobs>,
) -> Answer {
    // The semaphore is never closed.
    let _turn = AT_ONCE.acquire().await.ok();
    let bytes = fetched(&work, ports, &*blobs).await?;
    let made = on_a_thread_with(work.clone(), move |call| function(&Pictures { call, bytes })).await?;
    match made {
        Made::Json(json) => Ok(vec![output("json", json)]),
        Made::Picture(picture) => {
            let mut reference = blobs.put(&work, picture.bytes, picture.media_type).await?;
            reference.other.insert("width".to_owned(), picture.width.into());
            reference.other.insert("height".to_owned(), picture.height.into());
            Ok(vec![output("image", serde_json::to_value(reference).unwrap_or_default())])
        }
    }
}

async fn fetched(
    work: &Work,
    ports: &'static [&'static str],
    blobs: &dyn Blobs,
) -> Result<Vec<(&'static str, Vec<Bytes>)>, Failure> {
    let (mut count, mut left) = (0, IMAGES_BYTES_MAX);
    let mut all = Vec::with_capacity(ports.len());
    for port in ports.iter().copied() {
        let mut pictures = Vec::new();
        for json in work.input(port) {
            count += 1;
            if count > IMAGES_MAX {
                return Err(refused(
                    "images_too_many",
                    format!("there are more than {IMAGES_MAX} pictures; split them"),
                ));
            }
            let bytes = blobs.get(reference(port, json)?, IMAGE_BYTES_MAX.min(left)).await?;
            left = left.checked_sub(bytes.len()).ok_or_else(|| {
                let message = format!(
                    "the pictures have more than {IMAGES_BYTES_MAX} bytes together; give fewer or smaller ones"
                );
                refused("images_too_large", message)
            })?;
            pictures.push(bytes);
        }
        all.push((port, pictures));
    }
    Ok(all)
}

/// A reference, or its address alone.
fn reference(port: &str, json: &[u8]) -> Result<Reference, Failure> {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let reference = match value {
        Value::String(url) => Some(Reference { url: Some(url), ..Reference::default() }),
        value => serde_json::from_value::<Reference>(value).ok(),
    };
    reference.filter(|reference| reference.url.is_some() || reference.digest.is_some()).ok_or_else(|| {
        refused(
            "reference_invalid",
            format!("the value at input {port} is no picture; give a reference or its address"),
        )
    })
}
