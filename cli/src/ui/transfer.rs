//! Files on their way: a bar on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts the files that have gone.
#[derive(Debug)]
pub struct Transfer {
    bar: ProgressBar,
}

impl Transfer {
    /// For so many files; none of them makes no bar.
    pub fn new(files: usize, verb: &'static str) -> Self {
        // indicatif draws nothing where stderr is no terminal.
        let target = if files == 0 { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(files as u64), target);
        let style = ProgressStyle::with_template("{prefix} {pos}/{len} {bar:20} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(verb);
        Transfer { bar }
    }

    /// The next file begins.
    pub fn step(&self, name: &str) {
        self.bar.set_message(name.replace(char::is_control, " "));
        self.bar.inc(1);
    }

    /// All of them have gone, or one could not.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
