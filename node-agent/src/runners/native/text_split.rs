//! `utility:text_split`: cuts a text into pieces.

use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::call::{Call, output, refused};
use crate::limits::PIECES_MAX;
use crate::runners::{Failure, Manifest, Port, PortType};

/// Characters of a piece, unless the config says otherwise.
const SIZE: usize = 1_000;

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "by": {"enum": ["characters", "words", "lines", "paragraphs", "headings", "separator"], "default": "characters", "description": "What pieces are made of."},
        "size": {"type": "integer", "minimum": 1, "default": SIZE, "description": "Most characters, words or lines of a piece. Paragraphs, headings and separated pieces are cut only when they have more characters, and only if a size is given."},
        "overlap": {"type": "integer", "minimum": 0, "default": 0, "description": "How many of them a piece repeats from the one before."},
        "separator": {"type": "string", "minLength": 1, "description": "With by separator: what stands between two pieces."},
    });
    Manifest::pure(
        "utility:text_split",
        "Split text",
        "Cuts a text into pieces, which are a list. Empty pieces are left out.",
    )
    .ports([Port::new("text", PortType::Text).required()], [Port::new("chunks", PortType::Text).list()])
    .config(&[], properties)
    .example(
        "Words that overlap",
        json!({"by": "words", "size": 2, "overlap": 1}),
        json!({"text": "one two three"}),
        json!({"chunks": ["one two", "two three"]}),
    )
    .example(
        "Paragraphs",
        json!({"by": "paragraphs"}),
        json!({"text": "one\n\ntwo\nlines"}),
        json!({"chunks": ["one", "two\nlines"]}),
    )
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    by: By,
    size: Option<usize>,
    #[serde(default)]
    overlap: usize,
    separator: Option<String>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum By {
    #[default]
    Characters,
    Words,
    Lines,
    Paragraphs,
    Headings,
    Separator,
}

pub(super) fn run(call: &Call) -> Answer {
    let config: Config = call.config()?;
    let text = call.text("text")?;
    let size = config.size.unwrap_or(SIZE);
    if size == 0 || config.overlap >= size {
        let message = format!("overlap is {} of a size of {size}; make it smaller than the size", config.overlap);
        return Err(refused("config_invalid", message));
    }
    let pieces: Vec<&str> = match config.by {
        By::Characters => windows(&text, &characters(&text), size, config.overlap)?,
        By::Words => windows(&text, &words(&text), size, config.overlap)?,
        By::Lines => windows(&text, &lines(&text), size, config.overlap)?,
        By::Paragraphs => cut(paragraphs(&text), &config)?,
        By::Headings => cut(headings(&text), &config)?,
        By::Separator => match config.separator.as_deref() {
            Some(separator) if !separator.is_empty() => cut(text.split(separator).collect(), &config)?,
            Some(_) | None => {
                return Err(refused("config_invalid", "separator is missing; say what stands between pieces"));
            }
        },
    };
    Ok(vec![output("chunks", pieces)])
}

/// Where a unit begins and ends, in bytes.
type Unit = (usize, usize);

fn characters(text: &str) -> Vec<Unit> {
    text.char_indices().map(|(start, character)| (start, start + character.len_utf8())).collect()
}

fn words(text: &str) -> Vec<Unit> {
    let start = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(|word| (start(word), start(word) + word.len())).collect()
}

fn lines(text: &str) -> Vec<Unit> {
    let start = |line: &str| line.as_ptr() as usize - text.as_ptr() as usize;
    text.lines().map(|line| (start(line), start(line) + line.len())).collect()
}

/// Runs of `size` units; each but the first begins with the last `overlap` units of the one before.
fn windows<'a>(text: &'a str, units: &[Unit], size: usize, overlap: usize) -> Result<Vec<&'a str>, Failure> {
    let mut pieces = Vec::new();
    let mut first = 0;
    while first < units.len() {
        let end = (first + size).min(units.len());
        add(&mut pieces, &text[units[first].0..units[end - 1].1])?;
        if end == units.len() {
            break;
        }
        first = end - overlap;
    }
    Ok(pieces)
}

fn paragraphs(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut end) = (None, 0);
    for (from, to) in lines(text) {
        if text[from..to].trim().is_empty() {
            pieces.extend(start.take().map(|start| &text[start..end]));
        } else {
            start.get_or_insert(from);
            end = to;
        }
    }
    pieces.extend(start.map(|start| &text[start..end]));
    pieces
}

/// Pieces that begin at a Markdown heading, outside of code.
fn headings(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut in_code = false;
    for (from, to) in lines(text) {
        let line = &text[from..to];
        in_code ^= line.trim_start().starts_with("```");
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if !in_code && (1..=6).contains(&level) && line[level..].starts_with(' ') {
            starts.push(from);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| text[*start..end].trim_end()).collect()
}

fn cut<'a>(pieces: Vec<&'a str>, config: &Config) -> Result<Vec<&'a str>, Failure> {
    let mut all = Vec::new();
    for piece in pieces {
        match config.size {
            Some(size) if piece.chars().count() > size => {
                windows(piece, &characters(piece), size, config.overlap)?
                    .into_iter()
                    .try_for_each(|piece| add(&mut all, piece))?;
            }
            Some(_) | None => add(&mut all, piece)?,
        }
    }
    Ok(all)
}

fn add<'a>(pieces: &mut Vec<&'a str>, piece: &'a str) -> Result<(), Failure> {
    if pieces.len() == PIECES_MAX {
        return Err(refused(
            "pieces_too_many",
            format!("the text has more than {PIECES_MAX} pieces; make them larger"),
        ));
    }
    if !piece.trim().is_empty() {
        pieces.push(piece);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn split(config: serde_json::Value, text: &str) -> Given {
        Given::config(config).one("text", json!(text))
    }

    #[test]
    fn units_are_counted_and_repeated() {
        assert_eq!(one(run, split(json!({"size": 2}), "aßcde")), json!(["aß", "cd", "e"]));
        assert_eq!(one(run, split(json!({"size": 3, "overlap": 1}), "abcdef")), json!(["abc", "cde", "ef"]));
        assert_eq!(one(run, split(json!({"by": "lines", "size": 2}), "a\nb\r\nc")), json!(["a\nb", "c"]));
        assert_eq!(one(run, split(json!({}), "")), json!([]));
    }

    #[test]
    fn pieces_follow_the_text() {
        let text = "intro\n# One\na\n```\n# no heading\n```\n## Two\nb\n#none\n";
        let pieces = json!(["intro", "# One\na\n```\n# no heading\n```", "## Two\nb\n#none"]);
        assert_eq!(one(run, split(json!({"by": "headings"}), text)), pieces);
        assert_eq!(one(run, split(json!({"by": "separator", "separator": "; "}), "a; b; ; c")), json!(["a", "b", "c"]));
        assert_eq!(one(run, split(json!({"by": "paragraphs", "size": 2}), "abc\n\nd")), json!(["ab", "c", "d"]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(code(run, split(json!({"size": 2, "overlap": 2}), "abc")), "config_invalid");
        assert_eq!(code(run, split(json!({"size": 0}), "abc")), "config_invalid");
        assert_eq!(code(run, split(json!({"by": "separator"}), "abc")), "config_invalid");
        assert_eq!(code(run, split(json!({"size": 1}), &"x".repeat(PIECES_MAX + 1))), "pieces_too_many");
    }
}
