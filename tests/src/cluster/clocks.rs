//! Clocks of processes that a test sets (libfaketime), each for itself; time that is measured goes on as it is.

use std::path::PathBuf;

use tempfile::TempDir;

/// The true time.
pub const TRUE: &str = "+0";

/// A clock for each process, as a file that says how far from the true time it is.
#[derive(Debug)]
pub struct Clocks {
    folder: TempDir,
    library: PathBuf,
}

impl Clocks {
    /// None, said aloud, where the library is missing; in CI that is a failure.
    ///
    /// # Panics
    /// When it is missing in CI.
    pub fn here() -> Option<Self> {
        let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path());
        let libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.into_iter().find(|library| library.is_file()) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "libfaketime is missing: apt-get install faketime");
            println!("SKIPPED: no clock jumps, because libfaketime is missing (get it: apt-get install faketime)");
            return None;
        };
        let folder = TempDir::new().unwrap_or_else(|error| panic!("no folder: {error}"));
        Some(Self { folder, library })
    }

    /// From now on the clock of this name is so many seconds from the true time: `+3600`. It is read at each look at the clock.
    ///
    /// # Panics
    /// When its file cannot be written.
    pub fn set(&self, name: &str, offset: &str) {
        let next = self.folder.path().join("next");
        let set = std::fs::write(&next, offset).and_then(|()| std::fs::rename(next, self.file(name)));
        set.unwrap_or_else(|error| panic!("the clock {name} is not set: {error}"));
    }

    /// What a process that goes by the clock of this name has in its environment. A new clock says the true time.
    pub fn variables(&self, name: &str) -> Vec<(String, String)> {
        let file = self.file(name);
        if !file.exists() {
            self.set(name, TRUE);
        }
        let variables = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
