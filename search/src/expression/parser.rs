//! From tokens to a checked tree, by recursive descent. Types are checked as the tree grows, while
//! the positions are at hand.

use super::lexer::{Token, TokenKind, tokens, too_long};
use super::names::{Kinds, NameValues, Names};
use super::{
    Arithmetic, Comparison, ExpressionFault, Function, Literal, MAX_EXPRESSION_DEPTH,
    MAX_EXPRESSION_NODES, Node,
};
use crate::choice::Choice;
use crate::fault::shown;

/// More faults than this help nobody.
const MAX_FAULTS: usize = 16;

/// Words that cannot be names.
const RESERVED: [&str; 7] = ["and", "or", "not", "in", "true", "false", "null"];

/// Reading cannot go on; the fault is recorded.
struct Stop;

/// A part of the tree, what it may come to, and which tokens it was made of.
struct Part {
    node: Node,
    kinds: Kinds,
    first: usize,
    last: usize,
}

pub(super) fn parse(text: &str, names: &Names) -> Result<Node, Vec<ExpressionFault>> {
    if let Some(fault) = too_long(text) {
        return Err(vec![fault]);
    }
    let (tokens, faults) = tokens(text);
    let misspelt = !faults.is_empty();
    let mut parser = Parser {
        text,
        names,
        tokens,
        next: 0,
        depth: 0,
        nodes: 0,
        faults,
    };
    let read = if misspelt {
        // The tokens have holes: only the names still mean something.
        Err(Stop)
    } else {
        parser.whole()
    };
    match read {
        Ok(part) if parser.faults.is_empty() => Ok(part.node),
        Ok(_) => Err(parser.sorted_faults()),
        Err(Stop) => {
            parser.find_unknown_names();
            Err(parser.sorted_faults())
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    names: &'a Names,
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
    nodes: usize,
    faults: Vec<ExpressionFault>,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Result<Part, Stop> {
        if *self.peek() == TokenKind::End {
            return Err(self.stop(
                "empty_expression",
                &[],
                "the expression is empty; write a condition such as a < b",
            ));
        }
        let part = self.condition()?;
        if *self.peek() != TokenKind::End {
            return Err(self.unexpected(&["an operator", "the end"]));
        }
        self.expect_condition(&part);
        Ok(part)
    }

    fn condition(&mut self) -> Result<Part, Stop> {
        self.chain("or", Self::conjunction, Node::Or, |node| match node {
            Node::Or(nodes) => nodes,
            node => vec![node],
        })
    }

    fn conjunction(&mut self) -> Result<Part, Stop> {
        self.chain("and", Self::negation, Node::And, |node| match node {
            Node::And(nodes) => nodes,
            node => vec![node],
        })
    }

    /// One part alone, or several joined by `word`, where `flat` takes inner joints apart.
    fn chain(
        &mut self,
        word: &'static str,
        operand: impl Fn(&mut Self) -> Result<Part, Stop>,
        join: impl Fn(Vec<Node>) -> Node,
        flat: impl Fn(Node) -> Vec<Node>,
    ) -> Result<Part, Stop> {
        let part = operand(self)?;
        if *self.peek() != TokenKind::Word(word) {
            return Ok(part);
        }
        self.expect_condition(&part);
        let (first, mut last) = (part.first, part.last);
        let mut nodes = flat(part.node);
        while *self.peek() == TokenKind::Word(word) {
            self.next += 1;
            self.count_node()?;
            let part = operand(self)?;
            self.expect_condition(&part);
            last = part.last;
            nodes.extend(flat(part.node));
        }
        Ok(Part {
            node: join(nodes),
            kinds: Kinds::BOOL,
            first,
            last,
        })
    }

    fn negation(&mut self) -> Result<Part, Stop> {
        let first = self.next;
        if *self.peek() != TokenKind::Word("not") {
            return self.comparison();
        }
        self.next += 1;
        let part = self.nested(Self::negation)?;
        self.expect_condition(&part);
        self.count_node()?;
        Ok(Part {
            node: Node::Not(Box::new(part.node)),
            kinds: Kinds::BOOL,
            first,
            last: part.last,
        })
    }

    fn comparison(&mut self) -> Result<Part, Stop> {
        let left = self.sum()?;
        let part = match *self.peek() {
            TokenKind::Symbol(symbol) => match Comparison::with_symbol(symbol) {
                None => return Ok(left),
                Some(operator) => {
                    self.next += 1;
                    self.count_node()?;
                    let right = self.sum()?;
                    self.check_comparison(operator, &left, &right);
                    Part {
                        kinds: Kinds::BOOL,
                        first: left.first,
                        last: right.last,
                        node: Node::Compare(operator, left.node.into(), right.node.into()),
                    }
                }
            },
            TokenKind::Word("in") => {
                self.next += 1;
                self.membership(left)?
            }
            TokenKind::Word("not") if self.tokens[self.next + 1].kind == TokenKind::Word("in") => {
                self.next += 2;
                let part = self.membership(left)?;
                self.count_node()?;
                Part {
                    node: Node::Not(part.node.into()),
                    ..part
                }
            }
            _ => return Ok(left),
        };
        let again = match *self.peek() {
            TokenKind::Symbol(symbol) => Comparison::with_symbol(symbol).is_some(),
            TokenKind::Word(word) => word == "in",
            _ => false,
        };
        if again {
            return Err(self.stop(
                "chained_comparison",
                &["and", "or"],
                "compare two values at a time: write 1 < x and x < 5 for 1 < x < 5",
            ));
        }
        Ok(part)
    }

    fn membership(&mut self, left: Part) -> Result<Part, Stop> {
        self.count_node()?;
        self.expect_symbol("[")?;
        let mut list = Vec::new();
        loop {
            let first = self.next;
            let literal = self.literal()?;
            self.count_node()?;
            let item = Part {
                kinds: Kinds::of_literal(&literal),
                node: Node::Literal(literal.clone()),
                first,
                last: self.next - 1,
            };
            self.check_comparison(Comparison::Equal, &left, &item);
            list.push(literal);
            match *self.peek() {
                TokenKind::Symbol(",") => self.next += 1,
                TokenKind::Symbol("]") => break,
                _ => return Err(self.unexpected(&[",", "]"])),
            }
        }
        self.next += 1;
        Ok(Part {
            node: Node::In(left.node.into(), list),
            kinds: Kinds::BOOL,
            first: left.first,
            last: self.next - 1,
        })
    }

    fn literal(&mut self) -> Result<Literal, Stop> {
        let negative = *self.peek() == TokenKind::Symbol("-");
        if negative {
            self.next += 1;
        }
        let literal = match self.peek() {
            TokenKind::Number(number) => {
                let number = if negative { -number } else { *number };
                // Adding zero turns -0.0 into 0.0.
                Some(Literal::Number(number + 0.0))
            }
            _ if negative => None,
            TokenKind::Text(text) => Some(Literal::Text(text.clone())),
            TokenKind::Word("true") => Some(Literal::Bool(true)),
            TokenKind::Word("false") => Some(Literal::Bool(false)),
            TokenKind::Word("null") => Some(Literal::Null),
            TokenKind::Word(_) | TokenKind::Symbol(_) | TokenKind::End => None,
        };
        match literal {
            Some(literal) => {
                self.next += 1;
                Ok(literal)
            }
            None => Err(self.unexpected(&["a number", "text", "true", "false", "null"])),
        }
    }

    fn sum(&mut self) -> Result<Part, Stop> {
        let operators = [Arithmetic::Add, Arithmetic::Subtract];
        self.arithmetic(operators, Self::product)
    }

    fn product(&mut self) -> Result<Part, Stop> {
        let operators = [Arithmetic::Multiply, Arithmetic::Divide];
        self.arithmetic(operators, Self::unary)
    }

    fn arithmetic(
        &mut self,
        operators: [Arithmetic; 2],
        operand: impl Fn(&mut Self) -> Result<Part, Stop>,
    ) -> Result<Part, Stop> {
        let mut left = operand(self)?;
        loop {
            let TokenKind::Symbol(symbol) = *self.peek() else {
                return Ok(left);
            };
            let operator = operators.iter().find(|known| known.symbol() == symbol);
            let Some(operator) = operator else {
                return Ok(left);
            };
            self.next += 1;
            self.count_node()?;
            let right = operand(self)?;
            self.expect_number(&left, symbol);
            self.expect_number(&right, symbol);
            left = Part {
                kinds: Kinds::NUMBER,
                first: left.first,
                last: right.last,
                node: Node::Arithmetic(*operator, left.node.into(), right.node.into()),
            };
        }
    }

    fn unary(&mut self) -> Result<Part, Stop> {
        let first = self.next;
        if *self.peek() != TokenKind::Symbol("-") {
            return self.primary();
        }
        self.next += 1;
        let part = self.nested(Self::unary)?;
        self.count_node()?;
        self.expect_number(&part, "-");
        Ok(Part {
            node: Node::Negative(part.node.into()),
            kinds: Kinds::NUMBER,
            first,
            last: part.last,
        })
    }

    fn primary(&mut self) -> Result<Part, Stop> {
        let first = self.next;
        self.count_node()?;
        let one = |node, kinds| Part {
            node,
            kinds,
            first,
            last: first,
        };
        match *self.peek() {
            TokenKind::Symbol("(") => {
                self.next += 1;
                let part = self.nested(Self::condition)?;
                self.expect_symbol(")")?;
                Ok(Part {
                    first,
                    last: self.next - 1,
                    ..part
                })
            }
            TokenKind::Word(word) if !RESERVED.contains(&word) => {
                let called = self.tokens[first + 1].kind == TokenKind::Symbol("(");
                if let Some(function) = Function::named(word).filter(|_| called) {
                    self.next += 2;
                    return self.call(function, first);
                }
                self.next += 1;
                let kinds = match self.names.values(word) {
                    Some(values) => Kinds::of_values(values),
                    None => {
                        let position = self.tokens[first].position;
                        self.faults.push(self.names.unknown(word, position));
                        Kinds::ANY
                    }
                };
                Ok(one(Node::Name(word.to_owned()), kinds))
            }
            TokenKind::Number(_)
            | TokenKind::Text(_)
            | TokenKind::Word("true" | "false" | "null") => {
                let literal = self.literal()?;
                let kinds = Kinds::of_literal(&literal);
                Ok(one(Node::Literal(literal), kinds))
            }
            TokenKind::Word(_) | TokenKind::Symbol(_) | TokenKind::End => {
                Err(self.unexpected(&["a name", "a number", "text", "("]))
            }
        }
    }

    fn call(&mut self, function: Function, first: usize) -> Result<Part, Stop> {
        let mut nodes = Vec::new();
        loop {
            let part = self.nested(Self::sum)?;
            self.expect_number(&part, function.name());
            nodes.push(part.node);
            match *self.peek() {
                TokenKind::Symbol(",") if function != Function::Abs => self.next += 1,
                TokenKind::Symbol(")") => break,
                _ if function == Function::Abs => return Err(self.unexpected(&[")"])),
                _ => return Err(self.unexpected(&[",", ")"])),
            }
        }
        self.next += 1;
        Ok(Part {
            node: Node::Call(function, nodes),
            kinds: Kinds::NUMBER,
            first,
            last: self.next - 1,
        })
    }

    fn check_comparison(&mut self, operator: Comparison, left: &Part, right: &Part) {
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

    fn expect_number(&mut self, part: &Part, operator: &str) {
        if !part.kinds.meets(Kinds::NUMBER) {
            let (source, words) = (self.source(part), part.kinds.words());
            let detail = format!("{source} is {words}, and {operator} needs a number");
            self.fault_at(part, "type_mismatch", vec!["a number".to_owned()], detail);
        }
    }

    fn expect_condition(&mut self, part: &Part) {
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

    fn peek(&self) -> &TokenKind<'a> {
        &self.tokens[self.next].kind
    }

    fn expect_symbol(&mut self, symbol: &'static str) -> Result<(), Stop> {
        if *self.peek() == TokenKind::Symbol(symbol) {
            self.next += 1;
            return Ok(());
        }
        Err(self.unexpected(&[symbol]))
    }

    fn nested(&mut self, read: impl Fn(&mut Self) -> Result<Part, Stop>) -> Result<Part, Stop> {
        if self.depth == MAX_EXPRESSION_DEPTH {
            let detail = format!(
                "the expression is nested deeper than {MAX_EXPRESSION_DEPTH} levels; split it"
            );
            return Err(self.stop("too_deep", &[], &detail));
        }
        self.depth += 1;
        let part = read(self);
        self.depth -= 1;
        part
    }

    fn count_node(&mut self) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes <= MAX_EXPRESSION_NODES {
            return Ok(());
        }
        let detail = format!(
            "the expression has more than {MAX_EXPRESSION_NODES} values and operators; split it \
             into several"
        );
        Err(self.stop("too_large", &[], &detail))
    }

    fn unexpected(&mut self, allowed: &[&str]) -> Stop {
        let found = match self.peek() {
            TokenKind::End => "the end".to_owned(),
            _ => shown(self.token_source()),
        };
        let detail = format!("{found} is out of place; expected {}", allowed.join(" or "));
        self.stop("unexpected_token", allowed, &detail)
    }

    /// Records a fault at the next token.
    fn stop(&mut self, code: &'static str, allowed: &[&str], detail: &str) -> Stop {
        self.faults.push(ExpressionFault {
            code,
            position: self.tokens[self.next].position,
            value: shown(self.token_source()),
            allowed: allowed.iter().map(|&word| word.to_owned()).collect(),
            detail: detail.to_owned(),
        });
        Stop
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

    fn token_source(&self) -> &'a str {
        let token = &self.tokens[self.next];
        &self.text[token.start..token.end]
    }

    fn source(&self, part: &Part) -> String {
        shown(&self.text[self.tokens[part.first].start..self.tokens[part.last].end])
    }

    /// Names that reading did not come to.
    fn find_unknown_names(&mut self) {
        for (at, token) in self.tokens.iter().enumerate().skip(self.next) {
            let TokenKind::Word(word) = token.kind else {
                continue;
            };
            let called = self
                .tokens
                .get(at + 1)
                .is_some_and(|next| next.kind == TokenKind::Symbol("("));
            let known = RESERVED.contains(&word)
                || self.names.values(word).is_some()
                || (called && Function::named(word).is_some());
            if !known {
                self.faults.push(self.names.unknown(word, token.position));
            }
        }
    }

    fn sorted_faults(mut self) -> Vec<ExpressionFault> {
        self.faults.sort_by_key(|fault| fault.position);
        self.faults.truncate(MAX_FAULTS);
        self.faults
    }
}
