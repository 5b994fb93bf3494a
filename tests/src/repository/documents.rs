//! Documents say what is true: their links lead somewhere and their commands exist.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{Problem, TextFile};

/// Commands that the README must show, each alone on its line so that it can be copied.
const README_COMMANDS: &[&str] = &["make test", "cargo run --release -- run examples/hello.json -i topic=tides"];

/// Links inside the repository that lead to no file, or to no heading of it. `exists` answers for paths from the root.
pub fn broken_links(files: &[TextFile], exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (number, target) in links(file) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file.path.clone() } else { beside(&file.path, path) };
            if !exists(&path) {
                problems.push(file.problem(number, format!("{target:?} leads to no file")));
            } else if !heading.is_empty() && !has_heading(files, &path, heading) {
                problems.push(file.problem(number, format!("{target:?} leads to no heading")));
            }
        }
    }
    problems
}

/// Commands that documents show and the Makefile does not have, and those the README must show and does not.
pub fn untrue_commands(files: &[TextFile]) -> Vec<Problem> {
    let makefile = files.iter().find(|file| file.path == "Makefile").map_or("", |file| file.text.as_str());
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(target, _)| target).collect();
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (number, line) in file.lines() {
            let missing = make_targets(line).filter(|target| !targets.contains(target));
            problems.extend(missing.map(|target| file.problem(number, format!("`make {target}` does not exist"))));
        }
    }
    problems.extend(missing_readme_commands(files));
    problems
}

/// Workflows that documents or commands name and that are not in `examples/`.
pub fn missing_examples(files: &[TextFile], exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (number, line) in file.lines() {
            let words = line.split(|end: char| end.is_whitespace() || "`()[]\"',@".contains(end));
            let named = words.filter(|word| word.starts_with("examples/") && word.ends_with(".json"));
            let missing = named.filter(|path| !exists(path));
            problems.extend(missing.map(|path| file.problem(number, format!("{path} does not exist"))));
        }
    }
    problems
}

fn missing_readme_commands(files: &[TextFile]) -> Vec<Problem> {
    let Some(readme) = files.iter().find(|file| file.path == "README.md") else {
        return vec![Problem { path: "README.md".to_owned(), line: 1, what: "it does not exist".to_owned() }];
    };
    let missing = README_COMMANDS.iter().filter(|command| !readme.text.lines().any(|line| line == **command));
    missing.map(|command| readme.problem(1, format!("show `{command}` alone on a line"))).collect()
}

/// Targets of the form `](target)` outside of code, with their lines.
fn links(file: &TextFile) -> impl Iterator<Item = (usize, &str)> {
    prose(file).flat_map(|(number, line)| {
        let starts = line.split("](").skip(1);
        starts.filter_map(move |rest| rest.split_once(')').map(|(target, _)| (number, target)))
    })
}

/// Lines that are not inside a code fence.
fn prose(file: &TextFile) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    file.lines().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// A path that a link names, as seen from the root of the repository.
fn beside(file: &str, link: &str) -> String {
    let mut path = PathBuf::new();
    for part in Path::new(file).parent().unwrap_or_else(|| Path::new("")).join(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path.to_string_lossy().into_owned()
}

fn has_heading(files: &[TextFile], path: &str, heading: &str) -> bool {
    let Some(file) = files.iter().find(|file| file.path == path) else { return false };
    let mut headings = prose(file).map(|(_, line)| line).filter(|line| line.starts_with('#')).map(anchor);
    headings.any(|found| found == heading)
}

/// The anchor that the usual renderers give to a heading: lower case, hyphens for spaces, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The targets of commands in code: `make check` between backticks, or at the start of a line.
fn make_targets(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let pieces = quoted.chain(std::iter::once(line.trim_start()));
    pieces.filter_map(|piece| piece.strip_prefix("make ")).filter_map(|rest| {
        let target = rest.split(|end: char| !end.is_ascii_lowercase() && end != '-').next().unwrap_or_default();
        (!target.is_empty()).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_must_lead_to_a_file_and_a_heading() {
        let guide = TextFile::new("docs/guide.md", "# The Guide, in short\n## Next: `make`\n");
        let page = TextFile::new(
            "docs/page.md",
            "[a](guide.md) [b](../README.md) [c](guide.md#the-guide-in-short) [d](guide.md#next-make)\n\
             [e](gone.md) [f](guide.md#gone) [g](#gone)\n```\n[h](gone.md)\n```\n[i](https://example.org/gone.md)\n[j](../..)",
        );
        let exists = |path: &str| ["docs/guide.md", "docs/page.md", "README.md", ""].contains(&path);
        let found: Vec<String> = broken_links(&[guide, page], exists).iter().map(Problem::to_string).collect();
        assert_eq!(
            found,
            [
                "docs/page.md:2: \"gone.md\" leads to no file",
                "docs/page.md:2: \"guide.md#gone\" leads to no heading",
                "docs/page.md:2: \"#gone\" leads to no heading",
            ]
        );
    }

    #[test]
    fn commands_must_exist() {
        let makefile = TextFile::new("Makefile", "check: lint\n\tcargo test\ntest:\n");
        let readme = TextFile::new("README.md", format!("{}\n", README_COMMANDS.join("\n")));
        let page =
            TextFile::new("docs/a.md", "Run `make check` or\nmake soak\nand make sure that `make sim SEEDS=9` runs.");
        let found: Vec<String> = untrue_commands(&[makefile, readme, page]).iter().map(Problem::to_string).collect();
        assert_eq!(found, ["docs/a.md:2: `make soak` does not exist", "docs/a.md:3: `make sim` does not exist"]);
    }

    #[test]
    fn the_readme_must_show_the_first_commands() {
        let makefile = TextFile::new("Makefile", "test:\n");
        let readme = TextFile::new("README.md", "Run `make test`.");
        assert_eq!(untrue_commands(&[makefile.clone(), readme]).len(), README_COMMANDS.len());
        assert_eq!(untrue_commands(&[makefile]).len(), 1);
    }

    #[test]
    fn named_examples_must_exist() {
        let page = TextFile::new("README.md", "Try `examples/a.json`,\nor curl -d @examples/b.json");
        let problems = missing_examples(&[page], |path| path == "examples/a.json");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, 2);
    }
}
