//! Files that are texts, and texts that options give.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Context, Exit, Failure, Result};

/// Reads a file of at most so many bytes.
pub fn read(path: &Path, bytes_max: u64) -> Result<String> {
    let file = File::open(path).context(Exit::Usage, format_args!("cannot open {}", path.display()))?;
    let mut text = String::new();
    let read = file.take(bytes_max + 1).read_to_string(&mut text);
    let bytes = read.context(Exit::Usage, format_args!("cannot read {}", path.display()))?;
    if bytes as u64 > bytes_max {
        let message = format!("{} is larger than {bytes_max} bytes", path.display());
        return Err(Failure::usage(message)
            .with_next("make it smaller; large values are uploaded with `heddle run -i NODE=@FILE`, and named where they are needed"));
    }
    Ok(text)
}

/// What an option gives: itself, or what is in the file (`@FILE`) or the standard input (`@-`) that it names.
pub fn given(given: &str, bytes_max: u64) -> Result<String> {
    match given.strip_prefix('@') {
        None => Ok(given.to_owned()),
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().take(bytes_max + 1).read_to_string(&mut text);
            let bytes = read.context(Exit::Usage, "cannot read the standard input")?;
            match bytes as u64 > bytes_max {
                true => Err(Failure::usage(format!("the standard input has more than {bytes_max} bytes"))),
                false => Ok(text),
            }
        }
        Some(text) if text.starts_with('@') => Ok(text.to_owned()),
        Some(path) => read(Path::new(path), bytes_max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_their_bound() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("text");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), "four");
        let refused = read(&path, 3).unwrap_err();
        assert!(refused.message.ends_with("is larger than 3 bytes") && refused.next.is_some(), "{refused}");
        assert!(read(temp.path(), 3).is_err());
    }
}
