//! Fields of a request that nobody reads and that look like ones that somebody does. Routes that existing clients know ignore
//! what they do not know; a slip that is only ignored would quietly do something else than was meant.

use super::Fields;

/// Two names that differ by so many letters may be one that was mistyped.
const DISTANCE_MAX: usize = 2;

/// A field that was ignored, and may have been meant to be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slip {
    /// What was ignored.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) fix: String,
    /// JSON pointer into the body.
    pub(crate) path: String,
}

impl Fields<'_> {
    /// The fields that are none of the `known` ones, but may be meant for one of them, or for one of those that another
    /// route takes: `elsewhere` is that route and its fields.
    pub(crate) fn slips(&self, known: &[&str], elsewhere: (&str, &[&str])) -> Vec<Slip> {
        let (route, others) = elsewhere;
        let unknown = self.names().filter(|name| !known.contains(name) && self.asks_for(name));
        unknown
            .filter_map(|name| {
                let own = known.iter().find(|known| is_slip(name, known));
                let fix = match (own, others.iter().find(|other| is_slip(name, other))) {
                    (Some(own), _) => format!("Did you mean \"{own}\"?"),
                    (None, Some(other)) => format!("\"{other}\" is a field of {route}."),
                    (None, None) => return None,
                };
                Some(Slip {
                    message: format!("This request has no field {name:?}: it was ignored."),
                    fix,
                    path: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
                })
            })
            .collect()
    }
}

fn is_slip(written: &str, known: &str) -> bool {
    let is_close = || written.len().abs_diff(known.len()) <= DISTANCE_MAX;
    written.eq_ignore_ascii_case(known) || (is_close() && strsim::levenshtein(written, known) <= DISTANCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_meant_is_said() {
        let body =
            br#"{"iteratorConfig":[1],"Nodes":[1],"iteratorConfigs":[],"name":"x","viewport":{"x":1},"force":true}"#;
        let fields = Fields::parse(body).unwrap();
        let of = |known: &[&str], others: &[&str]| -> Vec<_> {
            let slips = fields.slips(known, ("execute", others));
            slips.into_iter().map(|slip| (slip.path, slip.fix)).collect()
        };
        let meant = |path: &str, fix: &str| (path.to_owned(), fix.to_owned());
        assert_eq!(
            of(&["iteratorConfigs", "nodes", "force"], &[]),
            [meant("/iteratorConfig", "Did you mean \"iteratorConfigs\"?"), meant("/Nodes", "Did you mean \"nodes\"?")]
        );
        assert_eq!(
            of(&["inputs"], &["iteratorConfigs"]),
            [meant("/iteratorConfig", "\"iteratorConfigs\" is a field of execute.")],
            "an empty list asks for nothing"
        );
    }
}
