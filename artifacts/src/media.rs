//! What an artifact is: told by its first bytes, never by what its sender says alone.

/// As many first bytes as it takes to tell.
pub const SNIFF_BYTES: usize = 8 * 1024;
/// What cannot be told.
pub const UNKNOWN: &str = "application/octet-stream";
/// Bytes of a media type's text.
const MEDIA_TYPE_BYTES_MAX: usize = 128;

/// The type that the bytes have and their sender says they have, or why these disagree.
///
/// # Errors
/// [`Mismatch`] if the bytes are something else, or if the type is one that its first bytes always show and they do not.
pub fn settle(declared: Option<&str>, first: &[u8]) -> Result<String, Mismatch> {
    let declared = declared.and_then(essence).filter(|declared| declared != UNKNOWN);
    let found = sniffed(first);
    match (declared, found) {
        (None, found) => Ok(found.unwrap_or_else(|| text_or_unknown(first)).to_owned()),
        (Some(declared), Some(found)) if are_alike(&declared, found) => Ok(declared),
        (Some(declared), Some(found)) => Err(Mismatch { declared, found: found.to_owned() }),
        (Some(declared), None) if shows_itself(&declared) => {
            Err(Mismatch { declared, found: text_or_unknown(first).to_owned() })
        }
        (Some(declared), None) => Ok(declared),
    }
}

/// What was declared and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file is declared as {declared}, and its bytes are {found}; declare what it is, or send what was declared")]
pub struct Mismatch {
    /// What its sender says.
    pub declared: String,
    /// What its bytes say.
    pub found: String,
}

/// A media type without its parameters, in lower case; none if it is not one.
pub fn essence(text: &str) -> Option<String> {
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, name) = essence.split_once('/')?;
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    (essence.len() <= MEDIA_TYPE_BYTES_MAX && is_token(kind) && is_token(name)).then_some(essence)
}

/// Whether a browser may show it in place: it cannot run anything.
pub fn is_safe_inline(media_type: &str) -> bool {
    let is_picture = matches!(media_type, "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif");
    let is_plain = matches!(media_type, "application/json" | "text/plain");
    is_picture || is_plain || media_type.starts_with("video/") || media_type.starts_with("audio/")
}

fn sniffed(first: &[u8]) -> Option<&'static str> {
    let markup = first.trim_ascii_start();
    let begins = |tag: &[u8]| markup.len() >= tag.len() && markup[..tag.len()].eq_ignore_ascii_case(tag);
    let has_svg = markup.windows(4).any(|window| window.eq_ignore_ascii_case(b"<svg"));
    if begins(b"<svg") || begins(b"<?xml") && has_svg {
        return Some("image/svg+xml");
    }
    if begins(b"<!doctype html") || begins(b"<html") || begins(b"<script") {
        return Some("text/html");
    }
    infer::get(first).map(|kind| kind.mime_type())
}

fn text_or_unknown(first: &[u8]) -> &'static str {
    // The last character may be cut.
    let is_text = match std::str::from_utf8(first) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && first.len() >= SNIFF_BYTES - 4,
    };
    if is_text && !first.contains(&0) { "text/plain" } else { UNKNOWN }
}

/// Whether a declared type is another name of what was found.
fn are_alike(declared: &str, found: &str) -> bool {
    const NAMES: &[&[&str]] = &[
        &["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"],
        &["audio/mpeg", "audio/mp3"],
        &["audio/m4a", "audio/x-m4a", "audio/mp4", "video/mp4", "video/quicktime", "video/x-m4v"],
        &["audio/ogg", "application/ogg", "video/ogg", "audio/opus"],
        &["audio/x-flac", "audio/flac"],
        &["video/webm", "audio/webm", "video/x-matroska"],
        &["video/mpeg", "audio/mpeg"],
        &["image/jpeg", "image/jpg"],
        &["text/xml", "application/xml", "image/svg+xml", "application/xhtml+xml"],
        &["application/gzip", "application/x-gzip"],
    ];
    let is_zip = found == "application/zip" && declared.starts_with("application/vnd.");
    declared == found || is_zip || NAMES.iter().any(|names| names.contains(&declared) && names.contains(&found))
}

/// Whether files of this type always begin with bytes that tell it.
fn shows_itself(declared: &str) -> bool {
    matches!(
        declared,
        "image/png"
            | "image/jpeg"
            | "image/jpg"
            | "image/gif"
            | "image/webp"
            | "image/avif"
            | "video/mp4"
            | "video/webm"
            | "video/quicktime"
            | "audio/wav"
            | "audio/x-wav"
            | "application/pdf"
            | "application/zip"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn bytes_tell_what_a_file_is() {
        for (declared, first, expected) in [
            (None, PNG, Ok("image/png")),
            (Some("image/png; q=1"), PNG, Ok("image/png")),
            (Some("application/octet-stream"), PNG, Ok("image/png")),
            (Some("image/jpeg"), PNG, Err("image/png")),
            (Some("image/png"), b"hello", Err("text/plain")),
            (Some("image/png"), b"<html><script>", Err("text/html")),
            (Some("text/plain"), b" <!DOCTYPE html><p>", Err("text/html")),
            (Some("text/csv"), b"a,b", Ok("text/csv")),
            (None, b"a,b", Ok("text/plain")),
            (None, b"\0\x01\x02", Ok(UNKNOWN)),
            (None, b"<?xml version='1.0'?><svg/>", Ok("image/svg+xml")),
            (Some("nonsense"), b"x", Ok("text/plain")),
            (Some("image/png"), b"", Err("text/plain")),
        ] {
            let settled = settle(declared, first).map_err(|mismatch| mismatch.found);
            assert_eq!(settled, expected.map(str::to_owned).map_err(str::to_owned), "{declared:?} {first:?}");
        }
    }

    #[test]
    fn nothing_that_runs_is_shown_in_place() {
        assert!(["image/png", "video/mp4", "application/json"].into_iter().all(is_safe_inline));
        assert!(
            !["text/html", "image/svg+xml", "application/xhtml+xml", UNKNOWN, "text/xml"]
                .into_iter()
                .any(is_safe_inline)
        );
    }
}
