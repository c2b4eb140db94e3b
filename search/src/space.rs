//! A space: the parameters of a search, ordered by name, checked once.

use std::collections::BTreeMap;

use crate::builder::SpaceBuilder;
use crate::choice::Choice;
use crate::domain::Domain;
use crate::expression::{Expression, Value};
use crate::fault::{PointFault, SpaceFault, closest, shown};
use crate::feasible::Probes;
use crate::lattice::Lattice;
use crate::point::{ParamValue, Point, UnpackError};

/// The most parameters of a space: no sampler learns anything in more dimensions from a million
/// trials, and it bounds a packed point to 1,600 bytes.
pub const MAX_PARAMETERS: usize = 200;

/// The longest parameter name, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// Bytes that each parameter takes in a packed point.
const PACKED_BYTES: usize = 8;

/// A parameter of a space: a checked name with a checked domain and, perhaps, a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub(crate) name: String,
    pub(crate) domain: Domain,
    pub(crate) when: Option<Expression>,
}

impl Parameter {
    /// 1 to 64 characters of `[A-Za-z_][A-Za-z0-9_]*`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values it may take.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The condition under which it has a value; `None` when it always has one.
    #[must_use]
    pub fn when(&self) -> Option<&Expression> {
        self.when.as_ref()
    }
}

/// The parameters of a search, ordered by name. Cannot exist with a fault in it.
///
/// A parameter with a condition (`when`) has a value only where the condition holds over the values
/// of other parameters; elsewhere it is [`ParamValue::Absent`]. It is absent, too, wherever a
/// parameter that its condition names is absent. A **constraint** is a condition that every point
/// must keep; one that names an absent parameter says nothing about the point, and holds.
/// Samplers give allowed points only ([`allows`](Self::allows)). [`SpaceBuilder`] makes spaces with
/// conditions and constraints, [`new`](Self::new) those without.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    pub(crate) parameters: Vec<Parameter>,
    /// Values that never change, by names that expressions may use.
    pub(crate) constants: BTreeMap<String, Choice>,
    pub(crate) constraints: Vec<Expression>,
    /// Positions of parameters, parents before the parameters whose conditions read them.
    pub(crate) order: Vec<usize>,
    /// Positions of parameters that are always present together.
    pub(crate) groups: Vec<Vec<usize>>,
    pub(crate) probes: Probes,
}

impl Space {
    /// A space without conditions and constraints. Checks the parameters and orders them by name. `-0.0` in a bound or choice becomes `0.0`.
    ///
    /// ```
    /// use trialmill_search::{Domain, Space};
    ///
    /// let faults = Space::new([
    ///     ("fast".to_owned(), Domain::Int { low: 9, high: 3, step: 0, log: false }),
    ///     ("2nd".to_owned(), Domain::Categorical { choices: vec![] }),
    /// ])
    /// .unwrap_err();
    /// let codes: Vec<_> = faults.iter().map(|fault| (fault.field, fault.code)).collect();
    /// assert_eq!(codes, [
    ///     ("low", "low_above_high"),
    ///     ("step", "step_not_positive"),
    ///     ("", "bad_name"),
    ///     ("choices", "empty_choices"),
    /// ]);
    /// ```
    ///
    /// # Errors
    /// Every fault of every parameter at once, in the order given.
    pub fn new(
        parameters: impl IntoIterator<Item = (String, Domain)>,
    ) -> Result<Self, Vec<SpaceFault>> {
        let mut builder = SpaceBuilder::default();
        for (name, domain) in parameters {
            builder = builder.parameter(name, domain);
        }
        builder.build()
    }

    /// The parameters, ordered by name (by byte).
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The positions of the parameters (in [`parameters`](Self::parameters)) in an order in which
    /// every parameter comes after those that its condition reads: draw in this order, and
    /// [`is_active`](Self::is_active) can be asked for each one in turn.
    #[must_use]
    pub fn active_order(&self) -> &[usize] {
        &self.order
    }

    /// The sets of parameters that are always present together, by position in
    /// [`parameters`](Self::parameters): those without a condition, then those of each condition.
    /// A set comes after the sets that its condition reads; together they hold every parameter
    /// once. Two conditions are the same when they are written the same, spacing apart.
    #[must_use]
    pub fn groups(&self) -> &[Vec<usize>] {
        &self.groups
    }

    /// Whether the parameter at `position` has a value when the parameters before it in
    /// [`active_order`](Self::active_order) have these values (`values` is in the order of
    /// [`parameters`](Self::parameters); what comes later is not read).
    ///
    /// # Panics
    /// If `position` is no parameter's, or `values` has another length than the space.
    #[must_use]
    pub fn is_active(&self, position: usize, values: &[ParamValue]) -> bool {
        assert_eq!(
            values.len(),
            self.parameters.len(),
            "one value per parameter"
        );
        match &self.parameters[position].when {
            None => true,
            Some(when) => {
                !self.names_absent(when, values) && when.holds(&|name| self.value(name, values))
            }
        }
    }

    /// The point that has these values where its conditions hold, and [`ParamValue::Absent`] where
    /// they do not.
    ///
    /// # Panics
    /// If `values` has another length than the space.
    #[must_use]
    pub fn without_inactive(&self, mut values: Vec<ParamValue>) -> Point {
        for &position in &self.order {
            if !self.is_active(position, &values) {
                values[position] = ParamValue::Absent;
            }
        }
        Point::new(values)
    }

    /// The conditions that every point keeps, in the order given.
    #[must_use]
    pub fn constraints(&self) -> &[Expression] {
        &self.constraints
    }

    /// Whether the point keeps every constraint of the space. A constraint that names an absent
    /// parameter is kept; one that is undefined for another reason (a division by zero) is not.
    ///
    /// # Panics
    /// If the point has another number of values than the space has parameters.
    #[must_use]
    pub fn allows(&self, point: &Point) -> bool {
        self.broken_constraint(point).is_none()
    }

    /// The first constraint that the point does not keep.
    ///
    /// # Panics
    /// As [`allows`](Self::allows).
    #[must_use]
    pub fn broken_constraint(&self, point: &Point) -> Option<&Expression> {
        self.first_broken(point.values())
    }

    pub(crate) fn first_broken(&self, values: &[ParamValue]) -> Option<&Expression> {
        assert_eq!(
            values.len(),
            self.parameters.len(),
            "one value per parameter"
        );
        let mut constraints = self.constraints.iter();
        constraints.find(|constraint| self.is_broken(constraint, values))
    }

    /// Whether the point belongs to the space ([`check_point`](Self::check_point)) and keeps its
    /// constraints.
    ///
    /// # Errors
    /// Everything that does not fit, or `constraint_broken` for each constraint that is not kept.
    pub fn check_allowed(&self, point: &Point) -> Result<(), Vec<PointFault>> {
        self.check_point(point)?;
        let broken = self.constraints.iter();
        let broken = broken.filter(|constraint| self.is_broken(constraint, point.values()));
        let faults: Vec<PointFault> = broken.map(constraint_broken).collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// How many different points there are when each can be listed: no float lacks a step, and
    /// there are at most [`MAX_GRID_POINTS`](crate::MAX_GRID_POINTS) before constraints, or fewer
    /// with long expressions ([`MAX_LISTING_WORK`](crate::MAX_LISTING_WORK)). With
    /// constraints those that keep them are counted, which takes a look at every point.
    #[must_use]
    pub fn lattice_size(&self) -> Option<u64> {
        let lattice = Lattice::new(self)?;
        Some(lattice.codes().len() as u64)
    }

    /// How many values and operators all conditions and constraints have together.
    pub(crate) fn expression_nodes(&self) -> usize {
        let conditions = self.parameters.iter().filter_map(Parameter::when);
        let all = conditions.chain(&self.constraints);
        all.map(Expression::size).sum()
    }

    /// About how many bytes it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let choices = self
            .parameters
            .iter()
            .map(|parameter| match parameter.domain() {
                Domain::Categorical { choices } => {
                    let texts = choices.iter().map(|choice| match choice {
                        Choice::Text(text) => text.len(),
                        Choice::Null | Choice::Bool(_) | Choice::Int(_) | Choice::Float(_) => 0,
                    });
                    size_of_val(choices.as_slice()) + texts.sum::<usize>()
                }
                Domain::Float { .. } | Domain::Int { .. } => 0,
            });
        let constants = self.constants.len() * (MAX_NAME_CHARS + size_of::<Choice>());
        let parameters = self.parameters.len() * (size_of::<Parameter>() + MAX_NAME_CHARS);
        let expressions = self.expression_nodes() * (size_of::<Expression>() + MAX_NAME_CHARS);
        let fixed = size_of::<Self>() + Probes::MOST_BYTES + constants + parameters + expressions;
        fixed + choices.sum::<usize>()
    }

    fn is_broken(&self, constraint: &Expression, values: &[ParamValue]) -> bool {
        !self.names_absent(constraint, values)
            && !constraint.holds(&|name| self.value(name, values))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.parameters
            .binary_search_by(|parameter| parameter.name.as_str().cmp(name))
            .ok()
    }

    fn names_absent(&self, expression: &Expression, values: &[ParamValue]) -> bool {
        let mut positions = expression.names().filter_map(|name| self.position(name));
        // Most points have no absent value, and then there is no need to look names up.
        values.contains(&ParamValue::Absent)
            && positions.any(|position| values[position].is_absent())
    }

    /// What a name in an expression stands for. Values that do not fit their domain are undefined.
    fn value<'a>(&'a self, name: &str, values: &[ParamValue]) -> Value<'a> {
        let Some(position) = self.position(name) else {
            return self
                .constants
                .get(name)
                .map_or(Value::Undefined, Value::from);
        };
        match (values[position], &self.parameters[position].domain) {
            (ParamValue::Float(value), _) => Value::Number(value),
            (ParamValue::Int(value), _) => Value::Number(value as f64),
            (ParamValue::Category(index), Domain::Categorical { choices }) => choices
                .get(index as usize)
                .map_or(Value::Undefined, Value::from),
            (ParamValue::Category(_) | ParamValue::Absent, _) => Value::Undefined,
        }
    }

    /// Whether the point has one value per parameter, each inside its domain and, to the bit, on its
    /// step lattice, and [`ParamValue::Absent`] exactly where the parameter's condition does not
    /// hold. Constraints are another matter: see [`allows`](Self::allows).
    ///
    /// # Errors
    /// Everything that does not fit.
    pub fn check_point(&self, point: &Point) -> Result<(), Vec<PointFault>> {
        let (got, expected) = (point.values().len(), self.parameters.len());
        if got != expected {
            return Err(vec![PointFault {
                param: String::new(),
                code: "wrong_length",
                value: got.to_string(),
                limit: expected.to_string(),
                detail: format!(
                    "the point has {got} values and the space {expected} parameters; give one each"
                ),
            }]);
        }
        let faults: Vec<PointFault> = (0..expected)
            .filter_map(|position| self.check_value(position, point.values()).err())
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// Whether the value at `position` fits, with all the others at hand.
    fn check_value(&self, position: usize, values: &[ParamValue]) -> Result<(), PointFault> {
        let parameter = &self.parameters[position];
        let value = values[position];
        match (self.is_active(position, values), value) {
            (true, ParamValue::Absent) => Err(missing_parameter(&parameter.name)),
            (false, ParamValue::Absent) => Ok(()),
            (false, value) => Err(inactive_parameter(parameter, &value.to_string())),
            (true, value) => parameter.domain.check(&parameter.name, value),
        }
    }

    /// 8 little-endian bytes per parameter: the bits of a float, an `i64`, a choice's position as
    /// `i64`, or [`ParamValue::ABSENT_WORD`]. Equal points of one space have equal bytes.
    #[must_use]
    pub fn pack(&self, point: &Point) -> Vec<u8> {
        let words = point.values().iter().flat_map(|value| value.to_packed());
        words.collect()
    }

    /// The point that [`pack`](Self::pack) made bytes of.
    ///
    /// # Errors
    /// If the length is wrong, or a value lies outside its domain, is missing, or is there where its
    /// parameter is absent (the first such is named).
    pub fn unpack(&self, bytes: &[u8]) -> Result<Point, UnpackError> {
        let expected = self.parameters.len() * PACKED_BYTES;
        if bytes.len() != expected {
            return Err(UnpackError::WrongLength {
                got: bytes.len(),
                expected,
            });
        }
        let mut values = Vec::with_capacity(self.parameters.len());
        for (parameter, word) in self.parameters.iter().zip(bytes.chunks_exact(PACKED_BYTES)) {
            let word: [u8; PACKED_BYTES] = word
                .try_into()
                .expect("chunks_exact gives chunks of this length");
            let value = match parameter.domain {
                _ if u64::from_le_bytes(word) == ParamValue::ABSENT_WORD => ParamValue::Absent,
                Domain::Float { .. } => ParamValue::Float(f64::from_le_bytes(word)),
                Domain::Int { .. } => ParamValue::Int(i64::from_le_bytes(word)),
                // A position beyond u32 becomes u32::MAX, which the check below refuses.
                Domain::Categorical { .. } => ParamValue::Category(
                    u32::try_from(i64::from_le_bytes(word)).unwrap_or(u32::MAX),
                ),
            };
            values.push(value);
        }
        for position in 0..values.len() {
            self.check_value(position, &values)?;
        }
        Ok(Point::new(values))
    }

    /// The point as (name, scalar) pairs in the space's order: what JSON shows and objectives read.
    /// Absent parameters are left out.
    ///
    /// # Panics
    /// If the point is not one of this space (see [`check_point`](Self::check_point)).
    pub fn named<'a>(&'a self, point: &'a Point) -> impl Iterator<Item = (&'a str, Choice)> + 'a {
        assert_eq!(
            point.values().len(),
            self.parameters.len(),
            "a point has as many values as its space has parameters"
        );
        self.parameters
            .iter()
            .zip(point.values())
            .filter_map(|(parameter, value)| {
                let scalar = match (value, &parameter.domain) {
                    (ParamValue::Float(value), _) => Choice::Float(*value),
                    (ParamValue::Int(value), _) => Choice::Int(*value),
                    (ParamValue::Absent, _) => return None,
                    (ParamValue::Category(index), Domain::Categorical { choices }) => {
                        choices[*index as usize].clone()
                    }
                    (ParamValue::Category(_), _) => {
                        panic!(
                            "the point has a category where {} is a number",
                            parameter.name
                        )
                    }
                };
                Some((parameter.name.as_str(), scalar))
            })
    }

    /// The point that named scalars stand for: initial and enqueued parameters, defaults, replays.
    ///
    /// A whole float is accepted for an int and an int for a float, since clients and databases
    /// rewrite one as the other. A float that misses the lattice by rounding alone is moved
    /// onto it ([`Domain`]).
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use trialmill_search::{Choice, Domain, ParamValue, Space};
    ///
    /// let space = Space::new([
    ///     ("exit".to_owned(), Domain::Float { low: 0.1, high: 1.5, step: Some(0.1), log: false }),
    /// ])?;
    /// let named = BTreeMap::from([("exit".to_owned(), Choice::Float(0.3))]);
    /// let point = space.point_from_named(&named).expect("0.3 is on the lattice but for rounding");
    /// assert_eq!(point.values(), [ParamValue::Float(0.1 + 2.0 * 0.1)]);
    ///
    /// let typo = BTreeMap::from([("exti".to_owned(), Choice::Float(0.3))]);
    /// let faults = space.point_from_named(&typo).unwrap_err();
    /// assert_eq!(faults[1].detail, "exti is not a parameter; did you mean exit?");
    /// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
    /// ```
    ///
    /// # Errors
    /// Every missing, unknown or unfitting value at once, and every value for a parameter that is
    /// absent at this point.
    pub fn point_from_named(
        &self,
        named: &BTreeMap<String, Choice>,
    ) -> Result<Point, Vec<PointFault>> {
        let mut values = vec![ParamValue::Absent; self.parameters.len()];
        // By position, so that the faults come in the order of the parameters.
        let mut found: Vec<Option<PointFault>> = vec![None; self.parameters.len()];
        let mut unsure = vec![false; self.parameters.len()];
        for &position in &self.order {
            let parameter = &self.parameters[position];
            let given = named.get(&parameter.name);
            // Whether a parameter belongs there is unknown when its condition reads a faulty value.
            unsure[position] = parameter.when.iter().any(|when| {
                let mut parents = when.names().filter_map(|name| self.position(name));
                parents.any(|parent| found[parent].is_some() || unsure[parent])
            });
            let value = match (self.is_active(position, &values), given) {
                (_, None) if unsure[position] => continue,
                (active, Some(choice)) if active || unsure[position] => {
                    parameter.domain.value_of(&parameter.name, choice)
                }
                (true, _) => Err(missing_parameter(&parameter.name)),
                (false, None) => continue,
                (false, Some(choice)) => Err(inactive_parameter(parameter, &choice.to_string())),
            };
            match value {
                Ok(value) => values[position] = value,
                Err(fault) => found[position] = Some(fault),
            }
        }
        let mut faults: Vec<PointFault> = found.into_iter().flatten().collect();
        let known = |name: &str| self.position(name).is_some();
        let unknown = named.iter().filter(|(name, _)| !known(name));
        faults.extend(unknown.map(|(name, choice)| self.unknown_parameter(name, choice)));
        if faults.is_empty() {
            Ok(Point::new(values))
        } else {
            Err(faults)
        }
    }

    fn unknown_parameter(&self, name: &str, choice: &Choice) -> PointFault {
        let short = shown(name);
        let names = || self.parameters.iter().map(Parameter::name);
        let close = closest(name, names());
        let list = names().collect::<Vec<_>>().join(", ");
        PointFault {
            param: name.to_owned(),
            code: "unknown_parameter",
            value: shown(&choice.to_string()),
            detail: match close {
                Some(close) => {
                    format!("{short} is not a parameter; did you mean {close}?")
                }
                None => format!("{short} is not a parameter; use {list}"),
            },
            limit: list,
        }
    }
}

fn missing_parameter(name: &str) -> PointFault {
    PointFault {
        param: name.to_owned(),
        code: "missing_parameter",
        value: String::new(),
        limit: "a value for every parameter".to_owned(),
        detail: format!("parameter {name} has no value; give one"),
    }
}

fn inactive_parameter(parameter: &Parameter, value: &str) -> PointFault {
    let (name, value) = (&parameter.name, shown(value));
    let when = parameter
        .when
        .as_ref()
        .map_or_else(String::new, Expression::to_string);
    PointFault {
        param: name.clone(),
        code: "inactive_parameter",
        detail: format!(
            "parameter {name}: {value} is given, and {name} has a value only when {when}; leave it \
             out"
        ),
        value,
        limit: format!("a value only when {when}"),
    }
}

fn constraint_broken(constraint: &Expression) -> PointFault {
    let text = constraint.to_string();
    PointFault {
        param: String::new(),
        code: "constraint_broken",
        value: String::new(),
        detail: format!("the point does not keep the constraint {text}; change its values"),
        limit: text,
    }
}
