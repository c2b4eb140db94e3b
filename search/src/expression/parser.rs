//! From tokens to a tree, by recursive descent.

use super::lexer::{Token, TokenKind, tokens};
use super::names::{Kinds, Names};
use super::{
    Arithmetic, Comparison, ExpressionFault, Function, Literal, MAX_EXPRESSION_DEPTH,
    MAX_EXPRESSION_NODES, Node,
};
use crate::fault::shown;

/// More faults than this help nobody.
const MAX_FAULTS: usize = 16;

/// Words that cannot be names.
const RESERVED: [&str; 7] = ["and", "or", "not", "in", "true", "false", "null"];

/// Reading cannot go on; the fault is recorded.
struct Stop;

/// A part of the tree, what it may come to, and which tokens it was made of.
pub(super) struct Part {
    pub(super) node: Node,
    pub(super) kinds: Kinds,
    pub(super) first: usize,
    pub(super) last: usize,
}

pub(super) fn parse(text: &str, names: &Names) -> Result<Node, Vec<ExpressionFault>> {
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

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) names: &'a Names,
    pub(super) tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
    nodes: usize,
    pub(super) faults: Vec<ExpressionFault>,
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

    fn token_source(&self) -> &'a str {
        let token = &self.tokens[self.next];
        &self.text[token.start..token.end]
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
