//! The interactions of fANOVA: what two parameters explain together beyond what each explains alone.

use serde::Serialize;

use super::fanova::{Divided, divided};
use super::table::Column;
use super::{FanovaOptions, ImportanceFault, Observed, largest_first, unknown_parameter};
use crate::space::Space;

/// The most parameters whose pairs are asked for at once: 45 pairs, about as much work as the forest.
pub const MAX_INTERACTION_PARAMETERS: usize = 10;

/// The most choices of a parameter in a pair: a leaf may hold any set of them, so work grows with their
/// product.
const MAX_PAIR_CHOICES: usize = 64;

/// How much two parameters matter together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairImportance {
    /// The one whose name comes first.
    pub first: String,
    /// The other one.
    pub second: String,
    /// The part of the variance that their interaction explains, without what each explains alone.
    pub value: f64,
}

/// Second-order fANOVA: the interaction of each two of the named parameters, the largest first. The same forest as
/// [`fanova`](super::fanova())'s with the same options.
///
/// ```text
/// value = (variance of f_ij - variance of f_i - variance of f_j) / variance of the forest
/// ```
///
/// (Hutter, Hoos and Leyton-Brown, 2014, algorithm 2.) Parameters that [`fanova`](super::fanova()) leaves out,
/// and those of one value, take part in no pair.
///
/// # Errors
/// As [`fanova`](super::fanova()); and a name that is no parameter's, more than
/// [`MAX_INTERACTION_PARAMETERS`] of them, or a parameter of more than 64 choices.
pub fn fanova_pairs(
    space: &Space,
    observed: &[Observed<'_>],
    options: &FanovaOptions,
    names: &[&str],
) -> Result<Vec<PairImportance>, ImportanceFault> {
    let mut positions = Vec::with_capacity(names.len().min(MAX_INTERACTION_PARAMETERS));
    for name in names {
        let position = space.parameters().iter().position(|p| p.name() == *name);
        positions.push(position.ok_or_else(|| unknown_parameter(space, name))?);
    }
    positions.sort_unstable();
    positions.dedup();
    if positions.len() > MAX_INTERACTION_PARAMETERS {
        return Err(ImportanceFault::TooManyParameters {
            got: positions.len(),
        });
    }
    let name = |column: &Column| space.parameters()[column.position].name().to_owned();
    let asked = |columns: &[Column]| {
        let asked: Vec<usize> = (0..columns.len())
            .filter(|at| positions.contains(&columns[*at].position))
            .collect();
        for column in asked.iter().map(|at| &columns[*at]) {
            let got = column.measures.len();
            if !column.ordered && got > MAX_PAIR_CHOICES {
                let name = name(column);
                return Err(ImportanceFault::TooManyChoices { name, got });
            }
        }
        let pairs = asked.iter().enumerate().flat_map(|(place, first)| {
            let rest = asked[place + 1..].iter();
            rest.map(move |second| (*first, *second))
        });
        Ok(pairs.collect())
    };
    let Divided {
        columns,
        pairs,
        division,
    } = divided(space, observed, options, asked)?;
    let pair = |((first, second), value): (&(usize, usize), &f64)| PairImportance {
        first: name(&columns[*first]),
        second: name(&columns[*second]),
        value: *value,
    };
    let mut pairs: Vec<PairImportance> = pairs.iter().zip(&division.pairs).map(pair).collect();
    // A stable sort: equal ones stay in the order of their names.
    pairs.sort_by(|a, b| largest_first(a.value, b.value));
    Ok(pairs)
}
