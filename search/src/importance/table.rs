//! The trials as a forest reads them: whole numbers of bins, with the part of the domain that each
//! bin is.

use super::Observed;
use super::forest::LEAST_MEASURE;
use crate::axis::{Axis, Lattice};
use crate::space::Space;

/// The most bins of a numeric parameter. A tree can split between any two: with more, trees would take longer
/// and importances hardly change.
const MOST_BINS: usize = 256;

/// One parameter that has more than one value and is there in every trial.
#[derive(Debug)]
pub(super) struct Column {
    /// Its position in the space.
    pub(super) position: usize,
    /// Whether the bins have an order: all but the choices of a categorical parameter.
    pub(super) ordered: bool,
    /// The part of the domain that each bin is, all above 0 and together 1. The domain is spread as
    /// [`Random`](crate::Random) draws from it: evenly, or evenly in the logarithm.
    pub(super) measures: Vec<f64>,
    /// Where each bin begins, and at last where all end: the sums of the measures before. Between two, at least
    /// [`LEAST_MEASURE`] less rounding.
    pub(super) lows: Vec<f64>,
    /// Where the middle of what was seen in each bin lies, as a part of the domain; of choices, nothing.
    pub(super) middles: Vec<f64>,
    /// The bin of each trial.
    pub(super) bins: Vec<u16>,
}

/// The columns of all such parameters, in the order of the space.
pub(super) fn columns(space: &Space, trials: &[Observed<'_>]) -> Vec<Column> {
    let parameters = space.parameters().iter().enumerate();
    let column = |(position, parameter): (usize, &crate::Parameter)| {
        let axis = Axis::of(parameter.domain())?;
        let places: Option<Vec<f64>> = trials
            .iter()
            .map(|trial| axis.place(trial.point.values()[position]))
            .collect();
        let places = places?;
        let (ordered, mut measures, bins) = binned(&axis, &places);
        let mut sum = 0.0;
        for measure in &mut measures {
            *measure = measure.max(LEAST_MEASURE);
            sum += *measure;
        }
        measures.iter_mut().for_each(|measure| *measure /= sum);
        let middles = middles(&axis, &places, &measures, &bins);
        Some(Column {
            position,
            ordered,
            lows: sums(&measures),
            measures,
            middles,
            bins,
        })
    };
    parameters.filter_map(column).collect()
}

fn binned(axis: &Axis, places: &[f64]) -> (bool, Vec<f64>, Vec<u16>) {
    match axis {
        Axis::Choices(choices) => {
            let measures = vec![1.0 / choices; whole(*choices)];
            (false, measures, places.iter().map(|at| bin(*at)).collect())
        }
        Axis::Lattice(lattice) if lattice.size() <= MOST_BINS as u64 => {
            let (measures, bins) = cells(lattice, places);
            (true, measures, bins)
        }
        Axis::Lattice(lattice) => {
            let places: Vec<f64> = places.iter().map(|at| lattice.middle(*at)).collect();
            let (measures, bins) = quantiles(&places);
            (true, measures, bins)
        }
        Axis::Line(_) => {
            let (measures, bins) = quantiles(places);
            (true, measures, bins)
        }
    }
}

/// The sums of the measures before each bin, and of all.
fn sums(measures: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let after = measures.iter().map(|measure| {
        sum += measure;
        sum
    });
    std::iter::once(0.0).chain(after).collect()
}

/// The mean place of the trials in each bin, or its middle where there is none.
fn middles(axis: &Axis, places: &[f64], measures: &[f64], bins: &[u16]) -> Vec<f64> {
    if matches!(axis, Axis::Choices(_)) {
        return Vec::new();
    }
    let mut sums = vec![(0.0, 0.0); measures.len()];
    for (place, bin) in places.iter().zip(bins) {
        let place = match axis {
            Axis::Lattice(lattice) => lattice.middle(*place),
            _ => *place,
        };
        let (sum, count) = &mut sums[usize::from(*bin)];
        *sum += place;
        *count += 1.0;
    }
    let mut low = 0.0;
    let middles = sums.iter().zip(measures).map(|((sum, count), measure)| {
        let middle = low + 0.5 * measure;
        low += measure;
        if *count > 0.0 { sum / count } else { middle }
    });
    middles.collect()
}

/// A bin for each value of a small lattice.
fn cells(lattice: &Lattice, places: &[f64]) -> (Vec<f64>, Vec<u16>) {
    let measure = |cell| {
        let (low, high) = lattice.ends(f64::from(cell));
        high - low
    };
    let size = u32::try_from(lattice.size()).unwrap_or(u32::MAX);
    let measures = (0..size).map(measure).collect();
    (measures, places.iter().map(|at| bin(*at)).collect())
}

/// Bins of about as many trials each, or of one value each where there are few values; they meet halfway
/// between two values that were seen.
fn quantiles(places: &[f64]) -> (Vec<f64>, Vec<u16>) {
    let mut sorted = places.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    let values = if distinct.len() <= MOST_BINS {
        &distinct
    } else {
        &sorted
    };
    let per_bin = values.len().div_ceil(MOST_BINS);
    let mut edges = Vec::new();
    let mut last = 0.0;
    let mut since = 0;
    for pair in values.windows(2) {
        since += 1;
        let edge = 0.5 * (pair[0] + pair[1]);
        // Two values so close that the middle is one of them stay in one bin, so that no bin is empty.
        if since >= per_bin && pair[0] < edge && edge < pair[1] && edge > last {
            edges.push(edge);
            last = edge;
            since = 0;
        }
    }
    let bins = places
        .iter()
        .map(|at| as_bin(edges.partition_point(|edge| edge < at)))
        .collect();
    let (lows, highs) = (
        std::iter::once(&0.0).chain(&edges),
        edges.iter().chain(std::iter::once(&1.0)),
    );
    let measures = lows.zip(highs).map(|(low, high)| high - low).collect();
    (measures, bins)
}

fn bin(place: f64) -> u16 {
    as_bin(whole(place))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cell's or a choice's number"
)]
fn whole(place: f64) -> usize {
    place as usize
}

fn as_bin(bin: usize) -> u16 {
    // At most MOST_BINS of numbers, or MAX_CHOICES choices.
    u16::try_from(bin).unwrap_or(u16::MAX)
}
