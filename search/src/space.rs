//! A space: the parameters of a search, ordered by name, checked once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::choice::Choice;
use crate::domain::Domain;
use crate::fault::{PointFault, SpaceFault, shown};
use crate::point::{ParamValue, Point, UnpackError};

/// The most parameters of a space: no sampler learns anything in more dimensions from a million
/// trials, and it bounds a packed point to 800 bytes.
pub const MAX_PARAMETERS: usize = 100;

/// The longest parameter name, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// Bytes that each parameter takes in a packed point.
const PACKED_BYTES: usize = 8;

/// A parameter of a space: a checked name with a checked domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    name: String,
    domain: Domain,
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
}

/// The parameters of a search, ordered by name. Cannot exist with a fault in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    parameters: Vec<Parameter>,
    /// Positions of parameters, parents before the parameters whose conditions read them.
    order: Vec<usize>,
    /// Positions of parameters that are always present together.
    groups: Vec<Vec<usize>>,
}

impl Space {
    /// Checks the parameters and orders them by name. `-0.0` in a bound or choice becomes `0.0`.
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
        let mut faults = Vec::new();
        let mut checked = BTreeMap::new();
        let mut count = 0_usize;
        for (name, domain) in parameters {
            count += 1;
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
            match checked.entry(name) {
                Entry::Occupied(first) => faults.push(duplicate_parameter(first.key())),
                Entry::Vacant(place) => {
                    place.insert(domain);
                }
            }
        }
        if count == 0 {
            faults.push(wrong_count(
                "empty_space",
                count,
                "needs at least 1; add a parameter",
            ));
        } else if count > MAX_PARAMETERS {
            let advice = format!("may have {MAX_PARAMETERS}; fix or drop the unimportant ones");
            faults.push(wrong_count("too_many_parameters", count, &advice));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let parameters: Vec<Parameter> = checked
            .into_iter()
            .map(|(name, domain)| Parameter {
                name,
                domain: domain.expect("a domain is missing only beside its faults"),
            })
            .collect();
        let order: Vec<usize> = (0..parameters.len()).collect();
        Ok(Self {
            parameters,
            groups: vec![order.clone()],
            order,
        })
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
    /// If `position` is not a parameter's, or `values` has another length than the space.
    #[must_use]
    pub fn is_active(&self, position: usize, values: &[ParamValue]) -> bool {
        assert_eq!(
            values.len(),
            self.parameters.len(),
            "one value per parameter"
        );
        assert!(position < self.parameters.len(), "no parameter {position}");
        true
    }

    /// Whether the point keeps every constraint of the space.
    #[must_use]
    pub fn allows(&self, point: &Point) -> bool {
        point.values().len() == self.parameters.len()
    }

    /// Whether the point has one value per parameter, each inside its domain and, to the bit, on its
    /// step lattice.
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
        let faults: Vec<PointFault> = self
            .parameters
            .iter()
            .zip(point.values())
            .filter_map(|(parameter, value)| parameter.domain.check(&parameter.name, *value).err())
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// 8 little-endian bytes per parameter: the bits of a float, an `i64`, or a choice's position as
    /// `i64`. Equal points of one space have equal bytes.
    #[must_use]
    pub fn pack(&self, point: &Point) -> Vec<u8> {
        let words = point.values().iter().flat_map(|value| value.to_packed());
        words.collect()
    }

    /// The point that [`pack`](Self::pack) made bytes of.
    ///
    /// # Errors
    /// If the length is wrong, or a value lies outside its domain (the first such is named).
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
                Domain::Float { .. } => ParamValue::Float(f64::from_le_bytes(word)),
                Domain::Int { .. } => ParamValue::Int(i64::from_le_bytes(word)),
                // A position beyond u32 becomes u32::MAX, which the check below refuses.
                Domain::Categorical { .. } => ParamValue::Category(
                    u32::try_from(i64::from_le_bytes(word)).unwrap_or(u32::MAX),
                ),
            };
            parameter.domain.check(&parameter.name, value)?;
            values.push(value);
        }
        Ok(Point::new(values))
    }

    /// The point as (name, scalar) pairs in the space's order: what JSON shows and objectives read.
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
    /// Every missing, unknown or unfitting value at once.
    pub fn point_from_named(
        &self,
        named: &BTreeMap<String, Choice>,
    ) -> Result<Point, Vec<PointFault>> {
        let mut faults = Vec::new();
        let mut values = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let value = match named.get(&parameter.name) {
                Some(choice) => parameter.domain.value_of(&parameter.name, choice),
                None => Err(missing_parameter(&parameter.name)),
            };
            match value {
                Ok(value) => values.push(value),
                Err(fault) => faults.push(fault),
            }
        }
        let known = |name: &str| {
            self.parameters
                .binary_search_by(|parameter| parameter.name.as_str().cmp(name))
                .is_ok()
        };
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
        let close = names()
            .map(|known| (strsim::osa_distance(&short, known), known))
            .filter(|(distance, known)| *distance <= 2.min(known.len() / 2))
            .min();
        let list = names().collect::<Vec<_>>().join(", ");
        PointFault {
            param: name.to_owned(),
            code: "unknown_parameter",
            value: shown(&choice.to_string()),
            detail: match close {
                Some((_, close)) => {
                    format!("{short} is not a parameter; did you mean {close}?")
                }
                None => format!("{short} is not a parameter; use {list}"),
            },
            limit: list,
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
        code,
        value: count.to_string(),
        limit: format!("1 to {MAX_PARAMETERS}"),
        detail: format!("the space has {count} parameters and {advice}"),
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
