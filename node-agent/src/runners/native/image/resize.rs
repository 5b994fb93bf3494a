//! `utility:image_resize`: another size, another format.

use image::imageops;
use image::{RgbaImage, imageops::crop_imm};
use serde::Deserialize;
use serde_json::json;

use super::super::call::refused;
use super::pixels::{self, Colour, Writing};
use super::{Made, Pictures};
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let mut properties = json!({
        "width": {"type": "integer", "minimum": 1, "description": "In pixels; without it, as the height and the shape say."},
        "height": {"type": "integer", "minimum": 1, "description": "In pixels; without it, as the width and the shape say."},
        "fit": {"enum": ["inside", "cover", "pad", "stretch"], "default": "inside", "description": "inside: no larger than the box; cover: fills the box and is cut; pad: inside, on the background; stretch: loses its shape."},
        "enlarge": {"type": "boolean", "default": true, "description": "Whether a picture that is smaller grows."},
    });
    merge(&mut properties, pixels::writing_schema());
    Manifest::pure("utility:image_resize", "Resize image", "Gives a picture another size or another format.")
        .ports([Port::new("image", PortType::Image).required()], [Port::new("image", PortType::Image)])
        .config(&[], properties)
        .aliases(
            &[("image_url", "image"), ("url", "image"), ("media", "image")],
            &[("images", "image"), ("url", "image")],
            &[],
        )
}

/// Adds the members of one object to another.
pub(super) fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    if let (Some(into), serde_json::Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

#[derive(Deserialize)]
struct Config {
    width: Option<u32>,
    height: Option<u32>,
    #[serde(default)]
    fit: Fit,
    #[serde(default = "yes")]
    enlarge: bool,
    #[serde(flatten)]
    writing: Writing,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Fit {
    #[default]
    Inside,
    Cover,
    Pad,
    Stretch,
}

pub(super) fn run(pictures: &Pictures) -> Result<Made, Failure> {
    let config: Config = pictures.call.config()?;
    let decoded = pixels::decode(pictures.needed("image")?)?;
    pictures.call.go_on()?;
    let resized = resized(decoded.pixels, &config)?;
    pictures.call.go_on()?;
    pixels::encode(resized, decoded.format, &config.writing).map(Made::Picture)
}

fn resized(image: RgbaImage, config: &Config) -> Result<RgbaImage, Failure> {
    let (width, height) = image.dimensions();
    let scale = |length: u32, by: u32, of: u32| {
        ((u64::from(length) * u64::from(by)) / u64::from(of)).clamp(1, u64::from(u32::MAX)) as u32
    };
    let (box_width, box_height) = match (config.width, config.height) {
        (None, None) => return Ok(image),
        (Some(0), _) | (_, Some(0)) => {
            return Err(refused("config_invalid", "a side of 0 pixels is none; leave it out"));
        }
        (Some(box_width), Some(box_height)) => (box_width, box_height),
        (Some(box_width), None) => (box_width, scale(height, box_width, width)),
        (None, Some(box_height)) => (scale(width, box_height, height), box_height),
    };
    pixels::check_size(box_width, box_height)?;
    let is_smaller = width <= box_width && height <= box_height;
    let keeps_size = is_smaller && !config.enlarge;
    // Whether the width is what bounds a picture inside of the box.
    let is_wide = u64::from(width) * u64::from(box_height) >= u64::from(height) * u64::from(box_width);
    let inside = match (keeps_size, is_wide) {
        (true, _) => (width, height),
        (false, true) => (box_width, scale(height, box_width, width)),
        (false, false) => (scale(width, box_height, height), box_height),
    };
    Ok(match config.fit {
        Fit::Inside => pixels::scaled(image, inside.0, inside.1),
        Fit::Stretch if keeps_size => image,
        Fit::Stretch => pixels::scaled(image, box_width, box_height),
        Fit::Pad => {
            let scaled = pixels::scaled(image, inside.0, inside.1);
            let background = config.writing.background.unwrap_or(Colour::NONE);
            let mut padded = RgbaImage::from_pixel(box_width, box_height, background.0);
            let (x, y) = ((box_width - inside.0) / 2, (box_height - inside.1) / 2);
            imageops::overlay(&mut padded, &scaled, x.into(), y.into());
            padded
        }
        Fit::Cover if keeps_size => image,
        Fit::Cover => {
            // The part of the picture that has the box's shape, from its middle; then its size.
            let (part_width, part_height) = match is_wide {
                true => (scale(box_width, height, box_height).min(width), height),
                false => (width, scale(box_height, width, box_width).min(height)),
            };
            let (x, y) = ((width - part_width) / 2, (height - part_height) / 2);
            pixels::scaled(crop_imm(&image, x, y, part_width, part_height).to_image(), box_width, box_height)
        }
    })
}

fn yes() -> bool {
    true
}
