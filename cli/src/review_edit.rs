//! The value of a review as people edit it: a text where it is one, else JSON.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempPath;

use crate::client::Review;
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::{EDIT_BYTES_MAX, EDIT_DIFF_LINES_MAX};
use crate::text_file;
use crate::ui::style::Style;

/// What is edited, before and after.
#[derive(Debug)]
pub struct Edit<'a> {
    review: &'a Review,
    before: String,
}

/// What somebody has written in an editor, and the file that it lies in.
#[derive(Debug)]
pub struct Written {
    /// The text.
    pub text: String,
    path: TempPath,
}

impl Written {
    /// Keeps the file, and says where it is: the text was not taken.
    pub fn refused(self, failure: Failure) -> Failure {
        kept(self.path, failure)
    }
}

/// A failure that says where the edit is.
fn kept(path: TempPath, mut failure: Failure) -> Failure {
    // An editor may have put another file in its place, or none.
    match path.keep() {
        Ok(path) if path.exists() => {
            failure.message = format!("{}\n  your edit is kept in {}", failure.message, path.display());
            failure
        }
        _ => failure,
    }
}

impl<'a> Edit<'a> {
    /// Of a review's value.
    ///
    /// # Errors
    /// When JSON cannot be written.
    pub fn of(review: &'a Review) -> Result<Self> {
        let before = match &review.value {
            Value::String(text) if is_text(review) => text.clone(),
            value => serde_json::to_string_pretty(value).context(Exit::Failed, "the value cannot be shown")?,
        };
        Ok(Edit { review, before })
    }

    /// What is edited, as it is.
    pub fn text(&self) -> &str {
        &self.before
    }

    /// Has the user's editor change it: `$VISUAL`, `$EDITOR` or vi. What they have written stays in its file until it is dropped.
    ///
    /// # Errors
    /// When the editor cannot be started or says that it failed, when the text is too large, and when nothing is left of it.
    pub fn in_editor(&self) -> Result<Written> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
        let ending = if is_text(self.review) { ".txt" } else { ".json" };
        let file = tempfile::Builder::new().prefix("heddle-review-").suffix(ending).tempfile();
        let mut file = file.context(Exit::Failed, "cannot make a file to edit")?;
        let end = if self.before.ends_with('\n') { "" } else { "\n" };
        write!(file, "{}{end}", self.before).context(Exit::Failed, "cannot write the file to edit")?;
        let path = file.into_temp_path();
        // The variable may hold options, as the shell reads them.
        let ended = Command::new("sh")
            .args(["-c", &format!("{editor} \"$1\""), "sh"])
            .arg(&path)
            .stdin(Stdio::inherit())
            .status()
            .context(Exit::Failed, "cannot start the editor")?;
        if !ended.success() {
            let failure = Failure::failed(format!("the editor {editor:?} ended with {ended}; nothing was sent"));
            return Err(kept(path, failure.with_next("set EDITOR to the editor that you use")));
        }
        match text_file::read(&path, EDIT_BYTES_MAX) {
            Ok(text) if text.trim().is_empty() && !self.before.trim().is_empty() => {
                Err(Failure::usage("the edit is empty, so nothing was sent").with_next(format!(
                    "approve the empty text, if it is meant: {} reviews approve {} --data ''",
                    crate::ui::program(),
                    self.review.id
                )))
            }
            Ok(text) => Ok(Written { text, path }),
            Err(failure) => Err(kept(path, failure)),
        }
    }

    /// The value that a text stands for.
    ///
    /// # Errors
    /// When it is no JSON and has to be, and when it is what there was.
    pub fn read(&self, text: &str) -> Result<Value> {
        // Editors end the last line, whether it was ended or not.
        let text = match text.strip_suffix('\n') {
            Some(shorter) if !self.before.ends_with('\n') => shorter,
            _ => text,
        };
        let value = match is_text(self.review) {
            true => Value::String(text.to_owned()),
            false => serde_json::from_str(text).context(Exit::Usage, "the edit is no JSON")?,
        };
        if value == self.review.value {
            return Err(Failure::usage("nothing was changed, so nothing was sent").with_next(format!(
                "approve it as it is: {} reviews approve {}",
                crate::ui::program(),
                self.review.id
            )));
        }
        Ok(value)
    }

    /// Which lines differ, at most so many that they are looked at.
    pub fn diff(&self, after: &Value, style: Style) -> String {
        let after = match after {
            Value::String(text) if is_text(self.review) => text.clone(),
            value => serde_json::to_string_pretty(value).unwrap_or_default(),
        };
        let (before, after): (Vec<&str>, Vec<&str>) = (self.before.lines().collect(), after.lines().collect());
        let mut lines: Vec<String> = changed(&before, &after)
            .into_iter()
            .map(|(mark, line)| {
                let line = format!("{mark} {}", line.replace(|c: char| c.is_control() && c != '\t', " "));
                if mark == '-' { style.red(&line) } else { style.green(&line) }
            })
            .collect();
        let hidden = lines.len().saturating_sub(EDIT_DIFF_LINES_MAX);
        lines.truncate(EDIT_DIFF_LINES_MAX);
        lines.extend((hidden > 0).then(|| style.dim(&format!("… and {hidden} more lines"))));
        lines.join("\n")
    }
}

/// Whether people edit it as a text.
fn is_text(review: &Review) -> bool {
    let [port] = review.ports.as_slice() else { return false };
    review.is_whole() && !port.list && (port.r#type == "TEXT" || port.r#type == "ANY" && review.value.is_string())
}

/// The lines that are gone and that are new, in their order; equal ones between them are left out.
fn changed<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    let (before, after) = (&before[same..], &after[same..]);
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(before, after)| before == after).count();
    let (before, after) = (&before[..before.len() - end], &after[..after.len() - end]);
    // More than these are not worth the table.
    if before.len().saturating_mul(after.len()) > EDIT_DIFF_LINES_MAX * EDIT_DIFF_LINES_MAX * 100 {
        let gone = before.iter().map(|line| ('-', *line));
        return gone.chain(after.iter().map(|line| ('+', *line))).collect();
    }
    // By both places: how many lines the rests have in common.
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for old in (0..before.len()).rev() {
        for new in (0..after.len()).rev() {
            common[old][new] = match before[old] == after[new] {
                true => common[old + 1][new + 1] + 1,
                false => common[old + 1][new].max(common[old][new + 1]),
            };
        }
    }
    let (mut old, mut new, mut lines) = (0, 0, Vec::new());
    while old < before.len() || new < after.len() {
        if old < before.len() && new < after.len() && before[old] == after[new] {
            (old, new) = (old + 1, new + 1);
        } else if old < before.len() && (new == after.len() || common[old + 1][new] >= common[old][new + 1]) {
            lines.push(('-', before[old]));
            old += 1;
        } else {
            lines.push(('+', after[new]));
            new += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn review(kind: &str, r#type: &str, value: Value) -> Review {
        serde_json::from_value(json!({
            "id": "rev_1", "kind": kind, "value": value, "ports": [{"port": "value", "type": r#type, "list": false}],
        }))
        .unwrap()
    }

    #[test]
    fn a_text_is_edited_as_one_and_all_else_as_json() {
        let text = review("review", "TEXT", json!("one\ntwo"));
        let edit = Edit::of(&text).unwrap();
        assert_eq!(edit.before, "one\ntwo");
        assert_eq!(edit.read("one\n2\n").unwrap(), json!("one\n2"), "the editor's line end is no edit");
        for value in [json!({"a": 1}), json!([1]), json!(3)] {
            let json = review("review", "ANY", value.clone());
            let edit = Edit::of(&json).unwrap();
            assert_eq!(edit.read("{\"a\": 2}").unwrap(), json!({"a": 2}));
            let refused = edit.read("nonsense").unwrap_err();
            assert_eq!((refused.exit, refused.message.starts_with("the edit is no JSON")), (Exit::Usage, true));
        }
        // By ports it is an object, whatever they take.
        let mut ports = review("review", "TEXT", json!({"text": "a"}));
        ports.stage = Some("after".to_owned());
        assert_eq!(Edit::of(&ports).unwrap().read("{\"text\":\"b\"}").unwrap(), json!({"text": "b"}));
    }

    #[test]
    fn an_edit_that_changes_nothing_is_refused() {
        for (value, text) in [(json!("same"), "same\n"), (json!("same\n"), "same\n"), (json!("same"), "same")] {
            let review = review("review", "TEXT", value);
            let refused = Edit::of(&review).unwrap().read(text).unwrap_err();
            assert!(refused.message.starts_with("nothing was changed"), "{refused}");
            assert!(refused.next.unwrap().ends_with("reviews approve rev_1"));
        }
        let review = review("review", "JSON", json!({"a": 1, "b": 2}));
        assert!(Edit::of(&review).unwrap().read("{\"b\":2,\n\"a\":1}").is_err(), "the same JSON in other words");
    }

    #[test]
    fn an_edit_that_is_refused_is_kept() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "my words").unwrap();
        let written = Written { text: "my words".to_owned(), path: file.into_temp_path() };
        let (path, refused) = (written.path.to_path_buf(), written.refused(Failure::usage("no")));
        assert_eq!(refused.message, format!("no\n  your edit is kept in {}", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my words");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_diff_has_the_lines_that_differ() {
        let review = review("review", "TEXT", json!("a\nb\nc\nd\ne"));
        let edit = Edit::of(&review).unwrap();
        assert_eq!(edit.diff(&json!("a\nB\nc\nd\ne"), Style::PLAIN), "- b\n+ B");
        assert_eq!(edit.diff(&json!("a\nb\nx\nc\ne"), Style::PLAIN), "+ x\n- d");
        assert_eq!(edit.diff(&json!(""), Style::PLAIN), "- a\n- b\n- c\n- d\n- e");
        let long: Vec<String> = (0..EDIT_DIFF_LINES_MAX * 20).map(|line| line.to_string()).collect();
        let diff = edit.diff(&json!(long.join("\n")), Style::PLAIN);
        assert!(diff.lines().count() == EDIT_DIFF_LINES_MAX + 1 && diff.ends_with("more lines"), "{diff}");
    }
}
