//! What an expression may cost at most on values of a known size, found without evaluating it. One unit is one step, or
//! one byte that is looked at or copied.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// How large a value may be, with all that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    /// Items of the longest list or object in it.
    pub(super) items: u64,
    pub(super) bytes: u64,
}

/// The most that an expression may cost; `given` is the size of all variables together.
pub(super) fn of(expression: &IdedExpr, given: Size) -> u64 {
    Estimate { given, bound: Vec::new() }.expression(expression).0
}

struct Estimate<'a> {
    given: Size,
    /// Variables of the loops around.
    bound: Vec<(&'a str, Size)>,
}

/// A number, a truth value.
const SMALL: Size = Size { items: 0, bytes: 8 };

impl<'a> Estimate<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) -> (u64, Size) {
        match &expression.expr {
            Expr::Literal(literal) => (1, literal_size(literal)),
            Expr::Ident(name) => {
                let bound = self.bound.iter().rev().find(|(known, _)| known == name).map(|(_, size)| *size);
                (1, bound.unwrap_or(self.given))
            }
            Expr::Select(select) => {
                let (cost, size) = self.expression(&select.operand);
                (cost.saturating_add(1), size)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.literal(list.elements.iter(), list.elements.len()),
            Expr::Map(map) => {
                let parts = map.entries.iter().flat_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => [&entry.key, &entry.value],
                    EntryExpr::StructField(field) => [&field.value, &field.value],
                });
                self.literal(parts.collect::<Vec<_>>().into_iter(), map.entries.len())
            }
            Expr::Comprehension(it) => self.comprehension(it),
            Expr::Struct(_) | Expr::Unspecified => (u64::MAX, SMALL),
        }
    }

    fn literal(&mut self, parts: impl Iterator<Item = &'a IdedExpr>, count: usize) -> (u64, Size) {
        let mut cost = 1u64;
        let mut size = Size { items: count as u64, bytes: 8 };
        for part in parts {
            let (part_cost, part_size) = self.expression(part);
            // Values are copied into it.
            cost = cost.saturating_add(part_cost).saturating_add(part_size.bytes);
            size.items = size.items.max(part_size.items);
            size.bytes = size.bytes.saturating_add(part_size.bytes);
        }
        (cost, size)
    }

    fn call(&mut self, call: &'a CallExpr) -> (u64, Size) {
        let parts: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let parts: Vec<(u64, Size)> = parts.into_iter().map(|part| self.expression(part)).collect();
        let cost = parts.iter().fold(1u64, |sum, (cost, _)| sum.saturating_add(*cost));
        let bytes = parts.iter().fold(0u64, |sum, (_, size)| sum.saturating_add(size.bytes));
        let least = parts.iter().map(|(_, size)| size.bytes).min().unwrap_or(0);
        let items = parts.iter().map(|(_, size)| size.items).max().unwrap_or(0);
        match call.func_name.as_str() {
            operators::ADD => {
                let items = parts.iter().fold(0u64, |sum, (_, size)| sum.saturating_add(size.items));
                (cost.saturating_add(bytes), Size { items, bytes })
            }
            operators::CONDITIONAL => (cost, Size { items, bytes }),
            operators::INDEX => (cost, parts.first().map_or(SMALL, |(_, size)| *size)),
            operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS => (cost.saturating_add(least), SMALL),
            "string" => (cost.saturating_add(bytes), Size { items: 0, bytes: bytes.saturating_add(32) }),
            operators::IN | "contains" | "startsWith" | "endsWith" | "size" | "int" | "uint" | "double" | "bool" => {
                (cost.saturating_add(bytes), SMALL)
            }
            _ => (cost, SMALL),
        }
    }

    fn comprehension(&mut self, it: &'a ComprehensionExpr) -> (u64, Size) {
        let (range_cost, range) = self.expression(&it.iter_range);
        let (init_cost, init) = self.expression(&it.accu_init);
        let turns = range.items.max(1);
        // All items together are as large as the list. Where the cost of a turn grows no faster than the item, the
        // average stands for each; with a loop inside, each may be the largest.
        let is_nested = contains_loop(&it.loop_step) || contains_loop(&it.loop_cond);
        let item_bytes = if is_nested { range.bytes } else { range.bytes.div_ceil(turns).saturating_add(8) };
        let item = Size { items: range.items, bytes: item_bytes };
        let bound = self.bound.len();
        self.bound.push((&it.iter_var, item));
        self.bound.extend(it.iter_var2.as_deref().map(|name| (name, item)));
        // What a turn adds to what was gathered before.
        self.bound.push((&it.accu_var, Size::default()));
        let (condition_cost, _) = self.expression(&it.loop_cond);
        let (step_cost, step) = self.expression(&it.loop_step);
        let all = Size {
            items: turns.max(step.items).saturating_add(init.items),
            bytes: step.bytes.saturating_mul(turns).saturating_add(init.bytes),
        };
        self.bound.truncate(bound);
        self.bound.push((&it.accu_var, all));
        let (result_cost, result) = self.expression(&it.result);
        self.bound.truncate(bound);
        let turn = condition_cost.saturating_add(step_cost).saturating_add(4);
        let cost = turns.saturating_mul(turn).saturating_add(range.bytes);
        (cost.saturating_add(range_cost).saturating_add(init_cost).saturating_add(result_cost), result)
    }
}

fn literal_size(literal: &LiteralValue) -> Size {
    let bytes = match literal {
        LiteralValue::String(text) => text.inner().len() as u64,
        LiteralValue::Bytes(bytes) => bytes.inner().len() as u64,
        _ => 0,
    };
    Size { items: 0, bytes: bytes + 8 }
}

fn contains_loop(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Comprehension(_) => true,
        Expr::Select(select) => contains_loop(&select.operand),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).any(contains_loop),
        Expr::List(list) => list.elements.iter().any(contains_loop),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => contains_loop(&entry.key) || contains_loop(&entry.value),
            EntryExpr::StructField(field) => contains_loop(&field.value),
        }),
        Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}
