//! Where a store is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use crate::error::StoreError;

/// Where a store is. It holds no secret: keys come from the environment of each process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket of S3, or of what speaks its protocol.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all names begin with; may be empty.
        prefix: String,
        /// Where the service is, if it is not Amazon's.
        endpoint: Option<String>,
        /// Its region.
        region: Option<String>,
    },
}

impl Address {
    /// Whether only one machine has it.
    pub fn is_local(&self) -> bool {
        matches!(self, Address::Folder(_))
    }
}

impl FromStr for Address {
    type Err = StoreError;

    /// Reads `s3://bucket/prefix?endpoint=…&region=…`, `file:///folder`, or the path of a folder.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        // Only what it begins with: the rest may hold a password.
        let wrong =
            || StoreError::Address { address: text.split_inclusive("://").next().unwrap_or_default().to_owned() };
        if !text.contains("://") {
            let path = std::path::absolute(Path::new(text)).map_err(|_| wrong())?;
            return Ok(Address::Folder(path));
        }
        let url = Url::parse(text).map_err(|_| wrong())?;
        match url.scheme() {
            "file" => url.to_file_path().map(Address::Folder).map_err(|()| wrong()),
            "s3" => s3(&url).unwrap_or_else(|| Err(wrong())),
            _ => Err(wrong()),
        }
    }
}

fn s3(url: &Url) -> Option<Result<Address, StoreError>> {
    // A password in an address would stand in logs and in the agents' handshake.
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return None;
    }
    let bucket = url.host_str()?.to_owned();
    let prefix = url.path().trim_matches('/').to_owned();
    let (mut endpoint, mut region) = (None, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "endpoint" => endpoint = Some(value.into_owned()),
            "region" => region = Some(value.into_owned()),
            _ => return Some(Err(StoreError::Option { name: name.into_owned() })),
        }
    }
    Some(Ok(Address::S3 { bucket, prefix, endpoint, region }))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Folder(path) => match Url::from_file_path(path) {
                Ok(url) => f.write_str(url.as_str()),
                Err(()) => write!(f, "{}", path.display()),
            },
            Address::S3 { bucket, prefix, endpoint, region } => {
                write!(f, "s3://{bucket}/{prefix}")?;
                let options = [("endpoint", endpoint), ("region", region)];
                let given = options.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
                for (number, (name, value)) in given.enumerate() {
                    write!(f, "{}{name}={value}", if number == 0 { '?' } else { '&' })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in [
            "file:///data/artifacts",
            "s3://bucket/",
            "s3://bucket/a/b",
            "s3://bucket/a?endpoint=http://127.0.0.1:9000&region=eu-1",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("/data/a b".parse::<Address>().unwrap().to_string(), "file:///data/a%20b");
        assert!("artifacts".parse::<Address>().unwrap().is_local());
        for (bad, code) in [
            ("gs://bucket/a", "artifact_store_address_invalid"),
            ("s3://key:secret@bucket/a", "artifact_store_address_invalid"),
            ("s3:///a", "artifact_store_address_invalid"),
            ("s3://bucket/a?secret=1", "artifact_store_address_invalid"),
            ("file://host.example/x", "artifact_store_address_invalid"),
        ] {
            let error = bad.parse::<Address>().unwrap_err();
            assert_eq!(error.code(), code, "{bad}");
            assert!(!error.to_string().contains("secret@"), "{error}");
        }
    }
}
