//! Pictures through the whole node type, with a store that only tests have.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Mutex;

use futures::future::ready;
use image::{ImageFormat, Rgba, RgbaImage};
use serde_json::json;

use super::*;
use crate::runners::{ErrorClass, Input};

#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, Bytes>>);

impl Blobs for Shelf {
    fn get<'a>(&'a self, _: &'a Context, value: &'a Bytes, bytes_max: usize) -> BoxFuture<'a, Result<Bytes, Failure>> {
        let value: Value = serde_json::from_slice(value).unwrap();
        let bytes = self.0.lock().unwrap()[value["url"].as_str().unwrap()].clone();
        ready(if bytes.len() <= bytes_max { Ok(bytes) } else { Err(refused("blob_too_large", "too large")) }).boxed()
    }

    fn put<'a>(&'a self, _: &'a Context, bytes: Bytes, media_type: &'a str) -> BoxFuture<'a, Result<Bytes, Failure>> {
        let mut shelf = self.0.lock().unwrap();
        let url = format!("shelf:{}", shelf.len());
        shelf.insert(url.clone(), bytes);
        ready(Ok(Bytes::from(json!({"url": url, "mediaType": media_type}).to_string()))).boxed()
    }
}

fn context() -> Context {
    Context::alone(crate::outgoing::Outlet::default(), crate::runners::Notes::default())
}

/// A picture whose left half is red, the right half blue and half transparent.
fn picture(width: u32, height: u32, format: ImageFormat) -> Bytes {
    let pixels = RgbaImage::from_fn(width, height, |x, _| match x < width / 2 {
        true => Rgba([255, 0, 0, 255]),
        false => Rgba([0, 0, 255, 128]),
    });
    let mut file = Cursor::new(Vec::new());
    match format {
        ImageFormat::Jpeg => image::DynamicImage::from(pixels).into_rgb8().write_to(&mut file, format).unwrap(),
        _ => pixels.write_to(&mut file, format).unwrap(),
    }
    file.into_inner().into()
}

async fn call(id: &str, config: Value, inputs: &[(&str, &[Bytes])]) -> Result<(Value, Option<RgbaImage>), Failure> {
    call_with_labels(id, config, inputs, &[]).await
}

async fn call_with_labels(
    id: &str,
    config: Value,
    inputs: &[(&str, &[Bytes])],
    texts: &[(&str, &[&str])],
) -> Result<(Value, Option<RgbaImage>), Failure> {
    let shelf = Arc::new(Shelf::default());
    let blobs: Arc<dyn Blobs> = Arc::clone(&shelf) as _;
    let mut work = crate::runners::debug::tests::work(&config);
    for (port, files) in inputs {
        let mut values = Vec::new();
        for file in *files {
            values.push(shelf.put(&context(), file.clone(), "image/png").await?);
        }
        work.inputs.push(Input { port: (*port).into(), list: true, values });
    }
    for (port, texts) in texts {
        let values = texts.iter().map(|text| Bytes::from(json!(text).to_string())).collect();
        work.inputs.push(Input { port: (*port).into(), list: true, values });
    }
    let node = all(&blobs).into_iter().find(|node| (node.manifest)().id == id).unwrap();
    let outputs = run(work, context(), node.ports, node.function, blobs).await?;
    let value: Value = serde_json::from_slice(&outputs[0].value).unwrap();
    let made = value["url"].as_str().map(|url| shelf.0.lock().unwrap()[url].clone());
    Ok((value, made.map(|bytes| image::load_from_memory(&bytes).unwrap().into_rgba8())))
}

async fn code(id: &str, config: Value, inputs: &[(&str, &[Bytes])]) -> String {
    let failure = call(id, config, inputs).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::InvalidRequest, "{failure:?}");
    failure.code.into_owned()
}

#[tokio::test]
async fn pictures_take_their_new_size() {
    let file = [picture(40, 20, ImageFormat::Png)];
    let size = async |config: Value| {
        let (_, image) = call("utility:image_resize", config, &[("image", &file)]).await.unwrap();
        image.unwrap().dimensions()
    };
    assert_eq!(size(json!({})).await, (40, 20));
    assert_eq!(size(json!({"width": 20})).await, (20, 10));
    assert_eq!(size(json!({"height": 10})).await, (20, 10));
    assert_eq!(size(json!({"width": 30, "height": 30})).await, (30, 15));
    assert_eq!(size(json!({"width": 30, "height": 30, "fit": "cover"})).await, (30, 30));
    assert_eq!(size(json!({"width": 30, "height": 30, "fit": "pad"})).await, (30, 30));
    assert_eq!(size(json!({"width": 30, "height": 30, "fit": "stretch"})).await, (30, 30));
    assert_eq!(size(json!({"width": 80, "enlarge": false})).await, (40, 20));
    assert_eq!(size(json!({"width": 1, "height": 1, "fit": "inside"})).await, (1, 1));
}

#[tokio::test]
async fn every_format_is_read_and_written() {
    for (from, format) in
        [(ImageFormat::Png, "jpeg"), (ImageFormat::Jpeg, "webp"), (ImageFormat::WebP, "gif"), (ImageFormat::Gif, "png")]
    {
        let file = [picture(16, 8, from)];
        let (value, image) =
            call("utility:image_resize", json!({"format": format}), &[("image", &file)]).await.unwrap();
        assert_eq!(value["mediaType"], format!("image/{format}"));
        let pixel = image.unwrap().get_pixel(1, 1).0;
        assert!(pixel[0] > 200 && pixel[2] < 60, "{format}: {pixel:?}");
    }
}

#[tokio::test]
async fn transparent_parts_keep_their_colour_and_jpeg_gets_a_background() {
    let file = [picture(40, 40, ImageFormat::Png)];
    let (_, image) = call("utility:image_resize", json!({"width": 20}), &[("image", &file)]).await.unwrap();
    let pixel = image.unwrap().get_pixel(18, 10).0;
    assert!(pixel[2] > 250 && pixel[3].abs_diff(128) <= 1, "{pixel:?}");
    let on_black = json!({"format": "jpeg", "background": "#000000"});
    let (_, image) = call("utility:image_resize", on_black, &[("image", &file)]).await.unwrap();
    let pixel = image.unwrap().get_pixel(35, 10).0;
    assert!(pixel[2].abs_diff(128) < 12 && pixel[0] < 20, "{pixel:?}");
}

/// A PNG that says it is huge: signature, header, and nothing behind it.
fn bomb(width: u32, height: u32) -> Bytes {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 6, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&header);
    file.extend(crc(&header).to_be_bytes());
    let data = b"IDAT";
    file.extend([0, 0, 0, 0]);
    file.extend(data);
    file.extend(crc(data).to_be_bytes());
    file.into()
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    for file in [bomb(60_000, 60_000), bomb(16_000, 16_000), bomb(u32::MAX >> 1, 1)] {
        for id in ["utility:image_resize", "utility:image_info"] {
            assert_eq!(code(id, json!({}), &[("image", std::slice::from_ref(&file))]).await, "image_too_large");
        }
    }
    let small = [picture(10, 10, ImageFormat::Png)];
    for config in [json!({"width": 100_000}), json!({"width": 16_000, "height": 16_000}), json!({"width": 16_000})] {
        assert_eq!(code("utility:image_resize", config, &[("image", &small)]).await, "image_too_large");
    }
    let grid = json!({"cellWidth": 5_000, "cellHeight": 5_000, "columns": 4});
    let many = vec![small[0].clone(); 16];
    assert_eq!(code("utility:image_grid", grid, &[("images", &many)]).await, "image_too_large");
    let too_many = vec![small[0].clone(); IMAGES_MAX + 1];
    assert_eq!(code("utility:image_grid", json!({}), &[("images", &too_many)]).await, "images_too_many");
}

#[tokio::test]
async fn broken_files_and_configs_are_refused() {
    let good = picture(20, 20, ImageFormat::Png);
    let cut = good.slice(..good.len() / 2);
    for file in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from_static(b"<svg/>"), cut] {
        assert_eq!(code("utility:image_resize", json!({}), &[("image", &[file])]).await, "image_unreadable");
    }
    for config in [json!({"width": -1}), json!({"format": "bmp"}), json!({"background": "red"}), json!({"width": 0})] {
        assert_eq!(
            code("utility:image_resize", config, &[("image", std::slice::from_ref(&good))]).await,
            "config_invalid"
        );
    }
    assert_eq!(code("utility:image_composite", json!({}), &[("base", &[good])]).await, "input_missing");
}

#[tokio::test]
async fn overlays_and_texts_lie_where_they_should() {
    let (base, overlay) = ([picture(100, 50, ImageFormat::Png)], [picture(10, 10, ImageFormat::Png)]);
    let inputs: &[(&str, &[Bytes])] = &[("base", &base), ("overlay", &overlay)];
    let config = json!({"anchor": "bottom-right", "x": -5, "y": -5, "width": 20, "opacity": 1});
    let (_, image) = call("utility:image_composite", config, inputs).await.unwrap();
    let image = image.unwrap();
    assert_eq!(image.dimensions(), (100, 50));
    assert_eq!(image.get_pixel(77, 30).0, [255, 0, 0, 255], "the red half of the overlay");
    assert_eq!(image.get_pixel(74, 24).0, [0, 0, 255, 128], "outside of it");
    let text = json!({"size": 20, "color": "#00ff00", "anchor": "center"});
    let written = call_with_labels("utility:image_composite", text, &[("base", &base)], &[("text", &["Hey"])]).await;
    let image = written.unwrap().1.unwrap();
    let green = image.pixels().filter(|pixel| pixel[1] > 200).count();
    assert!((20..1_000).contains(&green), "{green} green pixels");
    let far = json!({"x": i32::MAX, "y": i32::MIN});
    call("utility:image_composite", far, inputs).await.unwrap();
}

#[tokio::test]
async fn a_sheet_has_a_cell_for_each_picture_and_its_label() {
    let files = vec![picture(30, 60, ImageFormat::Png); 5];
    let config = json!({"columns": 3, "cellWidth": 40, "cellHeight": 40, "gap": 10, "background": "#00ff00"});
    let (_, image) = call("utility:image_grid", config.clone(), &[("images", &files)]).await.unwrap();
    let image = image.unwrap();
    assert_eq!(image.dimensions(), (160, 110));
    assert_eq!(image.get_pixel(22, 30).0, [255, 0, 0, 255], "the first picture, in the middle of its cell");
    assert_eq!(image.get_pixel(12, 30).0, [0, 255, 0, 255], "beside it");
    assert_eq!(image.get_pixel(130, 80).0, [0, 255, 0, 255], "the sixth cell is empty");
    let labels: &[(&str, &[&str])] = &[("labels", &["one", "a label that is much too long", "", "ü"])];
    let (_, image) = call_with_labels("utility:image_grid", config, &[("images", &files)], labels).await.unwrap();
    let image = image.unwrap();
    assert_eq!(image.height(), 110 + 2 * 32);
    let is_dark = |x: u32, y: u32| image.get_pixel(x, y).0[..3].iter().all(|colour| *colour < 100);
    assert!((10..50).any(|x| (50..82).any(|y| is_dark(x, y))), "the first label");
    assert!(!(110..150).any(|x| (50..82).any(|y| is_dark(x, y))), "the third label is empty");
}

#[tokio::test]
async fn facts_are_told() {
    let file = [picture(30, 20, ImageFormat::WebP)];
    let (facts, _) = call("utility:image_info", json!({}), &[("image", &file)]).await.unwrap();
    assert_eq!(facts["width"], 30);
    assert_eq!(facts["mediaType"], "image/webp");
    assert_eq!(facts["hasAlpha"], true);
    assert_eq!(facts["animated"], false);
    assert_eq!(facts["bytes"], file[0].len());
}
