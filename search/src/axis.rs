//! One parameter as a model sees it: a place on a line, in a lattice or among choices.

use crate::domain::Domain;
use crate::point::ParamValue;

/// A parameter with more than one value. Its values are handled as *places*, floats in a
/// form that needs no domain to compute with:
///
/// | axis | place | range of its kernels |
/// |---|---|---|
/// | line | part of the range, 0 to 1, of the logarithm where the domain says so | the same |
/// | lattice | number of the cell, 0 to cells - 1 | half a cell more at either end, as `[0, 1]` |
/// | choices | number of the choice | - |
///
/// Every range becomes `[0, 1]`, so that neither 1e-300 nor 1e300 meets the limits of floats later.
#[derive(Debug, Clone)]
pub(crate) enum Axis {
    /// A float without step.
    Line(Line),
    /// A float or int with a step: every int has one.
    Lattice(Lattice),
    /// A categorical parameter with this many choices.
    Choices(f64),
}

impl Axis {
    /// The axis of a domain; `None` where there is nothing to choose.
    pub(crate) fn of(domain: &Domain) -> Option<Self> {
        let size = domain.size();
        if size == Some(1) {
            return None;
        }
        Some(match (domain, size) {
            (Domain::Categorical { choices }, _) => Self::Choices(choices.len() as f64),
            (_, Some(size)) => Self::Lattice(Lattice::new(domain, size)),
            (_, None) => Self::Line(Line::new(domain)),
        })
    }

    /// The place of a value of the domain; `None` for an absent one.
    pub(crate) fn place(&self, value: ParamValue) -> Option<f64> {
        match (self, value) {
            (Self::Line(line), ParamValue::Float(value)) => Some(line.place(value)),
            (Self::Lattice(lattice), value) => lattice.cell(value),
            (Self::Choices(_), ParamValue::Category(index)) => Some(f64::from(index)),
            _ => None,
        }
    }

    /// Adds the places of the values at `position` of many points to `places`.
    ///
    /// # Panics
    /// If one of them is absent.
    pub(crate) fn add_places(
        &self,
        points: &[&[ParamValue]],
        position: usize,
        places: &mut Vec<f64>,
    ) {
        let values = points.iter().map(|values| values[position]);
        let from = places.len();
        // Two loops: the second one does several divisions at a time.
        match self {
            Self::Line(line) => {
                places.extend(values.map(|value| match value {
                    ParamValue::Float(value) => value,
                    _ => panic!("no place for {value} on a line"),
                }));
                for place in &mut places[from..] {
                    *place = line.place(*place);
                }
            }
            Self::Lattice(lattice) => {
                places.extend(values.map(|value| match lattice.above_low(value) {
                    Some(above) => above,
                    None => panic!("no place for {value} in a lattice"),
                }));
                for place in &mut places[from..] {
                    *place = lattice.cell_above_low(*place);
                }
            }
            Self::Choices(_) => places.extend(values.map(|value| match self.place(value) {
                Some(place) => place,
                None => panic!("no place for {value} among choices"),
            })),
        }
    }

    /// Where on `[0, 1]` a value of an ordered domain lies; `None` for a choice and an absent value.
    pub(crate) fn unit(&self, value: ParamValue) -> Option<f64> {
        match self {
            Self::Line(_) => self.place(value),
            Self::Lattice(lattice) => Some(lattice.middle(lattice.cell(value)?)),
            Self::Choices(_) => None,
        }
    }

    /// The value of an ordered domain that is nearest to a place on `[0, 1]`, or to the nearer end of
    /// that; `None` where there are choices.
    pub(crate) fn at_unit(&self, unit: f64) -> Option<ParamValue> {
        let unit = unit.clamp(0.0, 1.0);
        match self {
            Self::Line(line) => Some(ParamValue::Float(line.value(unit))),
            Self::Lattice(lattice) => Some(lattice.value(lattice.nearest(unit))),
            Self::Choices(_) => None,
        }
    }

    /// The value at a place.
    pub(crate) fn value(&self, place: f64) -> ParamValue {
        match self {
            Self::Line(line) => ParamValue::Float(line.value(place)),
            Self::Lattice(lattice) => lattice.value(place),
            Self::Choices(_) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a choice's number, below MAX_CHOICES"
                )]
                let index = place as u32;
                ParamValue::Category(index)
            }
        }
    }
}

/// A range of floats.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    low: f64,
    high: f64,
    log: bool,
    /// Where the range begins, and how long it is: of the logarithm where `log` is set.
    start: f64,
    length: f64,
}

impl Line {
    fn new(domain: &Domain) -> Self {
        let Domain::Float { low, high, log, .. } = *domain else {
            unreachable!("only a float domain has no size")
        };
        let start = if log { libm::log(low) } else { low };
        let end = if log { libm::log(high) } else { high };
        Self {
            low,
            high,
            log,
            start,
            length: end - start,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let value = if self.log { libm::log(value) } else { value };
        // Bounds so close that their logarithms are equal leave a length of 0.
        if self.length > 0.0 {
            ((value - self.start) / self.length).clamp(0.0, 1.0)
        } else {
            0.5
        }
    }

    fn value(&self, place: f64) -> f64 {
        let value = self.start + place * self.length;
        let value = if self.log { libm::exp(value) } else { value };
        // Rounding may step over a bound; adding zero keeps -0.0 out.
        value.clamp(self.low, self.high) + 0.0
    }
}

/// A float or int domain with a step.
#[derive(Debug, Clone)]
pub(crate) struct Lattice {
    domain: Domain,
    size: u64,
    cells: f64,
    step: f64,
    spacing: Spacing,
}

/// Where the cells of a lattice lie.
#[derive(Debug, Clone, Copy)]
enum Spacing {
    /// All cells have one width.
    Even,
    /// Cell `k` reaches from ln(low + k - 1/2) to ln(low + k + 1/2).
    Log { low: f64, start: f64, length: f64 },
}

impl Lattice {
    fn new(domain: &Domain, size: u64) -> Self {
        let spacing = match *domain {
            Domain::Int {
                low,
                high,
                log: true,
                ..
            } => {
                let start = libm::log(low as f64 - 0.5);
                let end = libm::log(high as f64 + 0.5);
                Spacing::Log {
                    low: low as f64,
                    start,
                    length: end - start,
                }
            }
            _ => Spacing::Even,
        };
        let step = match *domain {
            Domain::Int { step, .. } => step as f64,
            Domain::Float {
                step: Some(step), ..
            } => step,
            Domain::Float { step: None, .. } | Domain::Categorical { .. } => {
                unreachable!("only what has a step is a lattice")
            }
        };
        Self {
            domain: domain.clone(),
            size,
            cells: size as f64,
            step,
            spacing,
        }
    }

    /// How many values there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The same as a float.
    pub(crate) fn cells(&self) -> f64 {
        self.cells
    }

    /// Whether all cells have one length.
    pub(crate) fn is_even(&self) -> bool {
        matches!(self.spacing, Spacing::Even)
    }

    /// The middle of a cell on `[0, 1]`: where its value lies.
    pub(crate) fn middle(&self, cell: f64) -> f64 {
        self.at(cell, 0.0)
    }

    /// Both ends of a cell on `[0, 1]`.
    pub(crate) fn ends(&self, cell: f64) -> (f64, f64) {
        (self.at(cell, -0.5), self.at(cell, 0.5))
    }

    /// The cell whose value is nearest to a place on `[0, 1]`.
    pub(crate) fn nearest(&self, unit: f64) -> f64 {
        let cell = match self.spacing {
            Spacing::Even => unit * self.cells - 0.5,
            Spacing::Log { low, start, length } => libm::exp(start + unit * length) - low,
        };
        whole(cell).clamp(0.0, self.cells - 1.0)
    }

    fn at(&self, cell: f64, beside: f64) -> f64 {
        let unit = match self.spacing {
            Spacing::Even => (cell + 0.5 + beside) / self.cells,
            Spacing::Log { low, start, length } => {
                (libm::log(low + cell + beside) - start) / length
            }
        };
        unit.clamp(0.0, 1.0)
    }

    fn cell(&self, value: ParamValue) -> Option<f64> {
        self.above_low(value)
            .map(|above| self.cell_above_low(above))
    }

    /// How far a value is from the lowest one.
    fn above_low(&self, value: ParamValue) -> Option<f64> {
        match (&self.domain, value) {
            (Domain::Int { low, .. }, ParamValue::Int(value)) => Some((value - low) as f64),
            (Domain::Float { low, .. }, ParamValue::Float(value)) => Some(value - low),
            _ => None,
        }
    }

    /// The cell that lies so far from the lowest value.
    fn cell_above_low(&self, above: f64) -> f64 {
        whole(above / self.step).clamp(0.0, self.cells - 1.0)
    }

    fn value(&self, cell: f64) -> ParamValue {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cell's number, at most 2^54"
        )]
        let cell = cell as u64;
        // Beyond 2^53 the float that counts the cells may have been rounded up.
        self.domain.value_at(cell.min(self.size - 1))
    }
}

/// The whole number nearest to one that is not negative, the even one of two; what is below 0 stays below 1/2.
/// Made for many numbers, of which a call for each would cost more than all else.
fn whole(number: f64) -> f64 {
    /// From here on floats are whole.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    if number < WHOLE {
        (number + WHOLE) - WHOLE
    } else {
        number
    }
}
