//! Results of a run that are files: from the server into a folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use heddle_error_chain::chain;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{FILE_NAME_PART_CHARS_MAX, FILE_NAME_TRIES_MAX, OUTPUT_FILES_MAX};

/// A value that stands for a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Media {
    url: String,
    media_type: String,
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(default)]
    digest: Option<String>,
}

/// One file among a run's results.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    node: String,
    port: String,
    /// Its place where a port gave several.
    index: Option<usize>,
    media: Media,
}

impl Found {
    /// The node that gave it.
    pub fn name(&self) -> &str {
        &self.node
    }
}

/// A file that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedFile {
    /// The node that gave it.
    pub node_id: String,
    /// The port it came out of.
    pub port: String,
    /// Its place where the port gave several.
    pub index: Option<usize>,
    /// Where it lies now.
    pub path: PathBuf,
    /// What it is.
    pub media_type: String,
    /// How long it is.
    pub bytes: u64,
    /// What the server calls it.
    #[serde(skip)]
    pub url: String,
}

/// The files among results, given by node and port, up to a limit.
pub fn find(outputs: &Map<String, Value>) -> Vec<Found> {
    let mut found = Vec::new();
    for (node, ports) in outputs {
        for (port, value) in ports.as_object().into_iter().flatten() {
            let mut media = Vec::new();
            collect(value, &mut media);
            let several = media.len() > 1 || value.is_array();
            found.extend(media.into_iter().enumerate().map(|(at, media)| Found {
                node: node.clone(),
                port: port.clone(),
                index: several.then_some(at),
                media,
            }));
        }
    }
    found.truncate(OUTPUT_FILES_MAX);
    found
}

fn collect(value: &Value, found: &mut Vec<Media>) {
    // Of an array, serde would take the texts in it for the fields of a file.
    if let (true, Ok(media)) = (value.is_object(), Media::deserialize(value)) {
        found.push(media);
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        _ => {}
    }
}

/// Saves one file; `None` for one that another server holds.
pub async fn save(client: &Client, folder: &Path, found: &Found) -> Result<Option<SavedFile>> {
    let Some(mut response) = client.download(&found.media.url).await? else { return Ok(None) };
    let cannot = |what: &str| format!("cannot {what} {}", folder.display());
    std::fs::create_dir_all(folder).context(Exit::Failed, cannot("make"))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).context(Exit::Failed, cannot("write to"))?;
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    loop {
        let chunk = response.chunk().await.map_err(|error| {
            Failure::failed(format!("the download of {} broke: {}", found.media.url, chain(&error)))
        })?;
        let Some(chunk) = chunk else { break };
        bytes += chunk.len() as u64;
        hash.update(&chunk);
        if found.media.bytes.is_some_and(|expected| bytes > expected) {
            break;
        }
        file.write_all(&chunk).context(Exit::Failed, cannot("write to"))?;
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    check(&found.media, bytes, &digest)?;
    let path = settle(file, folder, &file_name(found))?;
    Ok(Some(SavedFile {
        node_id: found.node.clone(),
        port: found.port.clone(),
        index: found.index,
        path,
        media_type: found.media.media_type.clone(),
        bytes,
        url: found.media.url.clone(),
    }))
}

/// Refuses what is not what the run made.
fn check(media: &Media, bytes: u64, digest: &str) -> Result<()> {
    if let Some(expected) = media.bytes.filter(|expected| *expected != bytes) {
        return Err(Failure::failed(format!("{} has not the {expected} bytes that the run made", media.url)));
    }
    let expected = media.digest.as_deref().map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest));
    let is_sha256 = |text: &&str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match expected.filter(is_sha256) {
        Some(expected) if !expected.eq_ignore_ascii_case(digest) => {
            Err(Failure::failed(format!("{} is not what the run made: its digest differs", media.url)))
        }
        _ => Ok(()),
    }
}

/// Gives the file its name, or the next free one: nothing is ever written over.
fn settle(mut file: tempfile::NamedTempFile, folder: &Path, (stem, ending): &(String, String)) -> Result<PathBuf> {
    for at in 0..FILE_NAME_TRIES_MAX {
        let name = if at == 0 { format!("{stem}.{ending}") } else { format!("{stem}-{at}.{ending}") };
        let path = folder.join(name);
        file = match file.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => error.file,
            Err(error) => {
                return Err(error.error).context(Exit::Failed, format_args!("cannot write {}", path.display()));
            }
        };
    }
    Err(Failure::failed(format!("{} has no free name for {stem}.{ending}", folder.display()))
        .with_next("choose another folder with --out"))
}

/// A name without any meaning to a file system: letters, digits, `-` and `_`, and one dot before the ending.
fn file_name(found: &Found) -> (String, String) {
    let clean = |text: &str| -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        let text: String = text.chars().map(letter).take(FILE_NAME_PART_CHARS_MAX).collect();
        if text.is_empty() { "_".to_owned() } else { text }
    };
    let index = found.index.map(|index| format!("-{index}")).unwrap_or_default();
    (format!("{}-{}{index}", clean(&found.node), clean(&found.port)), ending(&found.media.media_type))
}

/// The usual ending of a media type.
fn ending(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = match essence.as_str() {
        "image/jpeg" => Some("jpg"),
        "audio/mpeg" => Some("mp3"),
        "audio/wav" | "audio/x-wav" => Some("wav"),
        "video/mp4" => Some("mp4"),
        "text/plain" => Some("txt"),
        "text/html" => Some("html"),
        other => mime_guess::get_mime_extensions_str(other).and_then(|all| all.first().copied()),
    };
    known.unwrap_or("bin").to_owned()
}

/// The values as people read them: the path in place of each file that was saved.
pub fn with_paths(value: &mut Value, saved: &[SavedFile]) {
    if let Ok(media) = Media::deserialize(&*value) {
        if let Some(file) = saved.iter().find(|file| file.url == media.url) {
            *value = Value::String(file.path.display().to_string());
        }
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| with_paths(item, saved)),
        Value::Object(fields) => fields.values_mut().for_each(|field| with_paths(field, saved)),
        _ => {}
    }
}

/// A value without the object around it where that has one port; a text without its quotes.
pub fn bare(output: &Value) -> String {
    match output {
        Value::Object(ports) if ports.len() == 1 => ports.values().next().map(bare).unwrap_or_default(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::IntoResponse;
    use axum::{Router, routing::get};
    use serde_json::json;

    use super::*;

    /// A server that holds `picture` at /a/1, and wants its key.
    async fn server() -> Client {
        let file = |headers: HeaderMap| async move {
            match headers.get("Authorization").and_then(|value| value.to_str().ok()) {
                Some("Bearer sk-1") => "picture".into_response(),
                _ => StatusCode::UNAUTHORIZED.into_response(),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), Some("sk-1".into())).unwrap();
        let router = Router::new().route("/a/1", get(file));
        tokio::spawn(async move { axum::serve(listener, router).await });
        client
    }

    fn media(url: &str, digest: &str) -> Value {
        json!({"url": url, "mediaType": "image/png", "bytes": 7, "digest": digest})
    }

    fn outputs(node: &str, port: &str, value: Value) -> Map<String, Value> {
        let Value::Object(map) = json!({ node: { port: value } }) else { panic!("an object") };
        map
    }

    fn digest() -> String {
        Sha256::digest("picture").iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_list_of_texts_is_no_file() {
        for list in [json!(["warp", "weft"]), json!(["a", "b", 3, "c"]), json!([["a", "b"], {"c": ["d", "e"]}])] {
            assert_eq!(find(&outputs("out", "json", list)), []);
        }
        assert_eq!(find(&outputs("out", "json", json!([media("/a/1", "d")]))).len(), 1);
    }

    #[tokio::test]
    async fn files_are_saved_and_nothing_is_written_over() {
        let (client, temp) = (server().await, tempfile::tempdir().unwrap());
        let folder = temp.path().join("out");
        let list = json!([media("/a/1", &digest()), media(&format!("{}/a/1", client.origin()), &digest())]);
        let found = find(&outputs("draw", "images", list));
        let mut names = Vec::new();
        for _ in 0..2 {
            for file in &found {
                let saved = save(&client, &folder, file).await.unwrap().unwrap();
                assert_eq!(std::fs::read(&saved.path).unwrap(), b"picture");
                names.push(saved.path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
        let expected = ["draw-images-0.png", "draw-images-1.png", "draw-images-0-1.png", "draw-images-1-1.png"];
        assert_eq!(names, expected);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4, "nothing half-made stays");
    }

    #[tokio::test]
    async fn names_stay_inside_the_folder() {
        let (client, temp) = (server().await, tempfile::tempdir().unwrap());
        let folder = temp.path().join("out");
        for (node, port) in [("../../etc/x", "p"), ("..", ".."), ("/abs", "a/b"), ("", "\0"), (&*"n".repeat(500), "é")]
        {
            let found = find(&outputs(node, port, media("/a/1", &digest())));
            let saved = save(&client, &folder, &found[0]).await.unwrap().unwrap();
            assert_eq!(saved.path.parent(), Some(folder.as_path()), "{node:?}");
            assert!(saved.path.symlink_metadata().unwrap().is_file());
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "all of it is in the folder");
        // A link that waits where the file goes is not followed.
        let target = temp.path().join("target");
        std::os::unix::fs::symlink(&target, folder.join("a-b.png")).unwrap();
        let found = find(&outputs("a", "b", media("/a/1", &digest())));
        let saved = save(&client, &folder, &found[0]).await.unwrap().unwrap();
        assert_eq!((saved.path, target.exists()), (folder.join("a-b-1.png"), false));
    }

    #[tokio::test]
    async fn what_is_not_what_the_run_made_is_refused_and_leaves_nothing() {
        let (client, temp) = (server().await, tempfile::tempdir().unwrap());
        for value in [
            media("/a/1", &"0".repeat(64)),
            json!({"url": "/a/1", "mediaType": "image/png", "bytes": 3}),
            json!({"url": "/a/1", "mediaType": "image/png", "bytes": 9}),
            json!({"url": "/a/2", "mediaType": "image/png"}),
        ] {
            let found = find(&outputs("a", "b", value));
            assert!(save(&client, temp.path(), &found[0]).await.is_err());
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_key_goes_to_its_own_server_only() {
        let (client, temp) = (server().await, tempfile::tempdir().unwrap());
        for url in ["http://127.0.0.1:1/a/1", "//elsewhere/a/1", "file:///etc/passwd", "data:,x"] {
            let found = find(&outputs("a", "b", media(url, &digest())));
            assert_eq!(save(&client, temp.path(), &found[0]).await.unwrap(), None, "{url}");
        }
    }

    #[test]
    fn paths_stand_for_saved_files() {
        let mut value = json!({"image": media("/a/1", "x"), "other": [media("/a/2", "y")]});
        let file = SavedFile {
            node_id: "n".into(),
            port: "image".into(),
            index: None,
            path: "out/n-image.png".into(),
            media_type: "image/png".into(),
            bytes: 7,
            url: "/a/1".into(),
        };
        with_paths(&mut value, &[file]);
        assert_eq!(value, json!({"image": "out/n-image.png", "other": [media("/a/2", "y")]}));
        let endings = ["image/jpeg", "text/plain; charset=utf-8", "application/x-nothing", ""].map(ending);
        assert_eq!(endings, ["jpg", "txt", "bin", "bin"]);
    }
}
