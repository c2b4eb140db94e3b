//! The weights and learning rates of CMA-ES, which follow from the dimension and the population.

/// The default parameters of Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv 1604.00772),
/// table 1, with negative weights (active covariance matrix adaptation). Equation numbers are its.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constants {
    /// Trials in a generation.
    pub(super) lambda: usize,
    /// Trials with a positive weight.
    pub(super) mu: usize,
    /// By rank, the best first; the first `mu` sum to 1, the others are not positive (49-53).
    pub(super) weights: Vec<f64>,
    /// How many equally weighted trials the positive weights are worth.
    pub(super) mu_eff: f64,
    /// Of the evolution path of the step size (55).
    pub(super) c_sigma: f64,
    /// How slowly the step size follows its path (55).
    pub(super) d_sigma: f64,
    /// Of the evolution path of the covariances (56).
    pub(super) c_c: f64,
    /// Of the rank-one update (57).
    pub(super) c_1: f64,
    /// Of the rank-mu update (58).
    pub(super) c_mu: f64,
    /// The expected length of a standard normal vector.
    pub(super) chi_n: f64,
    /// The longest step, in standard deviations, that is believed: Hansen, "Injecting external
    /// solutions into CMA-ES" (arXiv 1110.4181).
    pub(super) longest_step: f64,
}

/// The default population of a search in `dimensions` (48).
pub(super) fn default_population(dimensions: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the logarithm of at least 1, some tens at most"
    )]
    let more = (3.0 * libm::log(dimensions.max(1) as f64)) as usize;
    4 + more
}

impl Constants {
    /// For `dimensions` numbers (none is treated as one) and `lambda` trials, at least 4.
    pub(super) fn new(dimensions: usize, lambda: usize) -> Self {
        let n = dimensions.max(1) as f64;
        let mu = lambda / 2;
        let middle = libm::log((lambda as f64 + 1.0) / 2.0);
        let raw: Vec<f64> = (1..=lambda)
            .map(|rank| middle - libm::log(rank as f64))
            .collect();
        let effective = |weights: &[f64]| {
            let sum: f64 = weights.iter().sum();
            let squares: f64 = weights.iter().map(|w| w * w).sum();
            sum * sum / squares
        };
        let (mu_eff, mu_eff_minus) = (effective(&raw[..mu]), effective(&raw[mu..]));
        let c_1 = 2.0 / ((n + 1.3) * (n + 1.3) + mu_eff);
        let c_mu = 2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((n + 2.0) * (n + 2.0) + mu_eff);
        // A hair below, so that something is always left of the old covariances.
        let c_mu = c_mu.min(1.0 - c_1 - 1e-8);
        let most_negative = (1.0 + c_1 / c_mu)
            .min(1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0))
            .min((1.0 - c_1 - c_mu) / (n * c_mu));
        let positive: f64 = raw.iter().filter(|w| **w > 0.0).sum();
        let negative: f64 = -raw.iter().filter(|w| **w < 0.0).sum::<f64>();
        let weights = raw.iter().map(|w| {
            if *w >= 0.0 {
                w / positive
            } else {
                w * most_negative / negative
            }
        });
        let c_sigma = (mu_eff + 2.0) / (n + mu_eff + 5.0);
        let beyond = ((mu_eff - 1.0) / (n + 1.0)).sqrt() - 1.0;
        Self {
            lambda,
            mu,
            weights: weights.collect(),
            mu_eff,
            c_sigma,
            d_sigma: 1.0 + 2.0 * beyond.max(0.0) + c_sigma,
            c_c: (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n),
            c_1,
            c_mu,
            chi_n: n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)),
            longest_step: n.sqrt() + 2.0 * n / (n + 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_those_of_another_program() {
        // Of `cmaes.CMA` 0.13.1 (Python), dimension 5, population 8.
        let ours = Constants::new(5, default_population(5));
        assert_eq!((ours.lambda, ours.mu), (8, 4));
        let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-14, "{got}");
        let weights = [
            0.529_930_184_478_779_2,
            0.285_714_285_714_285_7,
            0.142_857_142_857_142_82,
            0.041_498_386_949_792_215,
            -0.167_279_506_809_880_9,
            -0.456_749_047_755_858_73,
            -0.701_492_057_363_521_3,
            -0.913_498_095_511_717_5,
        ];
        for (got, expected) in ours.weights.iter().zip(weights) {
            close(*got, expected);
        }
        close(ours.mu_eff, 2.600_178_826_113_179_3);
        close(ours.c_sigma, 0.365_088_376_093_485_4);
        close(ours.d_sigma, 1.365_088_376_093_485_3);
        close(ours.c_c, 0.450_199_557_992_807_9);
        close(ours.c_1, 0.047_292_304_159_400_896);
        close(ours.c_mu, 0.038_169_160_703_857_81);
        close(ours.chi_n, 2.128_523_755_724_799_6);
    }
}
