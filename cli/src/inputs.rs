//! Inputs of a run, as people give them: texts, JSON, files, patterns of files, the standard input.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use serde_json::{Map, Value};

use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{INPUT_FILES_MAX, INPUT_TEXT_BYTES_MAX};
use crate::workflow_file::WorkflowFile;

/// Brings a file to the server.
pub trait Upload: Sync {
    /// Returns the value that stands for the file.
    fn upload<'a>(&'a self, path: &'a Path, media_type: &'a str) -> BoxFuture<'a, Result<Value>>;
}

/// The inputs, read as far as that goes without a server.
#[derive(Debug, Default)]
pub struct Inputs {
    ready: Map<String, Value>,
    files: Vec<(String, FileInput)>,
}

/// One input that is a file or several.
#[derive(Debug)]
struct FileInput {
    files: Vec<(PathBuf, String)>,
    is_list: bool,
}

/// What stands behind the `@` of one input.
enum Source {
    Stdin,
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl Inputs {
    /// Reads inputs given as `NAME=TEXT`, `NAME:=JSON`, `NAME=@FILE`, `NAME=@PATTERN` and `NAME=@-`. `NAME=@@x` is the text
    /// `@x`. Texts and JSON in files are read here; other files wait for [`Inputs::upload`].
    pub fn read(given: &[String], file: &WorkflowFile, stdin: &mut dyn Read) -> Result<Self> {
        let (mut plain, mut inputs, mut read_stdin) = (Vec::new(), Inputs::default(), false);
        for pair in given {
            let Some((name, place)) = file_pair(pair) else {
                plain.push(unescaped(pair));
                continue;
            };
            match source(place)? {
                Source::Stdin if read_stdin => {
                    return Err(Failure::usage("the standard input can be given to one input only"));
                }
                Source::Stdin => {
                    read_stdin = true;
                    plain.push(format!("{name}={}", text(stdin, "the standard input")?.ok_or_else(no_text)?));
                }
                Source::One(path) => match content(&path, name, file)? {
                    Content::Text(text) => plain.push(format!("{name}={text}")),
                    Content::Media(media_type) => {
                        let files = vec![(path, media_type)];
                        inputs.file(name, file, FileInput { files, is_list: false })?;
                    }
                },
                Source::Several(paths) => several(&mut inputs, &mut plain, name, file, paths)?,
            }
        }
        inputs.ready = file.inputs(&plain)?;
        match inputs.files.iter().find(|(key, _)| inputs.ready.contains_key(key)) {
            Some((key, _)) => Err(twice(key)),
            None => Ok(inputs),
        }
    }

    fn file(&mut self, name: &str, file: &WorkflowFile, input: FileInput) -> Result<()> {
        if name.ends_with(':') {
            return Err(Failure::usage(format!("the file for {name:?} is no text, so it holds no JSON")));
        }
        let key = if file.node_type(name).is_some() { file.resolve(name)?.to_owned() } else { name.to_owned() };
        if self.files.iter().any(|(known, _)| *known == key) {
            return Err(twice(&key));
        }
        self.files.push((key, input));
        Ok(())
    }

    /// How many files have to go to the server.
    pub fn files_count(&self) -> usize {
        self.files.iter().map(|(_, input)| input.files.len()).sum()
    }

    /// Brings the files to the server; returns all inputs.
    pub async fn upload(self, server: &dyn Upload, mut each: impl FnMut(&Path)) -> Result<Map<String, Value>> {
        let mut all = self.ready;
        for (key, input) in self.files {
            let mut values = Vec::with_capacity(input.files.len());
            for (path, media_type) in &input.files {
                each(path);
                values.push(server.upload(path, media_type).await?);
            }
            let value = match (input.is_list, values.pop()) {
                (false, Some(one)) => one,
                (_, last) => values.into_iter().chain(last).collect(),
            };
            all.insert(key, value);
        }
        Ok(all)
    }
}

/// The name and what follows the `@`; nothing for an input that is no file.
fn file_pair(pair: &str) -> Option<(&str, &str)> {
    let (name, value) = pair.split_once('=')?;
    let place = value.strip_prefix('@').filter(|place| !place.starts_with('@'))?;
    Some((name, place))
}

fn unescaped(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, value)) if value.starts_with("@@") => format!("{name}={}", &value[1..]),
        _ => pair.to_owned(),
    }
}

fn twice(key: &str) -> Failure {
    Failure::usage(format!("the input {key:?} is given twice"))
}

fn no_text() -> Failure {
    Failure::usage("the standard input is no text").with_next("write it to a file and give that: -i NAME=@FILE")
}

fn source(place: &str) -> Result<Source> {
    if place == "-" {
        return Ok(Source::Stdin);
    }
    if place.is_empty() {
        return Err(Failure::usage("there is no file name after the @").with_next("write -i NAME=@FILE"));
    }
    // A file of this very name is meant, whatever its name looks like.
    if !place.contains(['*', '?', '[']) || Path::new(place).exists() {
        return Ok(Source::One(place.into()));
    }
    let found = glob::glob(place).context(Exit::Usage, format_args!("{place:?} is no pattern"))?;
    let found: Vec<PathBuf> = found
        .take(INPUT_FILES_MAX + 1)
        .collect::<std::result::Result<_, _>>()
        .context(Exit::Usage, format_args!("cannot list {place:?}"))?;
    match found.len() {
        0 => Err(Failure::usage(format!("no file fits {place:?}"))),
        count if count > INPUT_FILES_MAX => {
            Err(Failure::usage(format!("more than {INPUT_FILES_MAX} files fit {place:?}"))
                .with_next("give fewer at once"))
        }
        _ => Ok(Source::Several(found.into_iter().filter(|path| path.is_file()).collect())),
    }
}

/// What a file is, for the server.
pub enum Content {
    /// Goes as a text.
    Text(String),
    /// A file for the server, and what it is.
    Media(String),
}

/// Reads a file that is a text; any other stays where it is.
pub fn content_of(path: &Path) -> Result<Content> {
    read_content(path, false)
}

fn content(path: &Path, name: &str, file: &WorkflowFile) -> Result<Content> {
    let wants_file = matches!(
        file.node_type(name.trim_end_matches(':')),
        Some("input:image" | "input:video" | "input:audio" | "input:file")
    );
    read_content(path, wants_file)
}

fn read_content(path: &Path, wants_file: bool) -> Result<Content> {
    let shown = path.display();
    let found = std::fs::metadata(path).context(Exit::Usage, format_args!("cannot read {shown}"))?;
    if !found.is_file() {
        return Err(Failure::usage(format!("{shown} is no file")));
    }
    let media_type = mime_guess::from_path(path).first_or_octet_stream();
    let is_media = matches!(media_type.type_().as_str(), "image" | "video" | "audio" | "font");
    if wants_file || is_media || media_type == "application/pdf" {
        return Ok(Content::Media(media_type.to_string()));
    }
    if found.len() > INPUT_TEXT_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{shown} is larger than {INPUT_TEXT_BYTES_MAX} bytes, the most for a text"
        ))
        .with_next("give it to a node of the type input:file"));
    }
    let mut open = File::open(path).context(Exit::Usage, format_args!("cannot open {shown}"))?;
    Ok(match text(&mut open, &shown.to_string())? {
        Some(text) => Content::Text(text),
        None => Content::Media(media_type.to_string()),
    })
}

/// Reads a text; `None` for what is no UTF-8.
fn text(from: &mut dyn Read, what: &str) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = from.take(INPUT_TEXT_BYTES_MAX + 1).read_to_end(&mut bytes);
    if read.context(Exit::Usage, format_args!("cannot read {what}"))? as u64 > INPUT_TEXT_BYTES_MAX {
        return Err(Failure::usage(format!("{what} is larger than {INPUT_TEXT_BYTES_MAX} bytes")));
    }
    Ok(String::from_utf8(bytes).ok())
}

/// A pattern gives a list, be it of one: all texts, or all files.
fn several(
    inputs: &mut Inputs,
    plain: &mut Vec<String>,
    name: &str,
    file: &WorkflowFile,
    paths: Vec<PathBuf>,
) -> Result<()> {
    let (mut texts, mut files) = (Vec::new(), Vec::new());
    for path in paths {
        match content(&path, name, file)? {
            Content::Text(text) => texts.push(Value::String(text)),
            Content::Media(media_type) => files.push((path, media_type)),
        }
    }
    match (texts.is_empty(), files.is_empty()) {
        (false, false) => Err(Failure::usage(format!("the files for {name:?} are texts and others"))
            .with_next("give a pattern that fits one kind, such as *.txt")),
        (false, true) => {
            plain.push(format!("{}:={}", name.trim_end_matches(':'), Value::Array(texts)));
            Ok(())
        }
        (true, _) => inputs.file(name, file, FileInput { files, is_list: true }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    /// Keeps what it was given instead of sending it.
    #[derive(Default)]
    struct Shelf(Mutex<Vec<String>>);

    impl Upload for Shelf {
        fn upload<'a>(&'a self, path: &'a Path, media_type: &'a str) -> BoxFuture<'a, Result<Value>> {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            self.0.lock().unwrap().push(format!("{name} {media_type}"));
            Box::pin(async move { Ok(json!({ "url": format!("/a/{name}") })) })
        }
    }

    fn folder() -> (tempfile::TempDir, WorkflowFile) {
        let temp = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(temp.path().join(name), bytes).unwrap();
        let graph = json!({"nodes": [
            {"id": "t", "data": {"label": "Topic", "nodeType": "input:text"}},
            {"id": "n", "data": {"nodeType": "input:json"}},
            {"id": "f", "data": {"nodeType": "input:file"}},
        ], "edges": []});
        write("w.json", graph.to_string().as_bytes());
        write("a.txt", "tides".as_bytes());
        write("b.txt", "herons".as_bytes());
        write("one.png", &[0x89, b'P', 0xff]);
        write("two.png", &[0x89, b'P', 0xfe]);
        write("blob", &[0xff, 0xfe]);
        write("size.json", b"{\"w\": 3}");
        let file = WorkflowFile::read(&temp.path().join("w.json")).unwrap();
        (temp, file)
    }

    async fn inputs(given: &[&str]) -> Result<(Value, Vec<String>)> {
        let (temp, file) = folder();
        let at = |pair: &&str| pair.replace('~', temp.path().to_str().unwrap());
        let given: Vec<String> = given.iter().map(at).collect();
        let inputs = Inputs::read(&given, &file, &mut "from stdin".as_bytes())?;
        let shelf = Shelf::default();
        let all = inputs.upload(&shelf, |_| ()).await?;
        Ok((Value::Object(all), shelf.0.into_inner().unwrap()))
    }

    #[tokio::test]
    async fn texts_are_read_and_other_files_are_sent() {
        let (all, sent) = inputs(&["Topic=@~/a.txt", "n=@~/size.json", "f=@~/b.txt", "x=@~/one.png"]).await.unwrap();
        let expected = json!({"t": "tides", "n": {"w": 3}, "f": {"url": "/a/b.txt"}, "x": {"url": "/a/one.png"}});
        assert_eq!(all, expected);
        assert_eq!(sent, ["b.txt text/plain", "one.png image/png"]);
        let (all, sent) = inputs(&["t=@-", "y:=@~/size.json", "z=@@home", "b=@~/blob"]).await.unwrap();
        let expected = json!({"t": "from stdin", "y": {"w": 3}, "z": "@home", "b": {"url": "/a/blob"}});
        assert_eq!(all, expected);
        assert_eq!(sent, ["blob application/octet-stream"]);
    }

    #[tokio::test]
    async fn patterns_give_lists() {
        let (all, _) = inputs(&["x=@~/*.png", "y=@~/[ab].txt", "z=@~/one.p?g"]).await.unwrap();
        let expected = json!({
            "x": [{"url": "/a/one.png"}, {"url": "/a/two.png"}], "y": ["tides", "herons"], "z": [{"url": "/a/one.png"}],
        });
        assert_eq!(all, expected);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_a_usage_error() {
        for wrong in [
            &["t=@~/absent.txt"][..],
            &["t=@~/*.gif"],
            &["t=@~"],
            &["t=@"],
            &["x=@~/*"],
            &["x:=@~/one.png"],
            &["n=@~/a.txt"],
            &["t=@-", "x=@-"],
            &["t=@~/a.txt", "Topic=x"],
            &["f=@~/one.png", "f=@~/two.png"],
            &["f=@~/one.png", "f=x"],
        ] {
            assert_eq!(inputs(wrong).await.unwrap_err().exit, Exit::Usage, "{wrong:?}");
        }
    }
}
