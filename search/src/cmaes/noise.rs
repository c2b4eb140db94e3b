//! The standard normal vectors that trials are drawn from.

use super::cholesky::dot;
use crate::normal;
use crate::stream::Stream;

/// The most vectors that are made orthogonal to each other, which bounds the work per trial.
const MOST_ORTHOGONAL: usize = 32;

/// The standard normal vector of trial `number`.
///
/// Numbers come in pairs of opposite vectors, and as many pairs as there are coordinates (at most 32) are
/// orthogonal to each other: *mirrored orthogonal sampling* (Wang, Emmerich and Bäck, "Mirrored
/// orthogonal sampling for covariance matrix adaptation evolution strategies", Evolutionary
/// Computation 27(4), 2019). Each vector alone is distributed as any normal one; together they lie more evenly
/// than independent ones. Which vectors go together follows from the numbers alone, so a generation may begin
/// anywhere among them.
pub(super) fn mirrored_orthogonal(seed: u64, number: u32, coordinates: usize) -> Vec<f64> {
    let vectors = coordinates.clamp(1, MOST_ORTHOGONAL);
    let pair = number / 2;
    let size = u32::try_from(vectors).expect("at most MOST_ORTHOGONAL");
    let (block, at) = (pair / size, pair % size);
    let mut stream = Stream::for_sampler(seed, block, "cmaes_block");
    let mut before: Vec<Vec<f64>> = Vec::with_capacity(vectors);
    let mut z = Vec::new();
    for _ in 0..=at {
        z = independent(&mut stream, coordinates);
        let length = dot(&z, &z).sqrt();
        // Gram and Schmidt, in the numerically stable order.
        for other in &before {
            let part = dot(other, &z) / dot(other, other);
            for (z, other) in z.iter_mut().zip(other) {
                *z -= part * other;
            }
        }
        let left = dot(&z, &z).sqrt();
        if left > 0.0 {
            z.iter_mut().for_each(|z| *z *= length / left);
            before.push(z.clone());
        }
    }
    if number % 2 == 1 {
        z.iter_mut().for_each(|z| *z = -*z);
    }
    z
}

/// Independent standard normal numbers.
pub(super) fn independent(stream: &mut Stream, coordinates: usize) -> Vec<f64> {
    let draws = (0..coordinates).map(|_| normal::inverse(inner_unit(stream)));
    draws.collect()
}

/// Uniform strictly between 0 and 1.
pub(super) fn inner_unit(stream: &mut Stream) -> f64 {
    stream.unit_f64() + f64::EPSILON / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_opposite_and_those_of_a_block_orthogonal() {
        let z: Vec<_> = (0..20).map(|k| mirrored_orthogonal(7, k, 5)).collect();
        for k in (0..20).step_by(2) {
            let opposite: Vec<f64> = z[k].iter().map(|z| -z).collect();
            assert_eq!(z[k + 1], opposite);
        }
        for block in [0, 10] {
            for a in (block..block + 10).step_by(2) {
                for b in (block..a).step_by(2) {
                    assert!(dot(&z[a], &z[b]).abs() < 1e-12, "{a} and {b}");
                }
            }
        }
        assert!(dot(&z[0], &z[10]).abs() > 1e-6, "blocks are independent");
    }

    #[test]
    fn each_coordinate_is_standard_normal() {
        let all: Vec<f64> = (0..4_000)
            .flat_map(|k| mirrored_orthogonal(1, 2 * k, 3))
            .collect();
        let count = all.len() as f64;
        let moment = |power: f64| all.iter().map(|z| libm::pow(*z, power)).sum::<f64>() / count;
        assert!(moment(1.0).abs() < 0.03, "{}", moment(1.0));
        assert!((moment(2.0) - 1.0).abs() < 0.05, "{}", moment(2.0));
        assert!((moment(4.0) - 3.0).abs() < 0.3, "{}", moment(4.0));
        assert!(mirrored_orthogonal(1, 5, 0).is_empty());
        assert_eq!(mirrored_orthogonal(1, u32::MAX, 100).len(), 100);
    }
}
