//! How a space with conditions and constraints is made.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::choice::Choice;
use crate::domain::Domain;
use crate::expression::{Expression, ExpressionFault, NameValues, Names};
use crate::fault::{SpaceFault, shown};
use crate::feasible::Probes;
use crate::space::{MAX_NAME_CHARS, MAX_PARAMETERS, Parameter, Space};

/// The most constraints of a space: each is evaluated for every point that is drawn.
pub const MAX_CONSTRAINTS: usize = 100;

/// The most values and operators in all conditions and constraints of a space together: it bounds
/// the time that one point takes, of which a search may look at a million.
pub const MAX_SPACE_NODES: usize = 1_000;

/// Collects what a space is made of; [`build`](Self::build) checks all of it at once.
///
/// ```
/// use trialmill_search::{Choice, Domain, ParamValue, SpaceBuilder};
///
/// let int = |low, high| Domain::Int { low, high, step: 1, log: false };
/// let space = SpaceBuilder::default()
///     .parameter("mode", Domain::Categorical {
///         choices: vec![Choice::Text("trend".to_owned()), Choice::Text("hold".to_owned())],
///     })
///     .conditional("fast", int(2, 20), "mode == 'trend'")
///     .conditional("slow", int(10, 60), "mode == 'trend'")
///     .constant("least_gap", Choice::Int(3))
///     .constraint("slow - fast >= least_gap")
///     .build()?;
///
/// // By name: fast, mode, slow. The mode comes first where activity is decided.
/// assert_eq!(space.active_order(), [1, 0, 2]);
/// assert_eq!(space.groups(), [vec![1], vec![0, 2]]);
///
/// let holding = space.without_inactive(vec![
///     ParamValue::Int(20),
///     ParamValue::Category(1),
///     ParamValue::Int(10),
/// ]);
/// assert_eq!(holding.values()[0], ParamValue::Absent);
/// assert!(space.allows(&holding), "a constraint on absent parameters holds");
///
/// let faults = SpaceBuilder::default()
///     .conditional("a", int(1, 2), "b > 1")
///     .conditional("b", int(1, 2), "a > 1")
///     .constraint("a < c")
///     .build()
///     .unwrap_err();
/// let codes: Vec<_> = faults.iter().map(|fault| (fault.field, fault.code)).collect();
/// assert_eq!(codes, [("constraints", "unknown_name"), ("when", "when_cycle")]);
/// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SpaceBuilder {
    parameters: Vec<(String, Domain, Option<String>)>,
    constants: Vec<(String, Choice)>,
    constraints: Vec<String>,
    stored: bool,
}

/// A name with its checked domain, or without one beside the domain's faults.
struct Draft {
    domain: Option<Domain>,
    when: Option<String>,
}

impl SpaceBuilder {
    /// For a space that was checked before and is read back: expressions may be as long as their
    /// canonical text is ([`Expression::parse_stored`]), and constants that no expression can name
    /// are left out instead of refused.
    #[must_use]
    pub fn stored() -> Self {
        Self {
            stored: true,
            ..Self::default()
        }
    }

    /// Adds a parameter that always has a value.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, domain: Domain) -> Self {
        self.parameters.push((name.into(), domain, None));
        self
    }

    /// Adds a parameter that has a value only when the condition `when` holds over the values of
    /// other parameters.
    #[must_use]
    pub fn conditional(
        mut self,
        name: impl Into<String>,
        domain: Domain,
        when: impl Into<String>,
    ) -> Self {
        self.parameters
            .push((name.into(), domain, Some(when.into())));
        self
    }

    /// Adds a value that expressions may name and no trial changes, such as a parameter that is
    /// not searched. It is no part of a point.
    #[must_use]
    pub fn constant(mut self, name: impl Into<String>, value: Choice) -> Self {
        self.constants.push((name.into(), value));
        self
    }

    /// Adds a condition that every point must keep.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.constraints.push(constraint.into());
        self
    }

    /// Checks everything and orders the parameters by name. `-0.0` in a bound or choice becomes
    /// `0.0`.
    ///
    /// # Errors
    /// Every fault at once: of the parameters, of the constants (both in the order given), of
    /// their number, of the constraints, of the conditions, of the size of both, and of conditions
    /// that depend on each other in a circle.
    pub fn build(self) -> Result<Space, Vec<SpaceFault>> {
        let mut faults = Vec::new();
        let count = self.parameters.len();
        let mut drafts = BTreeMap::new();
        for (name, domain, when) in self.parameters {
            if !is_name(&name) {
                faults.push(bad_name(&name));
            }
            let domain = match domain.checked(&name) {
                Ok(domain) => Some(domain),
                Err(found) => {
                    faults.extend(found);
                    None
                }
            };
            match drafts.entry(name) {
                Entry::Occupied(first) => faults.push(duplicate_parameter(first.key())),
                Entry::Vacant(place) => {
                    place.insert(Draft { domain, when });
                }
            }
        }
        let mut constants = BTreeMap::new();
        for (name, value) in self.constants {
            if self.stored && !is_name(&name) {
                continue;
            }
            if !is_name(&name) {
                faults.push(bad_name(&name));
            }
            if drafts.contains_key(&name) || constants.contains_key(&name) {
                faults.push(duplicate_parameter(&name));
            }
            constants.insert(name, value);
        }
        faults.extend(count_fault(count));
        let names = names(&drafts, &constants);
        let parse: Parse = if self.stored {
            Expression::parse_stored
        } else {
            Expression::parse
        };
        let constraints = parsed_constraints(&self.constraints, &names, parse, &mut faults);
        let parameters = parsed_parameters(drafts, &names, parse, &mut faults);
        faults.extend(size_fault(&parameters, &constraints));
        let levels = levels(&parameters).unwrap_or_else(|cycles| {
            faults.extend(cycles);
            Vec::new()
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut order: Vec<usize> = (0..parameters.len()).collect();
        order.sort_by_key(|&position| (levels[position], position));
        Ok(Space {
            groups: groups(&parameters, &order),
            parameters: parameters
                .into_iter()
                .map(|(name, domain, when)| Parameter {
                    name,
                    domain: domain.expect("a domain is missing only beside its faults"),
                    when,
                })
                .collect(),
            constants,
            constraints,
            order,
            probes: Probes::default(),
        })
    }
}

/// How an expression is read.
type Parse = fn(&str, &Names) -> Result<Expression, Vec<ExpressionFault>>;

/// A parameter whose domain is missing only beside the domain's faults.
type Parsed = (String, Option<Domain>, Option<Expression>);

fn names(drafts: &BTreeMap<String, Draft>, constants: &BTreeMap<String, Choice>) -> Names {
    let searched = drafts.iter().map(|(name, draft)| {
        let values = match &draft.domain {
            Some(Domain::Categorical { choices }) => NameValues::Choices(choices.clone()),
            Some(Domain::Float { .. } | Domain::Int { .. }) => NameValues::Number,
            None => NameValues::Unknown,
        };
        (name.clone(), values)
    });
    let constants = constants
        .iter()
        .map(|(name, value)| (name.clone(), NameValues::Constant(value.clone())));
    Names::new("parameter", searched.chain(constants))
}

fn parsed_parameters(
    drafts: BTreeMap<String, Draft>,
    names: &Names,
    parse: Parse,
    faults: &mut Vec<SpaceFault>,
) -> Vec<Parsed> {
    let mut parameters = Vec::with_capacity(drafts.len());
    for (name, Draft { domain, when }) in drafts {
        let when = when.and_then(|text| match parse(&text, names) {
            Ok(when) => Some(when),
            Err(found) => {
                let of_when = |fault| SpaceFault::in_expression(&name, "when", None, fault);
                faults.extend(found.into_iter().map(of_when));
                None
            }
        });
        parameters.push((name, domain, when));
    }
    parameters
}

fn parsed_constraints(
    texts: &[String],
    names: &Names,
    parse: Parse,
    faults: &mut Vec<SpaceFault>,
) -> Vec<Expression> {
    if texts.len() > MAX_CONSTRAINTS {
        let count = texts.len();
        faults.push(SpaceFault {
            param: String::new(),
            field: "constraints",
            index: None,
            position: None,
            allowed: Vec::new(),
            code: "too_many_constraints",
            value: count.to_string(),
            limit: format!("at most {MAX_CONSTRAINTS}"),
            detail: format!(
                "the space has {count} constraints and may have {MAX_CONSTRAINTS}; join some with \
                 and"
            ),
        });
        return Vec::new();
    }
    let mut constraints = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match parse(text, names) {
            Ok(constraint) => constraints.push(constraint),
            Err(found) => {
                let of_constraint =
                    |fault| SpaceFault::in_expression("", "constraints", Some(index), fault);
                faults.extend(found.into_iter().map(of_constraint));
            }
        }
    }
    constraints
}

/// How many conditions stand above each parameter: 0 without one, else one more than the most of
/// the parameters it reads.
fn levels(parameters: &[Parsed]) -> Result<Vec<usize>, Vec<SpaceFault>> {
    let position = |name: &str| {
        parameters
            .binary_search_by(|(known, ..)| known.as_str().cmp(name))
            .ok()
    };
    let parents: Vec<Vec<usize>> = parameters
        .iter()
        .map(|(_, _, when)| {
            let names = when.iter().flat_map(Expression::names);
            names.filter_map(position).collect()
        })
        .collect();
    let mut levels: Vec<Option<usize>> = vec![None; parameters.len()];
    // Each round settles at least one parameter, or the rest waits for itself.
    loop {
        let mut settled = false;
        for at in 0..parameters.len() {
            let mut above = parents[at].iter();
            let level = above.try_fold(0, |most, &parent| Some(most.max(levels[parent]? + 1)));
            if levels[at].is_none() && level.is_some() {
                levels[at] = level;
                settled = true;
            }
        }
        if !settled {
            break;
        }
    }
    let waiting = |at: usize| {
        parents[at]
            .iter()
            .copied()
            .find(|&parent| levels[parent].is_none())
    };
    let cycles: Vec<SpaceFault> = cycles(parameters.len(), waiting)
        .into_iter()
        .map(|cycle| {
            let names = cycle.iter().map(|&at| parameters[at].0.as_str());
            when_cycle(&names.collect::<Vec<_>>())
        })
        .collect();
    if cycles.is_empty() {
        let known = levels.into_iter().flatten();
        return Ok(known.collect());
    }
    Err(cycles)
}

/// The circles of a graph in which each of `count` nodes leads to at most one other.
fn cycles(count: usize, next: impl Fn(usize) -> Option<usize>) -> Vec<Vec<usize>> {
    let mut walked = vec![false; count];
    let mut cycles = Vec::new();
    for start in 0..count {
        let mut path = Vec::new();
        let mut here = Some(start);
        while let Some(at) = here {
            if let Some(begin) = path.iter().position(|&before| before == at) {
                cycles.push(path.split_off(begin));
                break;
            }
            if std::mem::replace(&mut walked[at], true) {
                break;
            }
            path.push(at);
            here = next(at);
        }
    }
    cycles
}

/// The parameters by their condition's canonical text, in the order of activity.
fn groups(parameters: &[Parsed], order: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Option<String>, Vec<usize>)> = Vec::new();
    for &position in order {
        let when = parameters[position].2.as_ref().map(Expression::to_string);
        match groups.iter_mut().find(|(known, _)| *known == when) {
            Some((_, group)) => group.push(position),
            None => groups.push((when, vec![position])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn when_cycle(names: &[&str]) -> SpaceFault {
    let circle = [names, &names[..1]].concat().join(" -> ");
    SpaceFault {
        param: names[0].to_owned(),
        field: "when",
        index: None,
        position: None,
        allowed: Vec::new(),
        code: "when_cycle",
        value: shown(&circle),
        limit: "conditions that do not depend on each other in a circle".to_owned(),
        detail: format!(
            "the conditions depend on each other in a circle, {circle}; take one of them away"
        ),
    }
}

fn size_fault(parameters: &[Parsed], constraints: &[Expression]) -> Option<SpaceFault> {
    let conditions = parameters.iter().filter_map(|(_, _, when)| when.as_ref());
    let size: usize = conditions.chain(constraints).map(Expression::size).sum();
    (size > MAX_SPACE_NODES).then(|| SpaceFault {
        param: String::new(),
        field: "constraints",
        index: None,
        position: None,
        allowed: Vec::new(),
        code: "expressions_too_large",
        value: size.to_string(),
        limit: MAX_SPACE_NODES.to_string(),
        detail: format!(
            "the conditions and constraints have {size} values and operators together and may have \
             {MAX_SPACE_NODES}; simplify some"
        ),
    })
}

fn count_fault(count: usize) -> Option<SpaceFault> {
    match count {
        0 => Some(wrong_count(
            "empty_space",
            count,
            "needs at least 1; add a parameter",
        )),
        1..=MAX_PARAMETERS => None,
        _ => {
            let advice = format!("may have {MAX_PARAMETERS}; fix or drop the unimportant ones");
            Some(wrong_count("too_many_parameters", count, &advice))
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.len() <= MAX_NAME_CHARS
}

fn bad_name(name: &str) -> SpaceFault {
    let limit = format!("1 to {MAX_NAME_CHARS} of [A-Za-z_][A-Za-z0-9_]*");
    SpaceFault {
        param: name.to_owned(),
        field: "",
        index: None,
        position: None,
        allowed: Vec::new(),
        code: "bad_name",
        value: shown(name),
        detail: format!(
            "parameter name {:?} must be 1 to {MAX_NAME_CHARS} letters, digits or underscores and \
             not start with a digit",
            shown(name)
        ),
        limit,
    }
}

fn duplicate_parameter(name: &str) -> SpaceFault {
    SpaceFault {
        param: name.to_owned(),
        field: "",
        index: None,
        position: None,
        allowed: Vec::new(),
        code: "duplicate_parameter",
        value: shown(name),
        limit: "each name once".to_owned(),
        detail: format!("parameter {} is given twice; keep one", shown(name)),
    }
}

fn wrong_count(code: &'static str, count: usize, advice: &str) -> SpaceFault {
    SpaceFault {
        param: String::new(),
        field: "",
        index: None,
        position: None,
        allowed: Vec::new(),
        code,
        value: count.to_string(),
        limit: format!("1 to {MAX_PARAMETERS}"),
        detail: format!("the space has {count} parameters and {advice}"),
    }
}
