//! `utility:image_grid`: many pictures on one sheet.

use image::{ImageFormat, RgbaImage, imageops};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::call::{as_text, refused};
use super::label::Label;
use super::pixels::{self, Colour, Writing};
use super::resize::merge;
use super::{Made, Pictures};
use crate::limits::{IMAGES_MAX, LABEL_SIZE_MAX};
use crate::runners::{Failure, Manifest, Port, PortType};

/// Sides of a cell in pixels, unless a config says otherwise.
const CELL: u32 = 256;

pub(super) fn manifest() -> Manifest {
    let mut properties = json!({
        "columns": {"type": "integer", "minimum": 1, "maximum": IMAGES_MAX, "description": "Pictures beside each other; without it, as many as rows."},
        "cellWidth": {"type": "integer", "minimum": 1, "default": CELL},
        "cellHeight": {"type": "integer", "minimum": 1, "default": CELL},
        "gap": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 8, "description": "Pixels between cells and around the sheet."},
        "labelSize": {"type": "integer", "minimum": 4, "maximum": LABEL_SIZE_MAX, "default": 16},
        "labelColor": {"type": "string", "default": "#000000"},
    });
    merge(&mut properties, pixels::writing_schema());
    Manifest::pure(
        "utility:image_grid",
        "Contact sheet",
        "Puts many pictures on one sheet, with a label below each if labels are given.",
    )
    .ports(
        [Port::new("images", PortType::Image).list().required(), Port::new("labels", PortType::Text).list()],
        [Port::new("image", PortType::Image)],
    )
    .config(&[], properties)
    .aliases(&[("image{n}", "images[]"), ("image", "images")], &[("images", "image"), ("url", "image")], &[])
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    columns: Option<u32>,
    cell_width: Option<u32>,
    cell_height: Option<u32>,
    gap: Option<u32>,
    label_size: Option<u32>,
    label_color: Option<Colour>,
    #[serde(flatten)]
    writing: Writing,
}

/// Where everything is on the sheet, in pixels.
struct Sheet {
    columns: u32,
    cell: (u32, u32),
    /// Height below each cell.
    label_height: u32,
    gap: u32,
}

impl Sheet {
    fn dimensions(&self, count: u32) -> (u32, u32) {
        let rows = count.div_ceil(self.columns);
        let side = |count: u32, length: u32| {
            let whole = u64::from(count) * u64::from(length) + (u64::from(count) + 1) * u64::from(self.gap);
            u32::try_from(whole).unwrap_or(u32::MAX)
        };
        (side(self.columns, self.cell.0), side(rows, self.cell.1.saturating_add(self.label_height)))
    }

    fn corner(&self, place: u32) -> (i64, i64) {
        let (column, row) = (i64::from(place % self.columns), i64::from(place / self.columns));
        let (width, height) = (i64::from(self.cell.0), i64::from(self.cell.1) + i64::from(self.label_height));
        let gap = i64::from(self.gap);
        (gap + column * (width + gap), gap + row * (height + gap))
    }
}

pub(super) fn run(pictures: &Pictures) -> Result<Made, Failure> {
    let config: Config = pictures.call.config()?;
    let files = pictures.at("images");
    let labels: Vec<String> = pictures.call.values("labels")?.into_iter().map(text_or_none).collect();
    if files.is_empty() {
        return Err(refused("input_missing", "there are no pictures; wire images"));
    }
    // No more than IMAGES_MAX.
    let count = files.len() as u32;
    let label_size = config.label_size.unwrap_or(16).clamp(4, LABEL_SIZE_MAX);
    let sheet = Sheet {
        columns: config.columns.unwrap_or_else(|| f64::from(count).sqrt().ceil() as u32).clamp(1, count),
        cell: (config.cell_width.unwrap_or(CELL), config.cell_height.unwrap_or(CELL)),
        label_height: if labels.is_empty() { 0 } else { label_size * 2 },
        gap: config.gap.unwrap_or(8),
    };
    pixels::check_size(sheet.cell.0, sheet.cell.1)?;
    let (width, height) = sheet.dimensions(count);
    pixels::check_size(width, height)?;
    let background = config.writing.background.unwrap_or(Colour::WHITE);
    let mut image = RgbaImage::from_pixel(width, height, background.0);
    for (place, file) in (0_u32..).zip(files) {
        pictures.call.go_on()?;
        let (x, y) = sheet.corner(place);
        put(&mut image, file, sheet.cell, (x, y))?;
        if let Some(text) = labels.get(place as usize) {
            let label = Label::new(text, label_size, Some(sheet.cell.0))?;
            let colour = config.label_color.unwrap_or(Colour::BLACK).0;
            // One line: what wraps does not fit below a cell.
            let below = y + i64::from(sheet.cell.1) + i64::from(label_size / 4);
            label.first_line().draw(&mut image, x, below, colour, Some(sheet.cell.0));
        }
    }
    pixels::encode(image, ImageFormat::Png, &config.writing).map(Made::Picture)
}

/// Puts a picture into the middle of a cell, no larger than it.
fn put(sheet: &mut RgbaImage, file: &[u8], cell: (u32, u32), corner: (i64, i64)) -> Result<(), Failure> {
    let picture = pixels::decode(file)?.pixels;
    let (width, height) = picture.dimensions();
    let scale = f64::min(f64::from(cell.0) / f64::from(width), f64::from(cell.1) / f64::from(height));
    let side = |length: u32, most: u32| ((f64::from(length) * scale).round() as u32).clamp(1, most);
    let (width, height) = (side(width, cell.0), side(height, cell.1));
    let scaled = pixels::scaled(picture, width, height);
    let (x, y) = (corner.0 + i64::from((cell.0 - width) / 2), corner.1 + i64::from((cell.1 - height) / 2));
    imageops::overlay(sheet, &scaled, x, y);
    Ok(())
}

fn text_or_none(value: Value) -> String {
    if value.is_null() { String::new() } else { as_text(value) }
}
