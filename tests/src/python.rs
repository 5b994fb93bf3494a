//! Programs of Python packages, for tests: installed once, by pip, into folders of the build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder of its own for some packages: what others need does not meet.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// Installs packages, each with its bounds as pip reads them, unless exactly these are there already. `None`, said aloud,
    /// where they cannot be installed.
    ///
    /// # Panics
    /// When they are missing in continuous integration.
    pub fn installed(name: &str, packages: &[&str]) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name);
        let (mark, wanted) = (folder.join("installed"), packages.join("\n"));
        let is_there = std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted);
        if !is_there && !install(&folder, packages) {
            let said = format!("{packages:?} cannot be installed (it takes python3 with venv, and pip's index)");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
            println!("SKIPPED: tests of {name}, because {said}");
            return None;
        }
        std::fs::write(&mark, wanted).unwrap_or_else(|error| panic!("no mark at {}: {error}", mark.display()));
        Some(Self { folder })
    }

    /// One of their programs; `python` itself is one.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }
}

fn install(folder: &Path, packages: &[&str]) -> bool {
    let run = |program: PathBuf, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let Some(path) = folder.to_str() else { return false };
    // Begun anew: another version's left-overs are no part of it.
    let made = run("python3".into(), &["-m", "venv", "--clear", path]);
    let arguments = [&["install", "--quiet", "--disable-pip-version-check"], packages].concat();
    made && run(folder.join("bin/pip"), &arguments)
}
