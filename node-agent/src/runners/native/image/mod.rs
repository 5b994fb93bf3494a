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
use serde_json::Value;
use tokio::sync::Semaphore;

use super::call::{Call, output, output_json, refused};
use super::{Answer, on_a_thread_with};
use crate::limits::{IMAGE_BYTES_MAX, IMAGES_AT_ONCE_MAX, IMAGES_BYTES_MAX, IMAGES_MAX};
use crate::runners::{Context, Failure, Manifest, Runner, Work};

/// Where pictures and other files are kept. A value stands for a file (graph.md, part 1): a reference, or its address alone.
pub trait Blobs: Send + Sync + 'static {
    /// The bytes that a value of this attempt stands for, at most `bytes_max` of them.
    fn get<'a>(
        &'a self,
        context: &'a Context,
        value: &'a Bytes,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Bytes, Failure>>;

    /// Keeps bytes for this attempt, and gives the value that stands for them.
    fn put<'a>(
        &'a self,
        context: &'a Context,
        bytes: Bytes,
        media_type: &'a str,
    ) -> BoxFuture<'a, Result<Bytes, Failure>>;
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

    fn run(&self, work: Work, context: Context) -> BoxFuture<'static, Answer> {
        run(work, context, self.ports, self.function, Arc::clone(&self.blobs)).boxed()
    }
}

/// Pictures that are worked on at once in this process: each may take a hundred megabytes.
static AT_ONCE: Semaphore = Semaphore::const_new(IMAGES_AT_ONCE_MAX);

async fn run(
    work: Work,
    context: Context,
    ports: &'static [&'static str],
    function: fn(&Pictures) -> Result<Made, Failure>,
    blobs: Arc<dyn Blobs>,
) -> Answer {
    // The semaphore is never closed.
    let _turn = AT_ONCE.acquire().await.ok();
    let bytes = fetched(&work, &context, ports, &*blobs).await?;
    let made = on_a_thread_with(work, move |call| function(&Pictures { call, bytes })).await?;
    match made {
        Made::Json(json) => Ok(vec![output("json", json)]),
        Made::Picture(picture) => {
            let value = blobs.put(&context, picture.bytes, picture.media_type).await?;
            Ok(vec![output_json("image", value)])
        }
    }
}

async fn fetched(
    work: &Work,
    context: &Context,
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
            let bytes = blobs.get(context, json, IMAGE_BYTES_MAX.min(left)).await?;
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
