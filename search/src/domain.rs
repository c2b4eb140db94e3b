//! The values that one parameter may take, and the lattice that a step lays over them.

use std::collections::BTreeSet;

use crate::choice::{Choice, exact_integer};
use crate::fault::{PointFault, SpaceFault, shown};
use crate::point::ParamValue;

/// The largest magnitude of an integer bound or choice, 2^53: up to here every integer is also a
/// float, so no JSON reader on the way can change it.
pub const MAX_INT: i64 = 1 << 53;

/// The most choices of one categorical parameter: beyond it the parameter is a number in disguise,
/// and a model that keeps a weight per choice would learn nothing from a million trials.
pub const MAX_CHOICES: usize = 10_000;

/// The longest text of a choice, in characters: it is repeated in every trial's parameters.
pub const MAX_CHOICE_CHARS: usize = 256;

/// The smallest float step as a part of the larger bound's magnitude, 2^-40: it keeps 12 bits
/// between neighbours on the lattice, so rounding can neither merge two nor move one.
pub const MIN_RELATIVE_STEP: f64 = 1.0 / (1u64 << 40) as f64;

/// The values that one parameter may take.
///
/// Bounds are inclusive. With a step, the values are the lattice `low + k * step` for
/// `k = 0..=n`, computed by that one formula and capped at `high`, where
/// `n = floor((high - low) / step + slack)` and `slack = 1e-9 + 8 eps max(|low|, |high|) / step`
/// (below 1/500) forgives the rounding of decimal bounds (0.1 to 1.5 by 0.1 has 15 values). A high that is not on the
/// lattice is never reached. Equal values therefore have equal bits.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// A real number.
    Float {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
        /// Distance between neighbouring values; `None` for all floats in between.
        step: Option<f64>,
        /// Whether the logarithm, rather than the value, is spread evenly.
        log: bool,
    },
    /// A whole number.
    Int {
        /// Smallest value.
        low: i64,
        /// Largest value.
        high: i64,
        /// Distance between neighbouring values; 1 for all.
        step: i64,
        /// Whether the logarithm, rather than the value, is spread evenly.
        log: bool,
    },
    /// One of several values without order.
    Categorical {
        /// The values on offer.
        choices: Vec<Choice>,
    },
}

/// Why a value does not fit: the part of a [`PointFault`] that the domain knows.
struct Misfit {
    code: &'static str,
    limit: String,
    advice: String,
}

impl Misfit {
    fn new(code: &'static str, limit: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            code,
            limit: limit.into(),
            advice: advice.into(),
        }
    }

    fn of(self, name: &str, value: &str) -> PointFault {
        let value = shown(value);
        PointFault {
            detail: format!("parameter {name}: {value} {}", self.advice),
            param: name.to_owned(),
            code: self.code,
            value,
            limit: self.limit,
        }
    }
}

impl Domain {
    /// How many different values there are; `None` for a float without step (unless low equals
    /// high, which leaves one). Only meaningful for a domain that belongs to a
    /// [`Space`](crate::Space).
    ///
    /// ```
    /// use trialmill_search::Domain;
    ///
    /// assert_eq!(Domain::Float { low: 0.1, high: 1.5, step: Some(0.1), log: false }.size(), Some(15));
    /// assert_eq!(Domain::Int { low: 30, high: 121, step: 5, log: false }.size(), Some(19));
    /// assert_eq!(Domain::Float { low: 0.0, high: 1.0, step: None, log: false }.size(), None);
    /// ```
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Float { low, high, .. } if low == high => Some(1),
            Self::Float { step: None, .. } => None,
            Self::Float {
                low,
                high,
                step: Some(step),
                ..
            } => Some(float_steps(*low, *high, *step) + 1),
            Self::Int {
                low, high, step, ..
            } => Some(high.abs_diff(*low) / step.unsigned_abs() + 1),
            Self::Categorical { choices } => Some(choices.len() as u64),
        }
    }

    /// The value at position `k` of the lattice (or list of choices).
    ///
    /// # Panics
    /// If `k` is not below [`size`](Self::size).
    #[must_use]
    pub fn value_at(&self, k: u64) -> ParamValue {
        let size = self
            .size()
            .expect("only a domain with a size has positions");
        assert!(
            k < size,
            "position {k} is not below the domain's size {size}"
        );
        match self {
            Self::Float {
                low, high, step, ..
            } => ParamValue::Float(float_at(*low, *high, step.unwrap_or(0.0), k)),
            Self::Int { low, step, .. } => {
                let k = i64::try_from(k).expect("a checked int domain has at most 2^54 values");
                ParamValue::Int(low + k * step)
            }
            Self::Categorical { .. } => {
                ParamValue::Category(u32::try_from(k).expect("at most MAX_CHOICES choices"))
            }
        }
    }

    /// The position of a value of this domain; `None` for a value of another kind and where there
    /// are no positions.
    pub(crate) fn position_of(&self, value: ParamValue) -> Option<u64> {
        match (self, value) {
            (Self::Float { low, high, .. }, ParamValue::Float(_)) if low == high => Some(0),
            (
                Self::Float {
                    low,
                    high,
                    step: Some(step),
                    ..
                },
                ParamValue::Float(value),
            ) => Some(nearest_position(*low, *high, *step, value)),
            (Self::Int { low, step, .. }, ParamValue::Int(value)) => {
                Some(value.abs_diff(*low) / step.unsigned_abs())
            }
            (Self::Categorical { .. }, ParamValue::Category(index)) => Some(u64::from(index)),
            (_, _) => None,
        }
    }

    /// The domain with every `-0.0` made `0.0`, or everything that is wrong with it.
    pub(crate) fn checked(self, name: &str) -> Result<Self, Vec<SpaceFault>> {
        let mut faults = Faults {
            name,
            found: Vec::new(),
        };
        let domain = match self {
            Self::Float {
                low,
                high,
                step,
                log,
            } => {
                // Adding zero turns -0.0 into 0.0 and leaves every other value as it is.
                let (low, high) = (low + 0.0, high + 0.0);
                faults.of_float(low, high, step, log);
                Self::Float {
                    low,
                    high,
                    step,
                    log,
                }
            }
            Self::Int {
                low,
                high,
                step,
                log,
            } => {
                faults.of_int(low, high, step, log);
                self
            }
            Self::Categorical { choices } => {
                let choices: Vec<Choice> = choices.into_iter().map(without_negative_zero).collect();
                faults.of_choices(&choices);
                Self::Categorical { choices }
            }
        };
        if faults.found.is_empty() {
            Ok(domain)
        } else {
            Err(faults.found)
        }
    }

    /// Whether `value` is one of this domain's, to the bit.
    pub(crate) fn check(&self, name: &str, value: ParamValue) -> Result<(), PointFault> {
        let misfit = match (self, value) {
            (
                Self::Float {
                    low, high, step, ..
                },
                ParamValue::Float(float),
            ) => {
                if !float.is_finite() {
                    Misfit::new("not_finite", range(low, high), "must be a finite number")
                } else if float == 0.0 && float.is_sign_negative() {
                    Misfit::new("negative_zero", "0.0", "must be written as 0.0")
                } else if float < *low || float > *high {
                    outside(low, high)
                } else if let Some(step) = step
                    && nearest(*low, *high, *step, float).to_bits() != float.to_bits()
                {
                    off_step(low, step, &nearest(*low, *high, *step, float))
                } else {
                    return Ok(());
                }
            }
            (
                Self::Int {
                    low, high, step, ..
                },
                ParamValue::Int(int),
            ) => {
                if int < *low || int > *high {
                    outside(low, high)
                } else if !int.abs_diff(*low).is_multiple_of(step.unsigned_abs()) {
                    let below = int - (int - low) % step;
                    off_step(low, step, &below)
                } else {
                    return Ok(());
                }
            }
            (Self::Categorical { choices }, ParamValue::Category(index)) => {
                if (index as usize) < choices.len() {
                    return Ok(());
                }
                let last = choices.len() - 1;
                Misfit::new(
                    "unknown_choice",
                    range(&0, &last),
                    format!("is not 0 to {last}"),
                )
            }
            (_, _) => self.wrong_type(),
        };
        Err(misfit.of(name, &value.to_string()))
    }

    /// The value of this domain that a scalar stands for.
    ///
    /// A whole float is taken for an int and an int for a float; a float that misses the
    /// lattice by rounding alone (the slack above) is moved onto it, so that 0.3 is accepted where the formula gives
    /// 0.30000000000000004.
    pub(crate) fn value_of(&self, name: &str, choice: &Choice) -> Result<ParamValue, PointFault> {
        let value = match (self, choice) {
            (
                Self::Float {
                    low, high, step, ..
                },
                Choice::Int(_) | Choice::Float(_),
            ) => {
                let float = match choice {
                    Choice::Float(float) => *float + 0.0,
                    // Beyond 2^53 the nearest float is what a float parameter means.
                    Choice::Int(int) => *int as f64,
                    _ => unreachable!("the outer pattern lets only numbers in"),
                };
                ParamValue::Float(match step {
                    Some(step) if float.is_finite() => snapped(*low, *high, *step, float),
                    _ => float,
                })
            }
            (Self::Int { .. }, Choice::Int(int)) => ParamValue::Int(*int),
            (Self::Int { .. }, Choice::Float(float)) => match exact_integer(*float) {
                Some(int) => ParamValue::Int(int),
                None => return Err(self.wrong_type().of(name, &choice.to_string())),
            },
            (Self::Categorical { choices }, _) => {
                match choices
                    .iter()
                    .position(|offered| offered.same_value(choice))
                {
                    Some(at) => ParamValue::Category(
                        u32::try_from(at).expect("at most MAX_CHOICES choices"),
                    ),
                    None => return Err(unknown_choice(choices).of(name, &choice.to_string())),
                }
            }
            (_, _) => return Err(self.wrong_type().of(name, &choice.to_string())),
        };
        self.check(name, value).map(|()| value)
    }

    fn wrong_type(&self) -> Misfit {
        match self {
            Self::Float { .. } => Misfit::new("wrong_type", "a number", "must be a number"),
            Self::Int { .. } => Misfit::new("wrong_type", "an integer", "must be an integer"),
            Self::Categorical { choices } => unknown_choice(choices),
        }
    }
}

fn range(low: &impl std::fmt::Debug, high: &impl std::fmt::Debug) -> String {
    format!("{low:?} to {high:?}")
}

fn outside(low: &impl std::fmt::Debug, high: &impl std::fmt::Debug) -> Misfit {
    let range = range(low, high);
    let advice = format!("is outside {range}");
    Misfit::new("out_of_range", range, advice)
}

fn off_step<T: std::fmt::Debug>(low: &T, step: &T, near: &T) -> Misfit {
    let limit = format!("{low:?} + k * {step:?}");
    let advice = format!("is not {limit} for a whole k; use for example {near:?}");
    Misfit::new("off_step", limit, advice)
}

fn unknown_choice(choices: &[Choice]) -> Misfit {
    /// More names than this no longer help the reader of a message.
    const LISTED: usize = 20;
    let mut names: Vec<String> = choices
        .iter()
        .take(LISTED)
        .map(|choice| shown(&choice.to_string()))
        .collect();
    if choices.len() > LISTED {
        names.push(format!("and {} more", choices.len() - LISTED));
    }
    let names = names.join(", ");
    let advice = format!("is not one of the choices; use one of {names}");
    Misfit::new("unknown_choice", names, advice)
}

/// By what part of a step decimal bounds and values may miss the lattice through rounding alone.
fn slack(low: f64, high: f64, step: f64) -> f64 {
    1e-9 + 8.0 * f64::EPSILON * (low.abs().max(high.abs()) / step)
}

/// `n` of the lattice `0..=n`: how many whole steps fit between the bounds.
fn float_steps(low: f64, high: f64, step: f64) -> u64 {
    let steps = libm::floor((high - low) / step + slack(low, high, step));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative and at most about 2^41 by MIN_RELATIVE_STEP"
    )]
    let steps = steps as u64;
    steps
}

/// The one formula of the float lattice.
fn float_at(low: f64, high: f64, step: f64, k: u64) -> f64 {
    (low + k as f64 * step).min(high)
}

/// The lattice value nearest to a finite `value`.
fn nearest(low: f64, high: f64, step: f64, value: f64) -> f64 {
    float_at(low, high, step, nearest_position(low, high, step, value))
}

fn nearest_position(low: f64, high: f64, step: f64, value: f64) -> u64 {
    let last = float_steps(low, high, step) as f64;
    let k = libm::rint((value - low) / step).clamp(0.0, last);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the lattice's positions, which fit u64"
    )]
    let k = k as u64;
    k
}

/// `value` moved onto the lattice if it misses it only by rounding, else as it is.
fn snapped(low: f64, high: f64, step: f64, value: f64) -> f64 {
    let near = nearest(low, high, step, value);
    let slack = 1e-9 * step + 8.0 * f64::EPSILON * low.abs().max(high.abs());
    if (value - near).abs() <= slack {
        near
    } else {
        value
    }
}

fn without_negative_zero(choice: Choice) -> Choice {
    match choice {
        Choice::Float(value) => Choice::Float(value + 0.0),
        other => other,
    }
}

/// The faults of one parameter's domain, as they are found.
struct Faults<'a> {
    name: &'a str,
    found: Vec<SpaceFault>,
}

impl Faults<'_> {
    fn add(
        &mut self,
        field: &'static str,
        code: &'static str,
        value: &str,
        limit: &str,
        advice: &str,
    ) {
        let value = shown(value);
        self.found.push(SpaceFault {
            param: self.name.to_owned(),
            field,
            index: None,
            position: None,
            allowed: Vec::new(),
            code,
            detail: format!("parameter {}: {field} {value} {advice}", shown(self.name)),
            value,
            limit: limit.to_owned(),
        });
    }

    fn of_float(&mut self, low: f64, high: f64, step: Option<f64>, log: bool) {
        for (field, bound) in [("low", Some(low)), ("high", Some(high)), ("step", step)] {
            if let Some(bound) = bound
                && !bound.is_finite()
            {
                let value = format!("{bound:?}");
                self.add(
                    field,
                    "not_finite",
                    &value,
                    "a finite number",
                    "must be a finite number",
                );
            }
        }
        if !(low.is_finite() && high.is_finite()) {
            return;
        }
        let ordered = self.of_order(low, high);
        if ordered && !(high - low).is_finite() {
            let (value, limit) = (format!("{high:?}"), format!("{:?}", f64::MAX));
            let advice = format!("lies further than {limit} above low; bring the bounds closer");
            self.add("high", "range_too_wide", &value, &limit, &advice);
            return;
        }
        if log && low <= 0.0 {
            let value = format!("{low:?}");
            self.add(
                "low",
                "log_needs_positive_low",
                &value,
                "above 0",
                "must be above 0 with log",
            );
        }
        let Some(step) = step.filter(|step| step.is_finite()) else {
            return;
        };
        let value = format!("{step:?}");
        if log {
            self.add(
                "step",
                "log_with_step",
                &value,
                "null",
                "cannot go with log; drop one of them",
            );
        }
        if step <= 0.0 {
            self.add(
                "step",
                "step_not_positive",
                &value,
                "above 0",
                "must be above 0",
            );
        } else if ordered && low < high {
            let least = MIN_RELATIVE_STEP * low.abs().max(high.abs());
            if step > high - low {
                self.of_long_step(&value, &format!("{:?}", high - low));
            } else if step < least {
                let limit = format!("{least:?}");
                let advice = format!("is below {limit}, too fine for these bounds; use null");
                self.add("step", "step_too_small", &value, &limit, &advice);
            }
        }
    }

    fn of_int(&mut self, low: i64, high: i64, step: i64, log: bool) {
        for (field, bound) in [("low", low), ("high", high)] {
            if bound.unsigned_abs() > MAX_INT.unsigned_abs() {
                let limit = range(&-MAX_INT, &MAX_INT);
                let advice = format!("is outside {limit}, where integers are exact in JSON");
                self.add(field, "out_of_range", &bound.to_string(), &limit, &advice);
            }
        }
        let ordered = self.of_order(low, high);
        if log && low <= 0 {
            let value = low.to_string();
            self.add(
                "low",
                "log_needs_positive_low",
                &value,
                "above 0",
                "must be above 0 with log",
            );
        }
        let value = step.to_string();
        if step <= 0 {
            self.add(
                "step",
                "step_not_positive",
                &value,
                "above 0",
                "must be above 0",
            );
            return;
        }
        if log && step != 1 {
            self.add(
                "step",
                "log_needs_step_one",
                &value,
                "1",
                "must be 1 with log",
            );
        }
        if ordered && low < high && step.unsigned_abs() > high.abs_diff(low) {
            self.of_long_step(&value, &high.abs_diff(low).to_string());
        }
    }

    fn of_order<T: Copy + PartialOrd + std::fmt::Debug>(&mut self, low: T, high: T) -> bool {
        let ordered = low <= high;
        if !ordered {
            let limit = format!("at most {high:?}");
            let advice = format!("is above high {high:?}; swap them or lower it");
            self.add(
                "low",
                "low_above_high",
                &format!("{low:?}"),
                &limit,
                &advice,
            );
        }
        ordered
    }

    fn of_long_step(&mut self, step: &str, width: &str) {
        let limit = format!("at most {width}");
        let advice = format!("is longer than the range {width}; shorten it or set low = high");
        self.add("step", "step_above_range", step, &limit, &advice);
    }

    fn of_choices(&mut self, choices: &[Choice]) {
        if choices.is_empty() {
            self.add(
                "choices",
                "empty_choices",
                "[]",
                "at least 1",
                "needs at least 1 choice",
            );
        }
        if choices.len() > MAX_CHOICES {
            let (count, limit) = (choices.len().to_string(), format!("at most {MAX_CHOICES}"));
            let advice =
                format!("is more than {MAX_CHOICES} choices; use int or float for numbers");
            self.add("choices", "too_many_choices", &count, &limit, &advice);
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, choice) in choices.iter().enumerate() {
            let before = self.found.len();
            self.of_choice(choice);
            if !seen.insert(choice.key()) {
                let advice = "is offered twice; 1 and 1.0 are the same value";
                self.add(
                    "choices",
                    "duplicate_choice",
                    &choice.to_string(),
                    "each once",
                    advice,
                );
            }
            for fault in &mut self.found[before..] {
                fault.index = Some(index);
            }
        }
    }

    fn of_choice(&mut self, choice: &Choice) {
        let value = shown(&choice.to_string());
        match choice {
            Choice::Null | Choice::Bool(_) => {}
            Choice::Int(int) if int.unsigned_abs() > MAX_INT.unsigned_abs() => {
                let limit = range(&-MAX_INT, &MAX_INT);
                let advice = format!("is outside {limit}; write it as a string");
                self.add("choices", "out_of_range", &value, &limit, &advice);
            }
            Choice::Float(float) if !float.is_finite() => {
                self.add(
                    "choices",
                    "not_finite",
                    &value,
                    "a finite number",
                    "must be finite",
                );
            }
            Choice::Int(_) | Choice::Float(_) => {}
            Choice::Text(text) => {
                if text.chars().nth(MAX_CHOICE_CHARS).is_some() {
                    let limit = format!("at most {MAX_CHOICE_CHARS} characters");
                    let advice = format!("is too long; use {limit}");
                    self.add("choices", "text_too_long", &value, &limit, &advice);
                }
                if text.contains('\0') {
                    let advice = "holds a NUL character, which no database keeps; remove it";
                    self.add("choices", "nul_character", &value, "no NUL", advice);
                } else if text.contains(char::is_control) {
                    let (limit, advice) = (
                        "no control characters",
                        "holds a control character (such as a line break); remove it",
                    );
                    self.add("choices", "control_character", &value, limit, advice);
                }
            }
        }
    }
}
