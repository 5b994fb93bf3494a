//! Words that the repository does not contain. This file lists them, so it is the one that is not read.

use super::{Problem, TextFile};

/// Marks of work that is not finished. A plan is no part of the tree.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!", "TODO", "FIXME", "XXX", "HACK"];

/// Where somebody's checkout happens to be.
const MACHINE_PATHS: &[&str] = &["/home/", "/root/", "/Users/", "/work/", "/workspace/", "/workspaces/"];

/// Phrases that promise, that point outside, or that say who wrote a line. Compared without regard to case.
const PHRASES: &[&str] = &[
    "coming soon",
    "not implemented yet",
    "not yet implemented",
    "lorem ipsum",
    "issue #",
    "co-authored-by",
    "crates.io",
    "npmjs.",
    "pypi.org",
];

const THIS_FILE: &str = "tests/src/repository/words.rs";

/// Marks of unfinished work.
pub fn unfinished_work(files: &[TextFile]) -> Vec<Problem> {
    find(files, UNFINISHED, "finish it, or take it out", is_whole_word_in)
}

/// Paths that exist on one machine only.
pub fn machine_paths(files: &[TextFile]) -> Vec<Problem> {
    find(files, MACHINE_PATHS, "say it relative to the repository", begins_a_path_in)
}

/// Phrases that have no place here.
pub fn forbidden_phrases(files: &[TextFile]) -> Vec<Problem> {
    find(files, PHRASES, "the repository speaks of itself, as it is", |line, phrase| {
        line.to_lowercase().contains(phrase)
    })
}

fn find(files: &[TextFile], words: &[&str], advice: &str, is_in: impl Fn(&str, &str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path != THIS_FILE) {
        for (number, line) in file.lines() {
            let found = words.iter().filter(|word| is_in(line, word));
            problems.extend(found.map(|word| file.problem(number, format!("{word:?}: {advice}"))));
        }
    }
    problems
}

fn is_whole_word_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !before.ends_with(is_word_part) && (word.ends_with('!') || !after.starts_with(is_word_part))
    })
}

fn begins_a_path_in(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = &line[..at];
        // `./home/` and `$root/home/` are relative, and `example.org/home/` is a place on the web.
        !before.ends_with(|end: char| is_word_part(end) || ".-}~".contains(end))
    })
}

fn is_word_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_of_unfinished_work_is_found() {
        for mark in UNFINISHED {
            check(unfinished_work, &format!("fn main() {{}}\n// {mark} later"), &[2]);
        }
        check(unfinished_work, "fn mastodon() {}\n let todos = 3; let XXXL = 1; // debug!\n mytodo!()", &[]);
    }

    #[test]
    fn every_machine_path_is_found() {
        for path in MACHINE_PATHS {
            check(machine_paths, &format!("let home = \"{path}me/heddle\";\nlet x = \"a{path}b\";"), &[1]);
        }
        check(machine_paths, "see ./home/index.md, https://example.org/home/ and target/work/", &[]);
    }

    #[test]
    fn every_phrase_is_found_in_any_case() {
        for phrase in PHRASES {
            check(forbidden_phrases, &format!("# {}", phrase.to_uppercase()), &[1]);
        }
        check(forbidden_phrases, "The issue is known and solved.", &[]);
    }

    #[test]
    fn only_the_list_itself_is_not_read() {
        let file = TextFile::new(THIS_FILE, UNFINISHED.join(" "));
        assert_eq!(unfinished_work(&[file]), Vec::new());
    }

    fn check(rule: fn(&[TextFile]) -> Vec<Problem>, text: &str, expected: &[usize]) {
        let problems = rule(&[TextFile::new("a.rs", text)]);
        let found: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(found, expected, "{problems:?}");
    }
}
