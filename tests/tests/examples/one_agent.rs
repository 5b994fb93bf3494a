//! Each example with one command, and nothing else running.

use std::path::PathBuf;

use cluster_tests::cluster::graph::Graph;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::{Api, set_key};
use super::{example, heddle, said, shown};

/// Width and height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[1..4], b"PNG");
    let number = |from: usize| u32::from_be_bytes(png[from..from + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn a_contact_sheet_is_made_of_any_number_of_pictures() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let mut words = shown("contact-sheet");
    let place = words.iter().position(|word| word == "--out").unwrap() + 1;
    words[place] = out.display().to_string();
    let output = heddle(&folder.path().join("data")).arg("run").args(&words).output().unwrap();
    let line = said(&output);
    let sheets: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [sheet] = &sheets[..] else { panic!("one sheet: {sheets:?}") };
    assert!(line.contains(sheet.file_name().unwrap().to_str().unwrap()), "{line}");
    let (made, expected) =
        (std::fs::read(sheet).unwrap(), std::fs::read(example("contact-sheet/expected.png")).unwrap());
    assert_eq!(size(&made), size(&expected));
    assert!(made == expected, "another picture than examples/contact-sheet/expected.png: {}", sheet.display());
    // A row less for three of them.
    let fewer = folder.path().join("fewer");
    words[place] = fewer.display().to_string();
    let three = words.iter().map(|word| word.replace("inputs/*.png", "inputs/[1-3]*.png"));
    said(&heddle(&folder.path().join("data")).arg("run").args(three).output().unwrap());
    assert_eq!(size(&std::fs::read(fewer.join("sheet-image.png")).unwrap()), (3 * 320 + 4 * 16, 200 + 2 * 16));
}

#[test]
fn several_files_go_to_one_input() {
    let folder = TempDir::new().unwrap();
    let graph = Graph::default()
        .node("pictures", "input:image", json!({ "multiple": true, "accept": ["image/png"] }))
        .node("first", "input:image", json!({}))
        .node("grid", "utility:image_grid", json!({ "columns": 2, "cellWidth": 64, "cellHeight": 48, "gap": 4 }))
        .node("about", "utility:image_info", json!({}))
        .node("sheet", "output:image", json!({}))
        .node("size", "output:json", json!({}))
        .edge("pictures.image", "grid.images")
        .edge("grid.image", "sheet.image")
        .edge("first.image", "about.image")
        .edge("about.json", "size.json");
    let file = folder.path().join("grid.json");
    std::fs::write(&file, graph.named("grid").to_string()).unwrap();
    let mut run = heddle(&folder.path().join("data"));
    run.arg("run").arg(&file).args(["-i", "pictures=@examples/contact-sheet/inputs/[1-4]*.png"]);
    run.args(["-i", "first=@examples/contact-sheet/inputs/1-plain.png", "--json", "--out"])
        .arg(folder.path().join("out"));
    let json: Value = serde_json::from_str(&said(&run.output().unwrap())).unwrap();
    assert_eq!(json["sandbox"], false, "{json}");
    let about = &json["outputs"]["size"]["json"];
    assert_eq!((&about["width"], &about["height"]), (&320.into(), &240.into()), "{json}");
    let sheet = std::fs::read(folder.path().join("out/sheet-image.png")).unwrap();
    assert_eq!(size(&sheet), (2 * 64 + 3 * 4, 2 * 48 + 3 * 4));
}

#[test]
fn models_summarise_without_a_key_or_a_network() {
    let folder = TempDir::new().unwrap();
    let run = || heddle(&folder.path().join("data")).arg("run").args(shown("summarise")).output().unwrap();
    let (first, expected) = (run(), std::fs::read_to_string(example("summarise/expected.txt")).unwrap());
    assert_eq!(said(&first), expected);
    assert!(String::from_utf8_lossy(&first.stderr).contains("sandbox"), "it says who has answered");
    let mut words = shown("summarise");
    words.push("--json".to_owned());
    let again = heddle(&folder.path().join("data")).arg("run").args(words).output().unwrap();
    let json: Value = serde_json::from_str(&said(&again)).unwrap();
    assert_eq!((&json["sandbox"], &json["status"]), (&true.into(), &"COMPLETED".into()), "{json}");
    // A server that somebody names decides for itself.
    let server = ["--server", "http://127.0.0.1:1", "--key", "k"];
    let refused =
        heddle(&folder.path().join("data")).arg("run").args(shown("summarise")).args(server).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn a_message_goes_the_way_that_it_is_classified() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    for (name, skipped) in [
        ("refund", json!(["thanks", "person"])),
        ("praise", json!(["ask-refund", "refund", "person"])),
        ("other", json!(["ask-refund", "refund", "thanks"])),
    ] {
        let words =
            shown("classify-and-branch").into_iter().map(|word| word.replace("refund.txt", &format!("{name}.txt")));
        let words: Vec<String> = words.collect();
        let run = heddle(&data).arg("run").args(&words).output().unwrap();
        let expected = std::fs::read_to_string(example(&format!("classify-and-branch/expected/{name}.txt"))).unwrap();
        assert_eq!(said(&run), expected);
        let told = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(told.contains(&format!("{} skipped", skipped.as_array().unwrap().len())), "{told}");
        let json: Value =
            serde_json::from_str(&said(&heddle(&data).arg("run").args(words).arg("--json").output().unwrap())).unwrap();
        assert_eq!((&json["status"], &json["skippedNodes"]), (&"COMPLETED".into(), &skipped), "{json}");
    }
}

#[test]
fn rows_are_enriched_by_an_api_of_ones_own() {
    let folder = TempDir::new().unwrap();
    let (data, address) = (folder.path().join("data"), Api::start(true).address);
    let mut words = shown("http-enrich");
    words.extend(["-i".to_owned(), format!("api=http://{address}")]);
    let run = || heddle(&data).arg("run").args(&words).output().unwrap();
    let without = run();
    assert!(!without.status.success() && without.stdout.is_empty(), "without the credential nothing is asked");
    set_key(&data, &address);
    let expected = std::fs::read_to_string(example("http-enrich/expected.csv")).unwrap();
    assert_eq!(said(&run()).trim_end(), expected.trim_end());
}

#[test]
fn another_provider_answers_and_what_is_wrong_with_one_is_told() {
    let folder = TempDir::new().unwrap();
    let output = heddle(&folder.path().join("data")).arg("run").args(shown("fallback-providers")).output().unwrap();
    let expected = std::fs::read_to_string(example("fallback-providers/expected.txt")).unwrap();
    assert_eq!(said(&output), expected);
}

#[test]
fn a_text_is_summarised_part_by_part() {
    let folder = TempDir::new().unwrap();
    let output = heddle(&folder.path().join("data")).arg("run").args(shown("map-reduce")).output().unwrap();
    let expected = std::fs::read_to_string(example("map-reduce/expected.txt")).unwrap();
    assert_eq!(said(&output), expected);
}

#[test]
fn lines_are_scored_until_one_is_good_enough_or_all_rounds_are_over() {
    let folder = TempDir::new().unwrap();
    for topic in ["tides", "fog"] {
        let words = shown("generate-score-loop").into_iter().map(|word| word.replace("tides", topic));
        let output = heddle(&folder.path().join("data")).arg("run").args(words).output().unwrap();
        let expected = std::fs::read_to_string(example(&format!("generate-score-loop/expected/{topic}.txt"))).unwrap();
        assert_eq!(said(&output), expected);
    }
}

#[test]
fn of_500_prompts_those_that_fail_for_good_are_told() {
    let folder = TempDir::new().unwrap();
    let output = heddle(&folder.path().join("data")).arg("run").args(shown("batch-500")).output().unwrap();
    let json: Value = serde_json::from_str(&said(&output)).unwrap();
    let (answers, failed) = (&json["outputs"]["answers"]["json"], &json["outputs"]["failed"]["json"]);
    let answers = answers.as_array().unwrap();
    let indexes =
        |list: &Value| list.as_array().unwrap().iter().map(|error| error["index"].clone()).collect::<Vec<_>>();
    assert_eq!((answers.len(), json!(indexes(failed))), (500, json!([13, 113, 213, 313, 413])));
    for (index, answer) in answers.iter().enumerate() {
        let is_own = answer.as_str().is_some_and(|text| text.contains(&format!("No. {index}:")));
        assert_eq!(is_own, index % 100 != 13, "{index}: {answer}");
    }
}
