//! Node types that are functions of their config and inputs: no network, no files, nothing kept.

mod base64;
mod call;
mod csv_parse;
mod csv_write;
mod datetime;
mod hash;
mod html;
mod html_to_text;
pub(super) mod image;
mod json_build;
mod json_parse;
mod json_path;
mod json_schema_check;
mod markdown_to_html;
mod math;
mod pattern;
mod prompt_concat;
mod prompt_template;
mod regex_extract;
#[cfg(test)]
mod tests;
mod text_replace;
mod text_split;

use std::panic::resume_unwind;

use futures::future::{BoxFuture, FutureExt, ready};

use self::call::{Call, Running};
pub(super) use self::call::{as_text, output, output_json, refused};
use super::{Context, ErrorClass, Failure, Manifest, Output, Runner, Work};
use crate::limits::NATIVE_INLINE_BYTES_MAX;

/// What a function gives, or why it cannot.
type Answer = Result<Vec<Output>, Failure>;

/// A node type that one function is all of.
pub(super) struct Native {
    manifest: fn() -> Manifest,
    function: fn(&Call) -> Answer,
    pace: Pace,
}

/// How long the function may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As long as reading its input: small work runs where it is.
    Quick,
    /// Longer, or nobody knows: it runs on a thread for such work.
    Slow,
}

/// All of them.
pub(super) const ALL: [Native; 17] = [
    Native::quick(base64::manifest, base64::run),
    Native::quick(csv_parse::manifest, csv_parse::run),
    Native::quick(csv_write::manifest, csv_write::run),
    Native::quick(datetime::manifest, datetime::run),
    Native::quick(hash::manifest, hash::run),
    Native::slow(html_to_text::manifest, html_to_text::run),
    Native::quick(json_build::manifest, json_build::run),
    Native::quick(json_parse::manifest, json_parse::run),
    Native::slow(json_path::manifest, json_path::run),
    Native::slow(json_schema_check::manifest, json_schema_check::run),
    Native::slow(markdown_to_html::manifest, markdown_to_html::run),
    Native::slow(math::manifest, math::run),
    Native::quick(prompt_concat::manifest, prompt_concat::run),
    Native::slow(prompt_template::manifest, prompt_template::run),
    Native::slow(regex_extract::manifest, regex_extract::run),
    Native::slow(text_replace::manifest, text_replace::run),
    Native::quick(text_split::manifest, text_split::run),
];

impl Native {
    const fn quick(manifest: fn() -> Manifest, function: fn(&Call) -> Answer) -> Self {
        Self { manifest, function, pace: Pace::Quick }
    }

    const fn slow(manifest: fn() -> Manifest, function: fn(&Call) -> Answer) -> Self {
        Self { manifest, function, pace: Pace::Slow }
    }
}

impl Runner for Native {
    fn manifest(&self) -> Manifest {
        (self.manifest)()
    }

    fn run(&self, work: Work, _context: Context) -> BoxFuture<'static, Answer> {
        let is_small = work.bytes() <= NATIVE_INLINE_BYTES_MAX;
        match self.pace {
            Pace::Quick if is_small => ready(Call::new(work, Running::default()).answer(self.function)).boxed(),
            Pace::Quick | Pace::Slow => on_a_thread(work, self.function).boxed(),
        }
    }
}

async fn on_a_thread(work: Work, function: fn(&Call) -> Answer) -> Answer {
    on_a_thread_with(work, move |call| call.answer(function)).await
}

/// Runs the function where it holds nobody up. When the future is dropped the function is told, and nobody waits for it.
async fn on_a_thread_with<T: Send + 'static>(
    work: Work,
    function: impl FnOnce(Call) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let running = Running::default();
    let _stop = running.stop_on_drop();
    let call = Call::new(work, running);
    match tokio::task::spawn_blocking(move || function(call)).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Failure::new(ErrorClass::Cancelled, "agent_stopping", "the agent is stopping; run again")),
        },
    }
}
