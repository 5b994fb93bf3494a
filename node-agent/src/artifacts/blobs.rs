//! The artifact store as node types see it that need files as a whole.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt};

use super::failed;
use crate::runners::{Blobs, Context, ErrorClass, Failure};

/// Files of the store, in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreBlobs;

impl Blobs for StoreBlobs {
    fn get<'a>(
        &'a self,
        context: &'a Context,
        value: &'a Bytes,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Bytes, Failure>> {
        get(context, value, bytes_max).boxed()
    }

    fn put<'a>(
        &'a self,
        context: &'a Context,
        bytes: Bytes,
        media_type: &'a str,
    ) -> BoxFuture<'a, Result<Bytes, Failure>> {
        put(context, bytes, media_type).boxed()
    }
}

async fn get(context: &Context, value: &Bytes, bytes_max: usize) -> Result<Bytes, Failure> {
    let mut pieces = context.files().open(value).await?;
    let mut all = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| failed(&error))?;
        if all.len() + piece.len() > bytes_max {
            let message =
                format!("a file has more than the {bytes_max} bytes that there is room for; give a smaller one");
            return Err(Failure::new(ErrorClass::InvalidRequest, "blob_too_large", message));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

async fn put(context: &Context, bytes: Bytes, media_type: &str) -> Result<Bytes, Failure> {
    let mut file = context.files().create()?;
    file.write(bytes).await?;
    file.finish(Some(media_type)).await
}
