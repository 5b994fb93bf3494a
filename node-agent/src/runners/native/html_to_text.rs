//! `utility:html_to_text`: what a person reads on a page.

use html2text::config;
use serde::Deserialize;
use serde_json::json;

use super::call::{Call, output, refused};
use super::{Answer, html};
use crate::runners::{Manifest, Port, PortType};

/// Columns of a line that is not to be broken.
const UNBROKEN: usize = 100_000;

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "links": {"type": "boolean", "default": false, "description": "Whether the addresses of links are listed below the text."},
        "width": {"type": "integer", "minimum": 20, "maximum": 1000, "description": "Characters after which lines are broken; without it they are not."},
    });
    Manifest::pure("utility:html_to_text", "HTML to text", "Gives the text of an HTML page as a person reads it.")
        .ports([Port::new("html", PortType::Text).required()], [Port::new("text", PortType::Text)])
        .config(&[], properties)
        .example(
            "A page",
            json!({}),
            json!({"html": "<style>p{}</style><p>High<br>tide &amp; low</p><script>x()</script>"}),
            json!({"text": "High\ntide & low\n"}),
        )
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    links: bool,
    width: Option<usize>,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { links, width } = call.config()?;
    let page = call.text("html")?;
    html::check(&page)?;
    let reader = config::plain_no_decorate().link_footnotes(links).allow_width_overflow();
    let text = reader.string_from_read(page.as_bytes(), width.unwrap_or(UNBROKEN));
    let text = text
        .map_err(|error| refused("html_unreadable", format!("the page cannot be read: {error}; give another one")))?;
    Ok(vec![output("text", text)])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;
    use crate::limits::HTML_DEPTH_MAX;

    fn text(config: serde_json::Value, html: &str) -> String {
        one(run, Given::config(config).one("html", json!(html))).as_str().unwrap().to_owned()
    }

    #[test]
    fn text_reads_as_on_the_page() {
        assert_eq!(text(json!({}), "<ul><li>a<li>b</ul>"), "* a\n* b\n");
        let link = "<a href='https://example.com/'>here</a>";
        assert!(!text(json!({}), link).contains("example.com"));
        assert!(text(json!({"links": true}), link).contains("https://example.com/"));
        assert_eq!(text(json!({"width": 20}), &"word ".repeat(8)), "word word word word\nword word word word\n");
        assert_eq!(text(json!({}), ""), "");
    }

    #[test]
    fn deep_pages_are_refused_and_wide_ones_read() {
        for tag in ["<div>", "<b>", "<table><tr><td>", "<ul><li>", "<section></x>"] {
            let given = Given::config(json!({})).one("html", json!(tag.repeat(HTML_DEPTH_MAX + 1)));
            assert_eq!(code(run, given), "html_too_deep", "{tag}");
        }
        assert_eq!(text(json!({}), &"<p>a</p>".repeat(2_000)).matches('a').count(), 2_000);
        text(json!({}), &"<div>".repeat(HTML_DEPTH_MAX));
    }
}
