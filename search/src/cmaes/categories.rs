//! The distribution of the categories, and how a generation of trials changes it.

use super::margin::least_probability;

/// An independent distribution over the choices of each categorical parameter.
///
/// Moved along the natural gradient by a step of known length, whose length follows how well
/// successive gradients agree: ASNG (Akimoto and others, "Adaptive stochastic natural gradient method
/// for one-shot neural architecture search", ICML 2019), as CatCMA with margin uses it (arXiv 2504.07884). No probability falls below a margin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Categories {
    /// One list of probabilities per parameter.
    pub(super) chances: Vec<Vec<f64>>,
    /// The least probability of each choice, per parameter.
    least: Vec<f64>,
    /// Where successive gradients lead: their moving sum, in coordinates in which the Fisher
    /// information is the unit matrix.
    path: Vec<f64>,
    /// The square of the length that the path would have by chance.
    gamma: f64,
    /// The inverse of the length of a step.
    slowness: f64,
}

/// How much longer than by chance the square of the path has to be for steps to grow.
const SIGNAL_TO_NOISE: f64 = 1.5;

impl Categories {
    /// Every choice equally likely. `discrete` counts these and the parameters with steps.
    pub(super) fn new(choices: &[usize], discrete: usize) -> Self {
        let least = least_probability(discrete);
        let free = choices.iter().map(|count| count - 1).sum();
        Self {
            chances: choices
                .iter()
                .map(|count| vec![1.0 / *count as f64; *count])
                .collect(),
            least: choices
                .iter()
                .map(|count| least / (*count as f64 - 1.0))
                .collect(),
            path: vec![0.0; free],
            gamma: 0.0,
            slowness: 1.0,
        }
    }

    /// The choice at the part `unit` of a parameter's distribution.
    pub(super) fn choice(&self, parameter: usize, unit: f64) -> usize {
        let chances = &self.chances[parameter];
        let mut below = 0.0;
        let found = chances.iter().position(|chance| {
            below += chance;
            unit < below
        });
        found.unwrap_or(chances.len() - 1)
    }

    /// Moves towards the choices of the good trials: the choice of each parameter (`None` where
    /// it is absent) and the weight of each one.
    pub(super) fn update(&mut self, good: &[(f64, Vec<Option<usize>>)]) {
        let mut gradients: Vec<Vec<f64>> = Vec::with_capacity(self.chances.len());
        let mut normed = Vec::with_capacity(self.path.len());
        for (parameter, chances) in self.chances.iter().enumerate() {
            let mut gradient = vec![0.0; chances.len()];
            for (weight, choices) in good {
                let Some(choice) = choices[parameter] else {
                    continue;
                };
                for (slope, chance) in gradient.iter_mut().zip(chances) {
                    *slope -= weight * chance;
                }
                gradient[choice] += weight;
            }
            // Akimoto and others, appendix B.
            let (last, others) = chances.split_last().expect("two choices at least");
            let sum: f64 = gradient[..others.len()].iter().sum();
            let common = sum / (last + last.sqrt());
            let slopes = others.iter().zip(&gradient);
            normed.extend(slopes.map(|(chance, slope)| {
                let root = chance.sqrt();
                slope / root + root * common
            }));
            gradients.push(gradient);
        }
        let length = normed.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
        if length <= 0.0 {
            return;
        }

        let step = 1.0 / (self.slowness * length);
        for (chances, gradient) in self.chances.iter_mut().zip(&gradients) {
            for (chance, slope) in chances.iter_mut().zip(gradient) {
                *chance += step * slope;
            }
        }

        let rate = (1.0 / (self.slowness * (self.path.len() as f64).sqrt())).min(1.0);
        let gain = (rate * (2.0 - rate)).sqrt() / length;
        for (path, slope) in self.path.iter_mut().zip(&normed) {
            *path = (1.0 - rate) * *path + gain * slope;
        }
        self.gamma = (1.0 - rate) * (1.0 - rate) * self.gamma + rate * (2.0 - rate);
        let square: f64 = self.path.iter().map(|path| path * path).sum();
        self.slowness *= libm::exp(rate * (self.gamma - square / SIGNAL_TO_NOISE));

        for (chances, least) in self.chances.iter_mut().zip(&self.least) {
            keep_margin(chances, *least);
        }
    }
}

/// Lifts every probability to at least `least`, and takes what that costs from the others in
/// proportion to what they have beyond it.
fn keep_margin(chances: &mut [f64], least: f64) {
    for chance in &mut *chances {
        *chance = chance.max(least);
    }
    let sum: f64 = chances.iter().sum();
    let beyond = sum - least * chances.len() as f64;
    for chance in &mut *chances {
        *chance -= (sum - 1.0) * (*chance - least) / beyond;
    }
    let sum: f64 = chances.iter().sum();
    chances.iter_mut().for_each(|chance| *chance /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(choices: [[usize; 2]; 3]) -> Vec<(f64, Vec<Option<usize>>)> {
        let weights = [
            0.637_042_571_241_216_8,
            0.284_570_257_438_032_94,
            0.078_387_171_320_750_33,
        ];
        let choices = choices.map(|of| of.map(Some).to_vec());
        weights.into_iter().zip(choices).collect()
    }

    #[test]
    fn updates_are_those_of_another_program() {
        // Of `cmaes.CatCMAwM` 0.13.1 (Python): three and two choices beside a lattice. Its length of
        // a step lags by one generation, against ASNG's; it was brought up to date before each.
        let mut categories = Categories::new(&[3, 2], 3);
        let generations = [
            (
                [[0, 1], [0, 0], [2, 1]],
                [
                    0.777_753_576_818_759_7,
                    0.081_514_117_579_943_2,
                    0.140_732_305_601_297_14,
                ],
                0.662_748_046_465_727_8,
                1.171_250_746_955_285,
            ),
            (
                [[0, 1], [0, 1], [1, 1]],
                [
                    0.873_672_045_059_736_7,
                    0.076_533_622_244_948_43,
                    0.049_794_332_695_314_91,
                ],
                0.900_411_334_609_370_3,
                1.143_411_217_776_097_6,
            ),
            (
                [[0, 1], [0, 1], [0, 1]],
                [
                    0.900_411_334_609_370_1,
                    0.049_794_332_695_314_91,
                    0.049_794_332_695_314_91,
                ],
                0.900_411_334_609_370_3,
                0.930_912_594_431_775_5,
            ),
        ];
        for (choices, first, second, slowness) in generations {
            categories.update(&good(choices));
            let got = categories.chances[0]
                .iter()
                .chain([&categories.chances[1][1], &categories.slowness]);
            for (got, expected) in got.zip(first.iter().chain([&second, &slowness])) {
                assert!((got - expected).abs() < 1e-7, "{got} is not {expected}");
            }
        }
    }

    #[test]
    fn no_choice_is_ever_given_up_however_long_another_one_is_better() {
        let mut categories = Categories::new(&[1_000, 2], 5);
        for _ in 0..500 {
            categories.update(&good([[7, 1]; 3]));
            for (chances, least) in categories.chances.iter().zip(&categories.least) {
                let sum: f64 = chances.iter().sum();
                assert!((sum - 1.0).abs() < 1e-9);
                assert!(chances.iter().all(|chance| *chance >= least * (1.0 - 1e-9)));
            }
        }
        assert!(categories.chances[0][7] > 0.9);
        assert_eq!(categories.choice(1, 0.999), 1);
        assert_eq!(categories.choice(1, 0.0), 0);
    }

    #[test]
    fn an_absent_category_changes_nothing() {
        let mut categories = Categories::new(&[3, 2], 2);
        let before = categories.clone();
        categories.update(&[(0.7, vec![None, None]), (0.3, vec![None, None])]);
        assert_eq!(categories, before);
    }
}
