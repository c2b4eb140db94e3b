//! The kernels on a lattice.

use super::bandwidth::Bandwidths;
use super::candidates::CANDIDATES;
use super::kernel::Kernel;
use super::near::Near;
use crate::axis::Lattice;
use crate::normal::{self, ROOT_OF_TWO_PI};

/// A lattice of so many cells is short: candidates often share a cell, and a list of the cells is soon made.
const SHORT: u64 = 4_096;

/// The kernels on one lattice, in the order of the observations, the prior last.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    lattice: &'a Lattice,
    kinds: Vec<Kind>,
    /// The smallest bandwidth of all.
    narrowest: f64,
    others: Vec<Kernel>,
}

/// Many kernels are alike where there are few cells.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// As narrow as any, around this cell of a short lattice with cells of one length.
    Narrow(u32),
    /// One of the others.
    Other(u32),
}

impl<'a> Cells<'a> {
    /// Of observations by their cells, and by the middles of these on `[0, 1]`.
    pub(super) fn of(
        lattice: &'a Lattice,
        places: &[f64],
        middles: &[f64],
        bandwidths: &Bandwidths,
    ) -> Self {
        let mut cells = Self {
            lattice,
            kinds: Vec::with_capacity(places.len() + 1),
            narrowest: bandwidths.narrowest,
            others: Vec::new(),
        };
        if cells.is_short() && lattice.is_even() {
            let narrow = |cell: &f64| {
                #[expect(clippy::cast_possible_truncation, reason = "below SHORT")]
                let cell = number(*cell) as u32;
                Kind::Narrow(cell)
            };
            cells.kinds.extend(places.iter().map(narrow));
        } else {
            cells.add_uneven(middles, places);
        }
        for &(at, width) in &bandwidths.wider {
            let mean = middles[at];
            cells.kinds[at] = cells.other(Kernel { mean, width });
        }
        let prior = cells.other(Kernel::PRIOR);
        cells.kinds.push(prior);
        cells
    }

    /// Adds kernels that are as narrow as any. Where cells differ in length, those of one cell are still alike.
    fn add_uneven(&mut self, means: &[f64], places: &[f64]) {
        let size = if self.is_short() {
            number(self.lattice.cells())
        } else {
            0
        };
        let mut known = vec![None; size];
        for (mean, cell) in means.iter().zip(places) {
            let kernel = Kernel {
                mean: *mean,
                width: self.narrowest,
            };
            let kind = match known.get_mut(number(*cell)) {
                Some(known) => *known.get_or_insert_with(|| self.other(kernel)),
                None => self.other(kernel),
            };
            self.kinds.push(kind);
        }
    }

    fn is_short(&self) -> bool {
        self.lattice.size() <= SHORT
    }

    fn other(&mut self, kernel: Kernel) -> Kind {
        let at = u32::try_from(self.others.len());
        self.others.push(kernel);
        Kind::Other(at.expect("no more kernels than trials, which u32 numbers"))
    }

    pub(super) fn kernel(&self, k: usize) -> Kernel {
        match self.kinds[k] {
            Kind::Narrow(cell) => Kernel {
                mean: self.lattice.middle(f64::from(cell)),
                width: self.narrowest,
            },
            Kind::Other(at) => self.others[at as usize],
        }
    }

    /// What the logarithm of what a kernel gives to a cell is not above.
    pub(super) fn most(&self) -> f64 {
        /// Where cells are shorter, rounding has a say in how long they are.
        const SHORTEST: f64 = 1e-10;
        // No cell is longer than the first.
        let (low, high) = self.lattice.ends(0.0);
        if high - low < SHORTEST {
            return 0.0;
        }
        libm::log((high - low) / (self.narrowest * ROOT_OF_TWO_PI)).min(0.0)
    }

    /// Whether many kernels are unlike all others, so that what they give to a cell is computed for each one.
    pub(super) fn are_many(&self) -> bool {
        4 * self.others.len() > self.kinds.len()
    }

    /// The logarithm of what a narrow kernel gives to the cell that is so many cells away.
    fn given_by_narrow(&self, away: usize) -> f64 {
        let cell = 1.0 / self.lattice.cells();
        let (low, high) = ((away as f64 - 0.5) * cell, (away as f64 + 0.5) * cell);
        normal::ln_between(low / self.narrowest, high / self.narrowest)
    }

    /// To cells that are more cells away a narrow kernel gives too little: its logarithm is not above `least`.
    fn far(&self, least: f64) -> usize {
        // A tail is at most half of exp(-z^2 / 2).
        let z = (-2.0 * least).max(0.0).sqrt();
        number(z * self.narrowest * self.lattice.cells() + 0.5)
    }

    /// The cell that a draw from kernel `k` falls into.
    pub(super) fn draw(&self, k: usize, unit: f64) -> f64 {
        self.lattice.nearest(self.kernel(k).draw(unit))
    }
}

/// The logarithms of what the kernels on a lattice give to the cells of candidates, each computed when
/// it is first asked for.
pub(super) struct Given<'a> {
    cells: &'a Cells<'a>,
    /// Of each candidate, which of the different cells it lies in.
    row: Vec<usize>,
    /// These cells: number, and both ends.
    rows: Vec<(usize, (f64, f64))>,
    /// What no kernel gives more than.
    most: f64,
    /// What a narrow kernel gives to a cell that is so many cells away; NaN where nobody asked.
    away: Vec<f64>,
    /// By row, what the other kernels give, NaN where nobody asked; empty for a long lattice, where cells are hardly
    /// ever asked for twice.
    others: Vec<f64>,
}

impl<'a> Given<'a> {
    pub(super) fn of(cells: &'a Cells<'a>, candidates: impl Iterator<Item = f64>) -> Self {
        let (lattice, short) = (cells.lattice, cells.is_short());
        let size = if short { number(lattice.cells()) } else { 0 };
        let mut given = Self {
            cells,
            row: Vec::with_capacity(CANDIDATES),
            rows: Vec::with_capacity(CANDIDATES),
            most: cells.most(),
            away: vec![f64::NAN; size],
            others: Vec::new(),
        };
        for cell in candidates {
            let known = given.rows.iter().position(|row| row.0 == number(cell));
            given.row.push(known.unwrap_or(given.rows.len()));
            if known.is_none() {
                given.rows.push((number(cell), lattice.ends(cell)));
            }
        }
        if short {
            given.others = vec![f64::NAN; given.rows.len() * cells.others.len()];
        }
        given
    }

    /// Where on `[0, 1]` a candidate's cell begins and ends.
    pub(super) fn ends(&self, candidate: usize) -> (f64, f64) {
        self.rows[self.row[candidate]].1
    }

    /// Lowers the terms of kernels by what they give to a candidate's cell.
    pub(super) fn lower(&mut self, near: &mut Near, candidate: usize, least: f64) {
        let row = self.row[candidate];
        let (cell, (low, high)) = self.rows[row];
        let cells = self.cells;
        let (kinds, others): (&[Kind], &[Kernel]) = (&cells.kinds, &cells.others);
        let known: &mut [f64] = if self.others.is_empty() {
            &mut []
        } else {
            &mut self.others[row * others.len()..][..others.len()]
        };
        let terms: &mut [f64] = &mut self.away;
        let far = cells.far(least);
        near.keep(least, |k| match kinds[k] {
            Kind::Narrow(own) => {
                let away = cell.abs_diff(own as usize);
                if away > far {
                    return f64::NEG_INFINITY;
                }
                if terms[away].is_nan() {
                    terms[away] = cells.given_by_narrow(away);
                }
                terms[away]
            }
            Kind::Other(at) => {
                let at = at as usize;
                let Some(known) = known.get_mut(at) else {
                    return others[at].ln_between(low, high);
                };
                if known.is_nan() {
                    *known = others[at].ln_between(low, high);
                }
                *known
            }
        });
    }

    /// Lowers them by what is cheaply known of that: by no more than it is.
    pub(super) fn lower_cheaply(&self, near: &mut Near, candidate: usize, least: f64) {
        let (low, high) = self.ends(candidate);
        let Cells { kinds, others, .. } = self.cells;
        near.keep(least, |k| match kinds[k] {
            Kind::Narrow(_) => self.most,
            Kind::Other(at) => self.most - others[at as usize].least_loss(low, high),
        });
    }
}

/// A cell's number, which is below 2^55.
fn number(cell: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and below 2^55"
    )]
    let number = cell as usize;
    number
}
