//! What clients want from a node's outputs without knowing its type: the files and the text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dto::run::Outputs;

/// The part of a node's outputs that does not depend on its type.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Essence<'a> {
    /// Addresses of media values, in port order: objects with a string `url`, by themselves or in a list.
    pub(crate) urls: Vec<Cow<'a, str>>,
    /// The first output that is a string.
    pub(crate) text: Option<Cow<'a, str>>,
}

impl<'a> Essence<'a> {
    pub(crate) fn of(outputs: &Outputs<'a>) -> Self {
        let mut essence = Self::default();
        for (_, value) in &outputs.0 {
            essence.add(value, true);
        }
        essence
    }

    pub(crate) fn url(&self) -> Option<Cow<'a, str>> {
        self.urls.first().cloned()
    }

    fn add(&mut self, value: &'a RawValue, is_whole_output: bool) {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'"') if is_whole_output && self.text.is_none() => self.text = string(text),
            Some(b'{') => self.urls.extend(url(text)),
            Some(b'[') if is_whole_output => {
                for item in serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_default() {
                    self.add(item, false);
                }
            }
            _ => {}
        }
    }
}

fn string(text: &str) -> Option<Cow<'_, str>> {
    /// Borrows unless there is an escape.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str(text).ok().map(|Text(text)| text)
}

fn url(text: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Media<'a> {
        #[serde(borrow)]
        url: Cow<'a, str>,
    }

    serde_json::from_str(text).ok().map(|Media { url }| url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outputs: &[(&str, &str)], urls: &[&str], text: Option<&str>) {
        let outputs = outputs.iter().map(|(port, json)| (*port, serde_json::from_str(json).unwrap())).collect();
        let essence = Essence::of(&Outputs(outputs));
        assert_eq!(essence.urls, urls);
        assert_eq!(essence.text.as_deref(), text);
    }

    #[test]
    fn urls_and_text_are_found() {
        check(&[], &[], None);
        check(&[("n", "3"), ("text", r#""a\n""#), ("more", r#""b""#)], &[], Some("a\n"));
        check(&[("image", r#"{"url":"u1","bytes":1}"#), ("j", r#"{"url":7}"#)], &["u1"], None);
        check(&[("images", r#"[{"url":"u1"},{"url":"u\/2"},"text",[{"url":"u3"}]]"#)], &["u1", "u/2"], None);
    }
}
