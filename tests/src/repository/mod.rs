//! The rules of the repository as functions from text to problems, so that each can be shown to fail.
//!
//! `tests/tests/layering.rs` and `tests/tests/tidy.rs` run them over the tree.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub mod blocks;
pub mod codes;
pub mod documents;
pub mod layering;
pub mod sentences;
pub mod source;
pub mod tenancy;
pub mod words;

/// One broken rule, at a place that an editor can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path from the root of the repository.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong and what to do instead.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A file of the repository that is text.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// Path from the root of the repository, with `/` between its parts.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl TextFile {
    /// A file as the checkers see it.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Whether the name ends in this extension, given without its dot.
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The name without its folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Lines with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn problem(&self, line: usize, what: impl Into<String>) -> Problem {
        Problem { path: self.path.clone(), line, what: what.into() }
    }
}

/// The folder that holds the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file that a person wrote, in order of path: what git keeps or would keep, without lock files.
///
/// # Errors
/// When git does not answer, or a file cannot be read.
pub fn text_files(root: &Path) -> io::Result<Vec<TextFile>> {
    let mut git = Command::new("git");
    // The checkout may belong to another user than the one who tests it.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.current_dir(root).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths: BTreeSet<&str> = listed.split_terminator('\0').filter(|path| !is_lock_file(path)).collect();
    let mut files = Vec::new();
    for path in paths {
        match fs::read_to_string(root.join(path)) {
            Ok(text) => files.push(TextFile::new(path, text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {} // a picture
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}    // deleted, but not committed yet
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Panics with all problems, one a line.
///
/// # Panics
/// When there is a problem.
#[track_caller]
pub fn assert_none(problems: &[Problem]) {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(lines.is_empty(), "{} problems\n{}\n", lines.len(), lines.join("\n"));
}

fn is_lock_file(path: &str) -> bool {
    path.ends_with("Cargo.lock") || path.ends_with("package-lock.json")
}
