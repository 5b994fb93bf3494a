//! `utility:image_info`: what a picture is.

use image::codecs::{gif::GifDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, ImageDecoder, ImageFormat};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Made, Pictures, pixels};
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    Manifest::pure("utility:image_info", "Image facts", "Says what a picture is: its size, its format and its digest.")
        .ports([Port::new("image", PortType::Image).required()], [Port::new("json", PortType::Json)])
        .config(&[], json!({}))
        .aliases(&[("image_url", "image"), ("url", "image"), ("media", "image")], &[], &[])
}

pub(super) fn run(pictures: &Pictures) -> Result<Made, Failure> {
    let bytes = pictures.needed("image")?;
    let (mut decoder, format) = pixels::decoder(bytes)?;
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let is_turned = matches!(orientation.to_exif(), 5..=8);
    let (width, height) = if is_turned { (height, width) } else { (width, height) };
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Made::Json(json!({
        "width": width,
        "height": height,
        "format": format.extensions_str().first(),
        "mediaType": format.to_mime_type(),
        "bytes": bytes.len(),
        "hasAlpha": decoder.color_type().has_alpha(),
        "animated": is_animated(bytes, format),
        "digest": digest,
    })))
}

/// Whether it has more than one frame.
fn is_animated(bytes: &[u8], format: ImageFormat) -> bool {
    let reader = std::io::Cursor::new(bytes);
    match format {
        ImageFormat::Gif => {
            GifDecoder::new(reader).is_ok_and(|decoder| decoder.into_frames().take(2).filter(Result::is_ok).count() > 1)
        }
        ImageFormat::WebP => WebPDecoder::new(reader).is_ok_and(|decoder| decoder.has_animation()),
        _ => false,
    }
}
