//! A point of a space, and why packed bytes may fail to be one.

use std::fmt;

use thiserror::Error;

use crate::fault::PointFault;

/// The value of one parameter, in the form its domain has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParamValue {
    /// A value of a float domain.
    Float(f64),
    /// A value of an int domain.
    Int(i64),
    /// The position of a choice within a categorical domain.
    Category(u32),
    /// No value: the parameter's condition does not hold at this point.
    Absent,
}

impl ParamValue {
    /// The word that stands for [`Absent`](Self::Absent) in a packed point: a NaN as a float, and
    /// beyond every legal integer and choice, so no value of any domain has these bits.
    pub const ABSENT_WORD: u64 = 0x7ff8_0000_6162_7374;

    /// The value's 8 little-endian bytes in a packed point: the bits of a float, an `i64`, a
    /// choice's position as `i64`, or [`ABSENT_WORD`](Self::ABSENT_WORD).
    #[must_use]
    pub fn to_packed(self) -> [u8; 8] {
        match self {
            Self::Float(value) => value.to_bits().to_le_bytes(),
            Self::Int(value) => value.to_le_bytes(),
            Self::Category(index) => i64::from(index).to_le_bytes(),
            Self::Absent => Self::ABSENT_WORD.to_le_bytes(),
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_absent(self) -> bool {
        self == Self::Absent
    }
}

/// As JSON would write it; a category as the position of its choice, no value as `absent`.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Category(index) => write!(f, "choice number {index}"),
            Self::Absent => f.write_str("absent"),
        }
    }
}

/// One value per parameter, in the space's order (by name); [`ParamValue::Absent`] for a parameter
/// whose condition does not hold.
///
/// A point on its own is only a list; [`Space::check_point`](crate::Space::check_point) says
/// whether it belongs to a space. Points that a sampler or [`Space::unpack`](crate::Space::unpack)
/// gave do.
#[derive(Clone)]
pub struct Point {
    /// Differs in nearly all points that differ, so that a long history can be looked through for a point without reading the
    /// values of each, which lie apart.
    hash: u64,
    values: Box<[ParamValue]>,
}

impl Point {
    /// A point from values that are already in the space's order.
    #[must_use]
    pub fn new(values: Vec<ParamValue>) -> Self {
        Self {
            hash: hash(&values),
            values: values.into(),
        }
    }

    /// The same of equal points, and of nearly all others another one.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The values in the space's order.
    #[must_use]
    pub fn values(&self) -> &[ParamValue] {
        &self.values
    }
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.values == other.values
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Point").field(&self.values).finish()
    }
}

/// A number that is the same for equal values.
fn hash(values: &[ParamValue]) -> u64 {
    /// 2^64 / golden ratio, odd: each multiplication by it carries every bit upwards.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    values.iter().fold(0, |hash: u64, value| {
        let word = match *value {
            // Both zeros are equal.
            ParamValue::Float(value) => (value + 0.0).to_bits(),
            ParamValue::Int(value) => value.cast_unsigned(),
            ParamValue::Category(index) => u64::from(index),
            ParamValue::Absent => ParamValue::ABSENT_WORD,
        };
        (hash.rotate_left(23) ^ word).wrapping_mul(SPREAD)
    })
}

/// Why bytes are not a point of the space that was asked to unpack them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnpackError {
    /// The bytes belong to a space with another number of parameters, or were cut.
    #[error(
        "packed point has {got} bytes and this space needs {expected} (8 per parameter); \
         unpack it with the space it was packed with"
    )]
    WrongLength {
        /// Bytes given.
        got: usize,
        /// Bytes that a point of the space takes.
        expected: usize,
    },
    /// The bytes hold a value outside the space.
    #[error("packed point is not of this space: {0}")]
    Misfit(#[from] PointFault),
}
