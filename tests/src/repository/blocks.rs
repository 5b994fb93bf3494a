//! Blocks of code in documents whose commands a test runs, in their order.

use super::{Problem, TextFile};

/// Documents whose commands are run, all but those with a reason why not.
pub const RUN_PAGES: &[&str] =
    &["docs/rest.md", "docs/operating.md", "docs/reviews.md", "docs/waiting.md", "docs/streams.md"];

/// Commands that are not run say why after this.
const NOT_RUN: &str = "sh not-run:";

/// Commands, and what they must print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where they begin.
    pub line: usize,
    /// The commands.
    pub commands: String,
    /// What the block after them says that they print.
    pub output: Option<String>,
}

/// The commands of a document that are run: blocks of `sh`, with the `output` that may follow.
///
/// # Errors
/// Blocks that are neither run nor say why not, and outputs of nothing.
pub fn blocks(file: &TextFile) -> Result<Vec<Block>, Vec<Problem>> {
    let (mut blocks, mut problems) = (Vec::<Block>::new(), Vec::new());
    let mut lines = file.lines();
    while let Some((line, text)) = lines.next() {
        let Some(kind) = text.trim_start().strip_prefix("```") else { continue };
        let inside: Vec<&str> = lines.by_ref().map(|(_, text)| text).take_while(|text| *text != "```").collect();
        let inside = inside.join("\n");
        match kind {
            "sh" => blocks.push(Block { line, commands: inside, output: None }),
            "output" => match blocks.last_mut().filter(|block| block.output.is_none()) {
                Some(block) => block.output = Some(inside),
                None => problems.push(file.problem(line, "this output follows no commands")),
            },
            "json" | "toml" => {}
            _ if kind.strip_prefix(NOT_RUN).is_some_and(|reason| !reason.trim().is_empty()) => {}
            _ => problems.push(file.problem(line, format!("write ```sh, ```output or ```{NOT_RUN} REASON"))),
        }
    }
    if problems.is_empty() { Ok(blocks) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_run_or_say_why_not() {
        let page = "```sh\na\nb\n```\ntext\n```output\nx\n```\n```json\n{}\n```\n```sh not-run: no printer\nlp\n```\n";
        let block = Block { line: 1, commands: "a\nb".to_owned(), output: Some("x".to_owned()) };
        assert_eq!(blocks(&TextFile::new("docs/a.md", page)), Ok(vec![block]));
        for wrong in
            ["```\na\n```", "```bash\na\n```", "```sh not-run:\na\n```", "```sh terminal\na\n```", "```output\nx\n```"]
        {
            let problems = blocks(&TextFile::new("docs/a.md", wrong)).unwrap_err();
            assert_eq!((problems.len(), problems[0].line), (1, 1), "{wrong}");
        }
    }
}
