//! The examples do what their READMEs say, in one command each.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::process::command;
use cluster_tests::repository;
use serde_json::{Value, json};
use tempfile::TempDir;

fn heddle(data: &Path) -> Command {
    let mut command = command();
    command.current_dir(repository::root()).env("HEDDLE_DATA", data);
    command
}

fn example(file: &str) -> PathBuf {
    repository::root().join("examples").join(file)
}

/// The command that the README of an example shows, word by word.
fn shown(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(example(&format!("{name}/README.md"))).unwrap();
    let whole = text.replace("\\\n", " ");
    let line = whole.lines().find_map(|line| line.strip_prefix("heddle run ")).unwrap();
    line.split_whitespace().map(|word| word.replace('\'', "")).collect()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Width and height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[1..4], b"PNG");
    let number = |from: usize| u32::from_be_bytes(png[from..from + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn a_contact_sheet_is_made_of_six_pictures() {
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

/// The API of the example: the files of its folder.
fn api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that goes away is not this server's matter.
            let _served = serve(connection);
        }
    });
    address
}

fn serve(mut connection: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let has_key =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).any(|line| line.ends_with("atlas-key"));
    let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let file = std::fs::read(example("http-enrich/api").join(name));
    let (status, body) = match file {
        Ok(body) if has_key => ("200 OK", body),
        Ok(_) => ("401 Unauthorized", Vec::new()),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes())?;
    connection.write_all(&body)?;
    // Until the client has read it all.
    connection.read(&mut [0; 64]).map(|_| ())
}

#[test]
fn rows_are_enriched_by_an_api_of_ones_own() {
    let folder = TempDir::new().unwrap();
    let (data, address) = (folder.path().join("data"), api());
    let mut words = shown("http-enrich");
    words.extend(["-i".to_owned(), format!("api=http://{address}")]);
    let run = || heddle(&data).arg("run").args(&words).output().unwrap();
    let without = run();
    assert!(!without.status.success() && without.stdout.is_empty(), "without the credential nothing is asked");
    let mut set = heddle(&data);
    set.args(["secrets", "set", "atlas", "--host", &address, "--allow-private"]).stdin(Stdio::piped());
    let mut set = set.stderr(Stdio::null()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"atlas-key").unwrap();
    assert!(set.wait().unwrap().success());
    let expected = std::fs::read_to_string(example("http-enrich/expected.csv")).unwrap();
    assert_eq!(said(&run()).trim_end(), expected.trim_end());
}
