//! Text on pictures, in DejaVu Sans. Its licence lies beside it, in `fonts/`.

use ab_glyph::{Font, FontRef, ScaleFont, point};
use image::{Rgba, RgbaImage};

use super::super::call::refused;
use crate::limits::LABEL_CHARACTERS_MAX;
use crate::runners::{ErrorClass, Failure};

static DEJAVU_SANS: &[u8] = include_bytes!("../../../../fonts/DejaVuSans.ttf");

/// Text of one size.
pub(super) struct Label {
    font: FontRef<'static>,
    size: f32,
    lines: Vec<String>,
}

impl Label {
    /// Lays out a text; with a width, lines that are longer are broken between words, or cut.
    pub(super) fn new(text: &str, size: u32, width: Option<u32>) -> Result<Self, Failure> {
        if text.chars().count() > LABEL_CHARACTERS_MAX {
            let message = format!("a text on a picture has at most {LABEL_CHARACTERS_MAX} characters; shorten it");
            return Err(refused("label_too_long", message));
        }
        let font = FontRef::try_from_slice(DEJAVU_SANS).map_err(|error| {
            let message = format!("the font cannot be read: {error}; report this as a defect");
            Failure::new(ErrorClass::Internal, "font_unreadable", message)
        })?;
        let mut label = Self { font, size: size as f32, lines: Vec::new() };
        for line in text.lines() {
            label.add_line(line, width);
        }
        Ok(label)
    }

    /// The first line alone.
    pub(super) fn first_line(mut self) -> Self {
        self.lines.truncate(1);
        self
    }

    fn add_line(&mut self, text: &str, width: Option<u32>) {
        let fits = |label: &Self, line: &str| width.is_none_or(|width| label.width_of(line) <= width as f32);
        let mut line = String::new();
        for word in text.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if fits(self, &longer) {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                self.lines.push(std::mem::take(&mut line));
            }
            line = word.to_owned();
            while !fits(self, &line) && line.pop().is_some() {}
        }
        self.lines.push(line);
    }

    fn width_of(&self, line: &str) -> f32 {
        let font = self.font.as_scaled(self.size);
        let mut last = None;
        line.chars().map(|character| font.glyph_id(character)).fold(0.0, |width, glyph| {
            let kern = last.replace(glyph).map_or(0.0, |last| font.kern(last, glyph));
            width + kern + font.h_advance(glyph)
        })
    }

    fn line_height(&self) -> f32 {
        let font = self.font.as_scaled(self.size);
        font.height() + font.line_gap()
    }

    /// Width and height in pixels, at least one each.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        let width = self.lines.iter().map(|line| self.width_of(line)).fold(0.0, f32::max);
        let height = self.line_height() * self.lines.len() as f32;
        ((width.ceil() as u32).max(1), (height.ceil() as u32).max(1))
    }

    /// Draws the text with its corner at a place, which may lie outside; in the middle of a width, if one is given.
    pub(super) fn draw(&self, image: &mut RgbaImage, x: i64, y: i64, colour: Rgba<u8>, middle_of: Option<u32>) {
        let font = self.font.as_scaled(self.size);
        for (number, line) in self.lines.iter().enumerate() {
            let indent = middle_of.map_or(0.0, |width| ((width as f32 - self.width_of(line)) / 2.0).max(0.0));
            let mut caret = point(x as f32 + indent, y as f32 + font.ascent() + self.line_height() * number as f32);
            let mut last = None;
            for character in line.chars() {
                let id = font.glyph_id(character);
                caret.x += last.replace(id).map_or(0.0, |last| font.kern(last, id));
                let glyph = id.with_scale_and_position(self.size, caret);
                caret.x += font.h_advance(id);
                let Some(outline) = self.font.outline_glyph(glyph) else { continue };
                let corner = outline.px_bounds().min;
                outline.draw(|px, py, coverage| {
                    blend(image, corner.x as i64 + i64::from(px), corner.y as i64 + i64::from(py), colour, coverage);
                });
            }
        }
    }
}

fn blend(image: &mut RgbaImage, x: i64, y: i64, colour: Rgba<u8>, coverage: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    if let Some(pixel) = image.get_pixel_mut_checked(x, y) {
        let alpha = (f32::from(colour[3]) * coverage.clamp(0.0, 1.0)) as u8;
        image::Pixel::blend(pixel, &Rgba([colour[0], colour[1], colour[2], alpha]));
    }
}
