//! Rules about manifests, lint configuration and Rust sources.

use std::collections::BTreeSet;

use super::{Problem, TextFile};

/// Lines of a file that a person can still hold in mind.
pub const RUST_FILE_LINES_MAX: usize = 600;

/// Files whose purpose is to wait: they look at a condition again and again until a deadline.
const WAIT_HELPERS: &[&str] = &["tests/src/wait.rs"];

/// A member that does not take the workspace's lints is checked by none of them.
pub fn members_take_the_workspace_lints(files: &[TextFile]) -> Vec<Problem> {
    let manifests = files.iter().filter(|file| file.name() == "Cargo.toml" && file.text.contains("[package]"));
    manifests
        .filter(|file| !section(&file.text, "[lints]").any(|line| line == "workspace = true"))
        .map(|file| file.problem(1, "add [lints] with workspace = true"))
        .collect()
}

/// A clippy.toml replaces the one above it, so a ban that is not repeated is lost without a word.
pub fn crate_bans_repeat_the_root_bans(files: &[TextFile]) -> Vec<Problem> {
    let configurations = || files.iter().filter(|file| file.name() == "clippy.toml");
    let Some(root) = configurations().find(|file| file.path == "clippy.toml") else {
        return vec![Problem { path: "clippy.toml".to_owned(), line: 1, what: "the root has no bans".to_owned() }];
    };
    let mut problems = Vec::new();
    for file in configurations().filter(|file| file.path != root.path) {
        let own: BTreeSet<&str> = settings(&file.text).collect();
        let missing = settings(&root.text).filter(|setting| !own.contains(setting));
        problems.extend(missing.map(|setting| file.problem(1, format!("repeat from the root: {setting}"))));
    }
    problems
}

/// No Rust file that a person wrote is longer than [`RUST_FILE_LINES_MAX`].
pub fn rust_files_are_short(files: &[TextFile]) -> Vec<Problem> {
    let rust = files.iter().filter(|file| file.has_extension("rs"));
    rust.filter_map(|file| {
        let lines = file.text.lines().count();
        let what = format!("{lines} lines, {RUST_FILE_LINES_MAX} at most: find the part that stands alone");
        (lines > RUST_FILE_LINES_MAX).then(|| file.problem(RUST_FILE_LINES_MAX + 1, what))
    })
    .collect()
}

/// A test that sleeps is either slow or flaky.
pub fn tests_do_not_sleep(files: &[TextFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("rs") && !WAIT_HELPERS.contains(&file.path.as_str())) {
        let first = if is_test_path(&file.path) { 1 } else { first_test_line(file) };
        let sleeping = file.lines().filter(|(number, line)| *number >= first && calls_sleep(line));
        problems.extend(sleeping.map(|(number, _)| file.problem(number, "wait on a condition with a deadline")));
    }
    problems
}

fn section<'a>(text: &'a str, header: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().map(str::trim);
    lines.skip_while(move |line| *line != header).skip(1).take_while(|line| !line.starts_with('['))
}

/// Lines that set something, without white space and comments, so that the same setting reads the same.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.trim().trim_end_matches(','));
    lines.filter(|line| line.contains('=') && !line.starts_with('#') && !line.ends_with('['))
}

pub(super) fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// Unit tests stand at the end of their file: everything from their `cfg` on is test code.
pub(super) fn first_test_line(file: &TextFile) -> usize {
    let mut lines = file.lines();
    lines.find(|(_, line)| line.trim() == concat!("#[cfg(", "test)]")).map_or(usize::MAX, |(number, _)| number)
}

fn calls_sleep(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let words = code.split_inclusive(|end: char| !end.is_alphanumeric() && end != '_');
    words.filter_map(|word| word.strip_suffix('(')).any(|name| name == "sleep" || name == "sleep_until")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_lints_is_named() {
        let without =
            TextFile::new("a/Cargo.toml", "[package]\nname = \"a\"\n[lints]\nrust = 1\n[other]\nworkspace = true");
        let with = TextFile::new("b/Cargo.toml", "[package]\nname = \"b\"\n\n[lints]\nworkspace = true\n");
        check(&members_take_the_workspace_lints(&[without, with]), &["a/Cargo.toml:1"]);
    }

    #[test]
    fn a_lost_ban_is_named() {
        let ban = "disallowed-methods = [\n  { path = \"a::b\", reason = \"c\" },\n]\n";
        let root = TextFile::new("clippy.toml", ban);
        let repeats = TextFile::new("a/clippy.toml", format!("{ban}\n# more\nlimit = 3"));
        let loses = TextFile::new("b/clippy.toml", "limit = 3");
        check(&crate_bans_repeat_the_root_bans(&[root, repeats, loses.clone()]), &["b/clippy.toml:1"]);
        check(&crate_bans_repeat_the_root_bans(&[loses]), &["clippy.toml:1"]);
    }

    #[test]
    fn a_long_file_is_named() {
        let fits = TextFile::new("a.rs", "\n".repeat(RUST_FILE_LINES_MAX));
        let long = TextFile::new("b.rs", "\n".repeat(RUST_FILE_LINES_MAX + 1));
        let other = TextFile::new("c.json", "\n".repeat(RUST_FILE_LINES_MAX + 1));
        check(&rust_files_are_short(&[fits, long, other]), &["b.rs:601"]);
    }

    #[test]
    fn sleeping_is_named_in_tests_only() {
        let call = concat!("thread::sl", "eep(pause);");
        let work = TextFile::new("a/src/lib.rs", format!("fn back_off() {{\n{call}\n}}"));
        let unit = TextFile::new("b/src/lib.rs", format!("{call}\n#[cfg(test)]\nmod tests {{\n{call}\n}}"));
        let suite = TextFile::new("a/tests/suite.rs", format!("// {call}\n tokio::time::{call}\n let on = {call}"));
        let apart = TextFile::new("a/src/tests.rs", format!("do_not_{}", call.trim_start_matches("thread::")));
        let helper = TextFile::new(WAIT_HELPERS[0], call);
        let problems = tests_do_not_sleep(&[work, unit, suite, apart, helper]);
        check(&problems, &["b/src/lib.rs:4", "a/tests/suite.rs:2", "a/tests/suite.rs:3"]);
    }

    fn check(problems: &[Problem], expected: &[&str]) {
        let found: Vec<String> = problems.iter().map(|problem| format!("{}:{}", problem.path, problem.line)).collect();
        assert_eq!(found, expected, "{problems:?}");
    }
}
