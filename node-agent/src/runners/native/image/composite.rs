//! `utility:image_composite`: a picture or a text over a picture.

use image::{RgbaImage, imageops};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::call::{as_text, refused};
use super::label::Label;
use super::pixels::{self, Colour, Writing};
use super::resize::merge;
use super::{Made, Pictures};
use crate::limits::LABEL_SIZE_MAX;
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let mut properties = json!({
        "x": {"type": "integer", "default": 0, "description": "Pixels from the anchor to the right."},
        "y": {"type": "integer", "default": 0, "description": "Pixels from the anchor downwards."},
        "anchor": {"enum": ["top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"], "default": "top-left", "description": "Where on the base the overlay and the text are put."},
        "opacity": {"type": "number", "minimum": 0, "maximum": 1, "default": 1},
        "width": {"type": "integer", "minimum": 1, "description": "Width of the overlay in pixels; without it, its own."},
        "size": {"type": "integer", "minimum": 4, "maximum": LABEL_SIZE_MAX, "default": 32, "description": "Height of the text in pixels."},
        "color": {"type": "string", "default": "#ffffff", "description": "Colour of the text."},
        "plate": {"type": "string", "description": "Colour of a plate behind the text."},
    });
    merge(&mut properties, pixels::writing_schema());
    Manifest::pure("utility:image_composite", "Overlay on image", "Puts a picture, a text or both over a picture.")
        .ports(
            [
                Port::new("base", PortType::Image).required(),
                Port::new("overlay", PortType::Image),
                Port::new("text", PortType::Text),
            ],
            [Port::new("image", PortType::Image)],
        )
        .config(&[], properties)
        .aliases(
            &[("background", "base"), ("image", "base"), ("layer_1", "overlay")],
            &[("images", "image"), ("url", "image")],
            &[("colour", "color")],
        )
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    x: i32,
    #[serde(default)]
    y: i32,
    #[serde(default)]
    anchor: Anchor,
    opacity: Option<f64>,
    width: Option<u32>,
    size: Option<u32>,
    color: Option<Colour>,
    plate: Option<Colour>,
    #[serde(flatten)]
    writing: Writing,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Anchor {
    #[default]
    TopLeft,
    Top,
    TopRight,
    Left,
    Center,
    Right,
    BottomLeft,
    Bottom,
    BottomRight,
}

impl Anchor {
    /// Where something of a size begins on something larger.
    fn place(self, outer: (u32, u32), inner: (u32, u32)) -> (i64, i64) {
        let spare = |outer: u32, inner: u32| i64::from(outer) - i64::from(inner);
        let (x, y) = (spare(outer.0, inner.0), spare(outer.1, inner.1));
        match self {
            Anchor::TopLeft => (0, 0),
            Anchor::Top => (x / 2, 0),
            Anchor::TopRight => (x, 0),
            Anchor::Left => (0, y / 2),
            Anchor::Center => (x / 2, y / 2),
            Anchor::Right => (x, y / 2),
            Anchor::BottomLeft => (0, y),
            Anchor::Bottom => (x / 2, y),
            Anchor::BottomRight => (x, y),
        }
    }
}

pub(super) fn run(pictures: &Pictures) -> Result<Made, Failure> {
    let config: Config = pictures.call.config()?;
    let text = pictures.call.value("text")?.filter(|text| *text != Value::Null).map(as_text);
    let overlay = pictures.at("overlay").first();
    if overlay.is_none() && text.is_none() {
        return Err(refused("input_missing", "there is nothing to put over the picture; wire overlay or text"));
    }
    let base = pixels::decode(pictures.needed("base")?)?;
    let mut image = base.pixels;
    if let Some(overlay) = overlay {
        pictures.call.go_on()?;
        put_overlay(&mut image, overlay, &config)?;
    }
    if let Some(text) = text {
        pictures.call.go_on()?;
        put_text(&mut image, &text, &config)?;
    }
    pixels::encode(image, base.format, &config.writing).map(Made::Picture)
}

fn opacity(config: &Config) -> f64 {
    config.opacity.unwrap_or(1.0).clamp(0.0, 1.0)
}

fn put_overlay(image: &mut RgbaImage, overlay: &[u8], config: &Config) -> Result<(), Failure> {
    let mut overlay = pixels::decode(overlay)?.pixels;
    if let Some(width) = config.width {
        let height = (u64::from(overlay.height()) * u64::from(width) / u64::from(overlay.width())).max(1);
        let height = u32::try_from(height).unwrap_or(u32::MAX);
        pixels::check_size(width, height)?;
        overlay = pixels::scaled(overlay, width, height);
    }
    let opacity = opacity(config);
    if opacity < 1.0 {
        overlay.pixels_mut().for_each(|pixel| pixel[3] = (f64::from(pixel[3]) * opacity).round() as u8);
    }
    let (x, y) = config.anchor.place(image.dimensions(), overlay.dimensions());
    imageops::overlay(image, &overlay, x + i64::from(config.x), y + i64::from(config.y));
    Ok(())
}

fn put_text(image: &mut RgbaImage, text: &str, config: &Config) -> Result<(), Failure> {
    let size = config.size.unwrap_or(32).clamp(4, LABEL_SIZE_MAX);
    let padding = size / 4;
    let faded = |colour: Colour| {
        let mut colour = colour.0;
        colour[3] = (f64::from(colour[3]) * opacity(config)).round() as u8;
        colour
    };
    let label = Label::new(text, size, Some(image.width().saturating_sub(2 * padding).max(1)))?;
    let (width, height) = label.dimensions();
    let plate = (width + 2 * padding, height + 2 * padding);
    let (x, y) = config.anchor.place(image.dimensions(), plate);
    let (x, y) = (x + i64::from(config.x), y + i64::from(config.y));
    if let Some(colour) = config.plate {
        // No larger than the picture: what lies outside of it is not seen.
        let (width, height) = (plate.0.min(image.width()), plate.1.min(image.height()));
        imageops::overlay(image, &RgbaImage::from_pixel(width, height, faded(colour)), x, y);
    }
    let colour = faded(config.color.unwrap_or(Colour::WHITE));
    label.draw(image, x + i64::from(padding), y + i64::from(padding), colour, Some(width));
    Ok(())
}
