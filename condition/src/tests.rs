//! Conditions by themselves.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BadExpression, Condition, Known, Need, NoAnswer, Seen, limits};

struct Names;

impl Known for Names {
    fn of_scope(&self, _: &str) -> Option<(u32, u16)> {
        None
    }

    fn input(&self, id: &str) -> Option<u16> {
        ["value", "in"].iter().position(|known| *known == id).map(|place| place as u16)
    }

    fn inputs(&self) -> Vec<&str> {
        vec!["value", "in"]
    }

    fn is_own(&self, name: &str) -> bool {
        name == "item"
    }

    fn node(&self, id: &str) -> Result<u32, String> {
        if id == "draft" { Ok(3) } else { Err(format!("there is no node \"{id}\"")) }
    }

    fn output(&self, _: u32, port: &str) -> Option<u16> {
        (port == "text").then_some(0)
    }
}

fn read(text: &str) -> Result<Condition, BadExpression> {
    Condition::read(text, &Names)
}

fn holds_within(text: &str, value: &Value, mut budget: u64) -> Result<bool, NoAnswer> {
    let mut seen = Seen::default();
    seen.set_named("value", value);
    seen.set("inputs", &json!({"value": value, "in": "x"}));
    seen.set("nodes", &json!({"draft": {"output": "a draft", "outputs": {"text": "a draft"}}}));
    seen.set("run", &json!({"id": "exec_1"}));
    read(text).unwrap().holds(&seen, &mut budget)
}

fn holds(text: &str, value: &Value) -> Result<bool, NoAnswer> {
    holds_within(text, value, limits::EXPRESSION_COST_MAX)
}

#[test]
fn values_are_compared_as_people_mean_it() {
    let long =
        json!({"text": "A refund, please", "score": 3.5, "tags": ["a", "b"], "count": 3, "on": true, "none": null});
    for (text, expected) in [
        ("value.score > 3", true),
        ("value.count == 3.0 && value.count + 1 == 4", true),
        ("value.text.contains('refund') || value.score > 9", true),
        ("'b' in value.tags && size(value.tags) == 2", true),
        ("value.tags.exists(tag, tag == 'c')", false),
        ("value.tags.all(tag, tag.size() == 1)", true),
        ("value.tags.map(tag, tag + tag) == ['aa', 'bb']", true),
        ("value.tags.filter(tag, tag != 'a').size() == 1", true),
        ("has(value.missing) ? value.missing : value.on", true),
        ("value.none == null && !(value.on == false)", true),
        ("inputs[\"in\"] == 'x' && inputs.value.on", true),
        ("nodes.draft.output == nodes[\"draft\"].outputs.text", true),
        ("run.id.startsWith('exec_')", true),
        ("value.count % 2 == 1 && -value.count < 0", true),
        ("value.missing == 1 || true", true),
        ("type(value.text) == string", true),
        ("int(value.score) == 3 && double(value.count) == 3.0 && string(value.count) == '3'", true),
    ] {
        assert_eq!(holds(text, &long), Ok(expected), "{text}");
    }
}

#[test]
fn numbers_of_any_size_are_seen() {
    assert_eq!(holds("value > 9223372036854775807.0", &json!(u64::MAX)), Ok(true));
    assert_eq!(holds("value == -9223372036854775808", &json!(i64::MIN)), Ok(true));
}

#[test]
fn what_has_no_answer_says_why_without_the_values() {
    let secret = json!({"key": "a secret"});
    for (text, expected) in [
        ("value.missing > 3", "there is no key \"missing\"; ask has(…) first where one may be missing"),
        ("value.key > 3", "\">\" does not go with (string, int)"),
        ("value.key", "it gives a text, not true or false"),
        ("1 / (size(value) - 1) == 1", "it divides by zero"),
        ("[1][3] == 1", "a list has fewer items than it asks for"),
        ("int(value.key) == 1", "\"int\" cannot take what it is given"),
    ] {
        assert_eq!(holds(text, &secret), Err(NoAnswer::Failed(expected.to_owned())), "{text}");
    }
}

#[test]
fn a_bad_expression_says_what_and_where() {
    for (text, line, column, part) in [
        ("value >", 1, 8, ""),
        ("", 1, 1, "empty"),
        ("value.score > 3 &&\n  valve == 1", 2, 3, "\"valve\" is not known here"),
        ("value.matches('a')", 1, 7, "contains, startsWith or endsWith"),
        ("fetch('http://x') == 1", 1, 1, "no function \"fetch\""),
        ("nodes.other.output == 1", 1, 7, "no node \"other\""),
        ("nodes.draft.outputs.image == 1", 1, 21, "no output \"image\""),
        ("nodes.draft.cost == 1", 1, 13, "output and outputs"),
        ("nodes == 1", 1, 1, "name a node"),
        ("nodes.draft == 1", 1, 7, "output and outputs"),
        ("inputs.other == 1", 1, 8, "no input \"other\""),
        ("inputs['other'] == 1", 1, 8, "no input \"other\""),
        ("[[1]].all(a, a.all(b, [b].all(c, c > 0)))", 1, 31, "at most 2 loops"),
        ("value.Type{a: 1} == 1", 1, 1, ""),
    ] {
        let bad = read(text).expect_err(text);
        assert_eq!((bad.line, bad.column), (line, column), "{text}: {bad:?}");
        assert!(bad.message.contains(part), "{text}: {bad:?}");
    }
}

#[test]
fn what_it_looks_at_is_known_beforehand() {
    for (text, needs) in [
        ("value > 1 && value < 3", vec![Need::Input(0)]),
        ("inputs['in'] == 1 || item", vec![Need::Input(1)]),
        ("size(inputs) == 2", vec![Need::Input(0), Need::Input(1)]),
        ("nodes.draft.output == 'a'", vec![Need::Node(3)]),
        ("nodes['draft'].outputs['text'] == 'a'", vec![Need::Output(3, 0)]),
        ("[1].all(value, value > 0)", vec![]),
        ("run.id == 'a'", vec![]),
    ] {
        assert_eq!(read(text).unwrap().needs(), needs, "{text}");
    }
}

#[test]
fn lengths_and_depths_are_bounded_before_anything_is_parsed() {
    let deep = format!("{}1{} == 1", "(".repeat(5_000), ")".repeat(5_000));
    let long = format!("value == '{}'", "x".repeat(limits::EXPRESSION_BYTES_MAX));
    let chain = format!("value{} == 1", ".a".repeat(limits::EXPRESSION_SIGNS_MAX));
    let choices = format!("{}true", "value ? true : ".repeat(limits::EXPRESSION_SIGNS_MAX));
    for text in [deep, long, chain, choices] {
        assert!(read(&text).unwrap_err().message.contains("the expression has"), "{}", &text[..40]);
    }
}

#[test]
fn the_deepest_expressions_fit_half_the_stack_of_a_thread() {
    const STACK_BYTES: usize = 1024 * 1024;
    let shapes: [fn(usize) -> String; 12] = [
        |depth| format!("{}true{}", "(".repeat(depth), ")".repeat(depth)),
        |depth| format!("{}1{} == 1", "[".repeat(depth), "]".repeat(depth)),
        |depth| format!("{}1{} == 1", "{1:".repeat(depth), "}".repeat(depth)),
        |depth| format!("{}value{} == 1", "size(".repeat(depth), ")".repeat(depth)),
        |depth| format!("value{} == 1", ".a".repeat(depth)),
        |depth| format!("value{} == 1", "[0]".repeat(depth)),
        |depth| format!("value{} == 1", ".size()".repeat(depth)),
        |depth| format!("[1]{} == 1", ".map(a, a)".repeat(depth)),
        |depth| format!("{}true", "!".repeat(depth)),
        |depth| format!("1{} == 1", " - 1".repeat(depth)),
        |depth| format!("{}true", "value == 1 ? true : ".repeat(depth)),
        |depth| format!("true{}", " && true".repeat(depth)),
    ];
    let deepest = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        shapes.map(|shape| {
            let holds = |depth: &usize| match read(&shape(*depth)) {
                Ok(condition) => {
                    let mut seen = Seen::default();
                    seen.set_named("value", &json!([[1]]));
                    condition.holds(&seen, &mut { limits::EXPRESSION_COST_MAX }).map(|_| ()).is_ok() || *depth > 0
                }
                Err(_) => false,
            };
            (1..300).take_while(holds).count()
        })
    });
    let deepest = deepest.unwrap().join().unwrap();
    assert!(deepest.iter().all(|depth| *depth >= usize::from(limits::EXPRESSION_DEPTH_MAX) / 3), "{deepest:?}");
}

#[test]
fn what_could_cost_too_much_is_not_evaluated() {
    let items = json!((0..10_000).collect::<Vec<_>>());
    let words = json!(["x".repeat(1_000)]);
    for (text, value, expected) in [
        ("value.exists(a, a == 9999)", &items, Ok(true)),
        ("value.filter(a, a % 2 == 0).size() == 5000", &items, Ok(true)),
        ("value.exists(a, value.exists(b, a + b == -1))", &items, Err(NoAnswer::TooCostly)),
        ("value.map(a, value.map(b, a + b)).size() == 0", &items, Err(NoAnswer::TooCostly)),
        ("value.map(a, value).size() == 0", &items, Err(NoAnswer::TooCostly)),
        (
            "value.map(a,a+a+a+a+a+a+a+a).map(a,a+a+a+a+a+a+a+a).map(a,a+a+a+a+a+a+a+a).map(a,a+a+a+a+a+a+a+a) == []",
            &words,
            Err(NoAnswer::TooCostly),
        ),
    ] {
        assert_eq!(holds(text, value), expected, "{text}");
    }
    assert_eq!(holds_within("value.all(a, a >= 0)", &items, 10_000), Err(NoAnswer::TooCostly));
}

proptest! {
    /// Whatever it is, reading and evaluating it comes to an end without a panic.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9 .,?:!&|=<>+*/%()\\[\\]{}'\"\\\\-]{0,40}") {
        if let Ok(condition) = read(&text) {
            let mut seen = Seen::default();
            seen.set_named("value", &json!([1, "a"]));
            let _answer = condition.holds(&seen, &mut { limits::EXPRESSION_COST_MAX });
        }
    }

    /// The same, of words that mean something.
    #[test]
    fn any_words_are_read_or_refused(words in prop::collection::vec(prop::sample::select(WORDS), 1..24)) {
        if let Ok(condition) = read(&words.join(" ")) {
            let mut seen = Seen::default();
            for name in ["value", "item"] {
                seen.set_named(name, &json!({"a": [1, 2.5, {"b": "c"}], "d": null}));
            }
            let _answer = condition.holds(&seen, &mut { limits::EXPRESSION_COST_MAX });
        }
    }
}

const WORDS: &[&str] = &[
    "value",
    "item",
    "inputs",
    "nodes",
    "run",
    "draft",
    ".",
    "a",
    "b",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "&&",
    "||",
    "in",
    "0",
    "1",
    "2.5",
    "1u",
    "'c'",
    "b'c'",
    "true",
    "null",
    ".all(x, ",
    ".exists(x, ",
    ".exists_one(x, ",
    ".map(x, ",
    ".filter(x, ",
    "x",
    "size(",
    "int(",
    "uint(",
    "double(",
    "string(",
    "bool(",
    "type(",
    "has(",
    ".contains(",
    ".startsWith(",
    ".output",
    "r'c'",
    "'\\u0063'",
    "\"",
];
