//! Random search: each parameter drawn independently, as Optuna's `RandomSampler` draws it.

use crate::domain::Domain;
use crate::feasible::first_allowed;
use crate::history::History;
use crate::point::{ParamValue, Point};
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::stream::Stream;

/// Independent draws. The distributions are those of Optuna's `RandomSampler`:
///
/// | domain | distribution |
/// |---|---|
/// | float | uniform between low and high |
/// | float, log | the logarithm is uniform between ln low and ln high |
/// | float or int with step | uniform over the lattice |
/// | int, log | the logarithm is uniform between ln(low - 0.5) and ln(high + 0.5), rounded |
/// | categorical | uniform over the choices |
///
/// Each parameter takes one word of its stream (rarely more where an integer is drawn), whether or
/// not it turns out to be absent. A point that breaks a constraint is drawn again from the
/// words that follow, up to [`MAX_DRAWS`](crate::MAX_DRAWS) times; then the trial takes an allowed
/// one of the points that [`Space::feasible_point`] probes.
#[derive(Debug, Clone, Copy)]
pub struct Random;

impl Random {
    /// One draw from a domain that [`Space::new`] has checked.
    pub(crate) fn draw(domain: &Domain, stream: &mut Stream) -> ParamValue {
        if domain.is_by_position() {
            let size = domain.size().expect("what has positions has a size");
            domain.value_at(stream.below(size))
        } else {
            domain.at_unit(stream.unit_f64())
        }
    }

    /// The point that trial `number` takes, then others without end, constraints not minded: what a
    /// sampler with a model falls back on. The others come from the stream of that `label`.
    pub(crate) fn points(
        space: &Space,
        seed: u64,
        number: u32,
        label: &str,
    ) -> impl Iterator<Item = Point> {
        let first = std::iter::once_with(move || Self.ask(space, &History::EMPTY, seed, number));
        let mut stream = Stream::for_sampler(seed, number, label);
        let more = std::iter::repeat_with(move || {
            let domains = space.parameters().iter().map(crate::Parameter::domain);
            let values = domains.map(|domain| Self::draw(domain, &mut stream));
            space.without_inactive(values.collect())
        });
        first.flatten().chain(more)
    }
}

impl Sampler for Random {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::None
    }

    fn size_limit(&self) -> Option<u64> {
        None
    }

    /// `None` only if no allowed point was found.
    fn ask(&self, space: &Space, _: &History<'_>, seed: u64, number: u32) -> Option<Point> {
        let mut streams: Vec<Stream> = space
            .parameters()
            .iter()
            .map(|parameter| Stream::for_parameter(seed, number, parameter.name()))
            .collect();
        first_allowed(space, number, || {
            let parameters = space.parameters().iter().zip(&mut streams);
            let values =
                parameters.map(|(parameter, stream)| Self::draw(parameter.domain(), stream));
            space.without_inactive(values.collect())
        })
    }
}
