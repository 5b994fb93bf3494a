//! From bytes to pixels and back, within bounds: a small file may stand for a huge picture.

use std::io::Cursor;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage, Rgba, RgbaImage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::call::refused;
use crate::limits::{IMAGE_DECODE_BYTES_MAX, IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX};
use crate::runners::{ErrorClass, Failure};

/// Quality of JPEG, unless a config says otherwise.
const QUALITY: u8 = 85;

/// A picture that was read, upright and in 8 bits for each of red, green, blue and opacity.
pub(super) struct Decoded {
    pub(super) pixels: RgbaImage,
    pub(super) format: ImageFormat,
}

/// A picture as a file.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    pub(super) media_type: &'static str,
}

/// The decoder of a picture, once its format and its size are found to be within the bounds.
pub(super) fn decoder(bytes: &[u8]) -> Result<(impl ImageDecoder + '_, ImageFormat), Failure> {
    let unreadable = |what: &dyn std::fmt::Display| {
        refused("image_unreadable", format!("the picture cannot be read: {what}; give PNG, JPEG, WebP or GIF"))
    };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| unreadable(&error))?;
    let format = reader.format().ok_or_else(|| unreadable(&"its format is not known"))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(IMAGE_SIDE_MAX);
    limits.max_image_height = Some(IMAGE_SIDE_MAX);
    limits.max_alloc = Some(IMAGE_DECODE_BYTES_MAX);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| match error {
        image::ImageError::Limits(_) => too_large(format!("has a side above {IMAGE_SIDE_MAX} pixels")),
        error => unreadable(&error),
    })?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    if decoder.total_bytes() > IMAGE_DECODE_BYTES_MAX {
        return Err(too_large(format!("takes more than {IMAGE_DECODE_BYTES_MAX} bytes once it is read")));
    }
    Ok((decoder, format))
}

/// Reads a picture; of an animation, its first frame.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Failure> {
    let (mut decoder, format) = decoder(bytes)?;
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)
        .map_err(|error| refused("image_unreadable", format!("the picture is broken: {error}; give another one")))?;
    image.apply_orientation(orientation);
    Ok(Decoded { pixels: image.into_rgba8(), format })
}

/// Whether a picture of this size may be made or read.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), Failure> {
    let pixels = u64::from(width) * u64::from(height);
    if width == 0 || height == 0 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX || pixels > IMAGE_PIXELS_MAX {
        let message =
            format!("is {width} by {height} pixels, of at most {IMAGE_PIXELS_MAX} and {IMAGE_SIDE_MAX} a side");
        return Err(too_large(message));
    }
    Ok(())
}

fn too_large(what: String) -> Failure {
    refused("image_too_large", format!("the picture {what}; use a smaller one"))
}

/// Another size, without dark seams where it is transparent.
pub(super) fn scaled(mut pixels: RgbaImage, width: u32, height: u32) -> RgbaImage {
    if pixels.dimensions() == (width, height) {
        return pixels;
    }
    let is_opaque = pixels.pixels().all(|pixel| pixel[3] == u8::MAX);
    if is_opaque {
        return imageops::resize(&pixels, width, height, FilterType::CatmullRom);
    }
    for Rgba([red, green, blue, alpha]) in pixels.pixels_mut() {
        for colour in [red, green, blue] {
            *colour = (u16::from(*colour) * u16::from(*alpha) / 255) as u8;
        }
    }
    let mut scaled = imageops::resize(&pixels, width, height, FilterType::CatmullRom);
    for Rgba([red, green, blue, alpha]) in scaled.pixels_mut() {
        for colour in [red, green, blue] {
            *colour = (u16::from(*colour) * 255).checked_div(u16::from(*alpha)).unwrap_or(0).min(255) as u8;
        }
    }
    scaled
}

/// The format of what is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Png,
    Jpeg,
    Webp,
    Gif,
}

impl Format {
    /// The same as a picture that was read.
    pub(super) fn of(format: ImageFormat) -> Self {
        match format {
            ImageFormat::Jpeg => Format::Jpeg,
            ImageFormat::WebP => Format::Webp,
            ImageFormat::Gif => Format::Gif,
            _ => Format::Png,
        }
    }
}

/// How a picture is written: a part of several configs.
#[derive(Debug, Deserialize)]
pub(super) struct Writing {
    pub(super) format: Option<Format>,
    quality: Option<u8>,
    #[serde(default)]
    pub(super) background: Option<Colour>,
}

/// The schema of [`Writing`].
pub(super) fn writing_schema() -> Value {
    json!({
        "format": {"enum": ["png", "jpeg", "webp", "gif"], "description": "How it is written; without it, as the first picture came. WebP is written without loss."},
        "quality": {"type": "integer", "minimum": 1, "maximum": 100, "default": QUALITY, "description": "Of JPEG."},
        "background": {"type": "string", "description": "A colour as #rrggbb or #rrggbbaa."},
    })
}

/// Writes a picture.
pub(super) fn encode(pixels: RgbaImage, like: ImageFormat, writing: &Writing) -> Result<Encoded, Failure> {
    let mut bytes = Cursor::new(Vec::new());
    let format = writing.format.unwrap_or_else(|| Format::of(like));
    let (written, media_type) = match format {
        Format::Png => (write_png(&pixels, &mut bytes), "image/png"),
        Format::Webp => (pixels.write_to(&mut bytes, ImageFormat::WebP), "image/webp"),
        Format::Gif => (pixels.write_to(&mut bytes, ImageFormat::Gif), "image/gif"),
        Format::Jpeg => {
            let quality = writing.quality.unwrap_or(QUALITY).clamp(1, 100);
            let flat = flattened(&pixels, writing.background.unwrap_or(Colour::WHITE));
            (flat.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality)), "image/jpeg")
        }
    };
    written.map_err(|error| {
        let message = format!("the picture could not be written: {error}; report this as a defect");
        Failure::new(ErrorClass::Internal, "image_not_written", message)
    })?;
    Ok(Encoded { bytes: bytes.into_inner().into(), media_type })
}

/// Compressed well, as pictures are kept and sent more often than made; without opacity where there is none.
fn write_png(pixels: &RgbaImage, bytes: &mut Cursor<Vec<u8>>) -> image::ImageResult<()> {
    let encoder = PngEncoder::new_with_quality(bytes, CompressionType::Default, PngFilter::Adaptive);
    if pixels.pixels().all(|pixel| pixel[3] == u8::MAX) {
        return flattened(pixels, Colour::WHITE).write_with_encoder(encoder);
    }
    pixels.write_with_encoder(encoder)
}

/// JPEG has no opacity.
fn flattened(pixels: &RgbaImage, background: Colour) -> RgbImage {
    let Rgba([red, green, blue, _]) = background.0;
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let pixel = pixels.get_pixel(x, y);
        let mix = |over: u8, under: u8| {
            let alpha = u32::from(pixel[3]);
            ((u32::from(over) * alpha + u32::from(under) * (255 - alpha) + 127) / 255) as u8
        };
        Rgb([mix(pixel[0], red), mix(pixel[1], green), mix(pixel[2], blue)])
    })
}

/// `#rrggbb` or `#rrggbbaa`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Colour(pub(super) Rgba<u8>);

impl Colour {
    pub(super) const WHITE: Colour = Colour(Rgba([255, 255, 255, 255]));
    pub(super) const BLACK: Colour = Colour(Rgba([0, 0, 0, 255]));
    pub(super) const NONE: Colour = Colour(Rgba([0, 0, 0, 0]));
}

impl TryFrom<String> for Colour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix('#').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (digits.map(str::len), number) {
            (Some(6), Some(number)) => Ok(Colour(Rgba((number << 8 | 0xff).to_be_bytes()))),
            (Some(8), Some(number)) => Ok(Colour(Rgba(number.to_be_bytes()))),
            _ => Err(format!("{text:?} is no colour; write it as #rrggbb or #rrggbbaa")),
        }
    }
}
