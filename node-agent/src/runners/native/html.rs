//! What an HTML text may cost before it is read.
//!
//! A reader of HTML puts right what is broken: elements that are never closed nest ever deeper, and open ones that shape
//! text are opened anew in every block. So their number is bounded first.

use std::collections::HashMap;

use super::call::refused;
use crate::limits::{HTML_BYTES_MAX, HTML_DEPTH_MAX, HTML_SHAPING_MAX};
use crate::runners::Failure;

/// Elements that have no end.
const EMPTY: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements that the next of their kind ends.
const ENDED: [&str; 9] = ["dd", "dt", "li", "option", "p", "tbody", "td", "th", "tr"];
/// Elements that are opened anew in the next block.
const SHAPING: [&str; 14] =
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"];

/// Refuses a text that would cost too much to read.
///
/// # Errors
/// `html_too_long`, `html_too_deep`.
pub(super) fn check(html: &str) -> Result<(), Failure> {
    if html.len() > HTML_BYTES_MAX {
        let message = format!("the HTML has {} bytes of at most {HTML_BYTES_MAX}; give a part of it", html.len());
        return Err(refused("html_too_long", message));
    }
    let (depth, shaping) = most_open(html);
    if depth > HTML_DEPTH_MAX || shaping > HTML_SHAPING_MAX {
        let message = format!(
            "up to {depth} elements are open at once, {shaping} of them like <b>, of at most {HTML_DEPTH_MAX} and \
             {HTML_SHAPING_MAX}; close them, or give a part of the page"
        );
        return Err(refused("html_too_deep", message));
    }
    Ok(())
}

/// The most elements that are open at once, and the most of these that shape text. An end without a start ends nothing.
fn most_open(html: &str) -> (usize, usize) {
    let mut open: HashMap<String, usize> = HashMap::new();
    let (mut depth, mut shaping) = (0_usize, 0_usize);
    let (mut depth_max, mut shaping_max) = (0, 0);
    for rest in html.split('<').skip(1) {
        let (is_end, rest) = rest.strip_prefix('/').map_or((false, rest), |rest| (true, rest));
        let end = rest.find(|end: char| !end.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        if name.is_empty() || EMPTY.contains(&&*name) || ENDED.contains(&&*name) {
            continue;
        }
        let shapes = usize::from(SHAPING.contains(&&*name));
        let count = open.entry(name).or_default();
        match (is_end, *count) {
            (true, 0) => {}
            (true, _) => {
                *count -= 1;
                depth -= 1;
                shaping -= shapes;
            }
            (false, _) => {
                *count += 1;
                depth += 1;
                shaping += shapes;
            }
        }
        depth_max = depth_max.max(depth);
        shaping_max = shaping_max.max(shaping);
    }
    (depth_max, shaping_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_elements_are_counted() {
        assert_eq!(most_open("<p>a<p>b<br><ul><li>c<li>d</ul>"), (1, 0));
        assert_eq!(most_open("<DIV><b>x</b><i>y</div>"), (2, 1));
        assert_eq!(most_open(&"<b></x>".repeat(9)), (9, 9));
        assert_eq!(most_open("a < b, c </ d, <"), (0, 0));
    }
}
