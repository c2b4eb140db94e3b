//! Which kinds of value go together. The checks run while the parser builds the tree, when the
//! positions of the parts are at hand; none of them stops it.

use super::names::{Kinds, NameValues};
use super::parser::{Parser, Part};
use super::{Comparison, ExpressionFault, Literal, Node};
use crate::choice::Choice;
use crate::fault::shown;

impl Parser<'_> {
    pub(super) fn check_comparison(&mut self, operator: Comparison, left: &Part, right: &Part) {
        if !matches!(operator, Comparison::Equal | Comparison::NotEqual) {
            self.expect_number(left, operator.symbol());
            self.expect_number(right, operator.symbol());
            return;
        }
        if !left.kinds.meets(right.kinds) {
            let detail = format!(
                "{} is {} and {} is {}, so they are never equal; compare values of one kind",
                self.source(left),
                left.kinds.words(),
                self.source(right),
                right.kinds.words()
            );
            self.fault_at(right, "type_mismatch", vec![left.kinds.words()], detail);
            return;
        }
        self.check_choice(left, right);
        self.check_choice(right, left);
    }

    /// A value that is compared with a name that never has it.
    fn check_choice(&mut self, name: &Part, value: &Part) {
        let Node::Name(known) = &name.node else {
            return;
        };
        let Some(NameValues::Choices(choices)) = self.names.values(known) else {
            return;
        };
        let written = match &value.node {
            Node::Literal(Literal::Number(number)) => Choice::Float(*number),
            Node::Literal(Literal::Text(text)) => Choice::Text(text.clone()),
            Node::Literal(Literal::Bool(value)) => Choice::Bool(*value),
            Node::Literal(Literal::Null) => Choice::Null,
            _ => return,
        };
        if choices.iter().any(|choice| choice.same_value(&written)) {
            return;
        }
        let allowed: Vec<String> = choices.iter().take(20).map(Choice::to_string).collect();
        let detail = format!(
            "{} is never {}; use one of {}",
            known,
            self.source(value),
            allowed.join(", ")
        );
        self.fault_at(value, "unknown_choice", allowed, detail);
    }

    pub(super) fn expect_number(&mut self, part: &Part, operator: &str) {
        if !part.kinds.meets(Kinds::NUMBER) {
            let (source, words) = (self.source(part), part.kinds.words());
            let detail = format!("{source} is {words}, and {operator} needs a number");
            self.fault_at(part, "type_mismatch", vec!["a number".to_owned()], detail);
        }
    }

    pub(super) fn expect_condition(&mut self, part: &Part) {
        if !part.kinds.meets(Kinds::BOOL) {
            let (source, words) = (self.source(part), part.kinds.words());
            let detail = format!("{source} is {words}, not a condition; compare it with something");
            self.fault_at(
                part,
                "not_a_condition",
                vec!["a condition".to_owned()],
                detail,
            );
        }
    }

    fn fault_at(&mut self, part: &Part, code: &'static str, allowed: Vec<String>, detail: String) {
        self.faults.push(ExpressionFault {
            code,
            position: self.tokens[part.first].position,
            value: self.source(part),
            allowed,
            detail,
        });
    }

    fn source(&self, part: &Part) -> String {
        shown(&self.text[self.tokens[part.first].start..self.tokens[part.last].end])
    }
}
