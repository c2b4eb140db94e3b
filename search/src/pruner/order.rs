//! In which order the parts of an evaluation are run, so that steps of different trials are comparable.

use crate::stream::Stream;

/// The order in which every trial of a study evaluates `steps` parts of its work, such as the segments
/// of a training window or the stocks of a universe: part `order[k]` is reported as step `k`.
///
/// The order follows from the seed alone, never from the trial: at each step all trials have
/// seen the same parts, so that [`Median`](super::Median), [`Asha`](super::Asha) and the others compare like with like,
/// and step `k` is the same part for the pairs of [`Wilcoxon`](super::Wilcoxon). It is shuffled
/// (Fisher-Yates over the study's stream `step_order`), so that the first steps are no worse a
/// sample than the others: in the order of time they would all be of the oldest market.
///
/// ```
/// use trialmill_search::pruner::step_order;
///
/// let order = step_order(42, 6);
/// assert_eq!(order, step_order(42, 6));
/// let mut parts = order;
/// parts.sort();
/// assert_eq!(parts, [0, 1, 2, 3, 4, 5]);
/// ```
#[must_use]
pub fn step_order(seed: u64, steps: u32) -> Vec<u32> {
    let mut stream = Stream::for_study(seed, "step_order");
    let mut order: Vec<u32> = (0..steps).collect();
    for last in (1..order.len()).rev() {
        let other = usize::try_from(stream.below(last as u64 + 1))
            .expect("a draw not above `last` fits what `last` fits");
        order.swap(last, other);
    }
    order
}
