//! `utility:markdown_to_html`.

use pulldown_cmark::html::push_html;
use pulldown_cmark::{Options, Parser};
use serde::Deserialize;
use serde_json::json;

use super::call::{Call, output};
use super::{Answer, html};
use crate::runners::{Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "sanitise": {"type": "boolean", "default": true, "description": "Whether scripts, styles and everything else that could run are taken out."},
    });
    Manifest::pure(
        "utility:markdown_to_html",
        "Markdown to HTML",
        "Makes HTML of Markdown, with tables, footnotes and task lists.",
    )
    .ports([Port::new("text", PortType::Text).required()], [Port::new("html", PortType::Text)])
    .config(&[], properties)
    .aliases(&[("markdown", "text")], &[("text", "html")], &[("sanitize", "sanitise")])
    .example(
        "A heading",
        json!({}),
        json!({"text": "# Tides\n\n*Twice* a day."}),
        json!({"html": "<h1>Tides</h1>\n<p><em>Twice</em> a day.</p>\n"}),
    )
}

#[derive(Deserialize)]
struct Config {
    #[serde(default = "yes")]
    sanitise: bool,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { sanitise } = call.config()?;
    let text = call.text("text")?;
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut written = String::with_capacity(text.len() * 2);
    push_html(&mut written, Parser::new_ext(&text, options));
    html::check(&written)?;
    call.go_on()?;
    let html = if sanitise { ammonia::clean(&written) } else { written };
    Ok(vec![output("html", html)])
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn html(config: serde_json::Value, text: &str) -> String {
        one(run, Given::config(config).one("text", json!(text))).as_str().unwrap().to_owned()
    }

    #[test]
    fn what_could_run_is_taken_out() {
        let evil = "<script>alert(1)</script>\n\n[x](javascript:alert(1)) <img src=x onerror=alert(1)>\n\n<b style='position:fixed'>ok</b>";
        let clean = html(json!({}), evil);
        assert!(clean.contains("ok"), "{clean}");
        for word in ["script", "onerror", "style", "alert"] {
            assert!(!clean.contains(word), "{word} in {clean}");
        }
        assert!(html(json!({"sanitise": false}), evil).contains("<script>"));
    }

    #[test]
    fn tables_become_tables() {
        assert!(html(json!({}), "a|b\n-|-\n1|2").contains("<td>1</td>"));
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        for text in [">".repeat(9_000), "<b>".repeat(9_000), "<div></x>".repeat(2_000)] {
            assert_eq!(code(run, Given::config(json!({})).one("text", json!(text))), "html_too_deep");
        }
        for text in ["[".repeat(60_000), "* ".repeat(30_000), "**a ".repeat(10_000), "`".repeat(60_000)] {
            html(json!({}), &text);
        }
        assert_eq!(code(run, Given::config(json!({})).one("text", json!(">".repeat(60_000)))), "html_too_long");
    }
}
