//! Pieces in a folder that have no name yet. The library that writes them calls them after what they are to become, with
//! `#` and a number behind it, and passes over them when it lists; who is killed on the way leaves them there.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Folders within folders: tenant, then two digits or uploads.
const DEPTH_MAX: usize = 3;

/// Removes those that were not written to since `before`. Gives their number and bytes.
pub(crate) fn sweep(folder: &Path, before: SystemTime) -> io::Result<(u64, u64)> {
    let mut swept = (0, 0);
    within(folder, before, DEPTH_MAX, &mut swept)?;
    Ok(swept)
}

fn within(folder: &Path, before: SystemTime, depth: usize, swept: &mut (u64, u64)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 {
            within(&entry.path(), before, depth - 1, swept)?;
        }
        if !kind.is_file() || !is_staged(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let found = match entry.metadata() {
            Ok(found) => found,
            // Its writer has given it its name meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if found.modified()? >= before {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Ok(()) => *swept = (swept.0 + 1, swept.1 + found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_staged(name: &str) -> bool {
    let number = name.split_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
