//! The standard normal distribution.

#![expect(
    clippy::excessive_precision,
    reason = "the coefficients are those published, digit by digit"
)]

use std::f64::consts::FRAC_1_SQRT_2;

/// The probability below `z`: `erfc(-z / sqrt 2) / 2`, exact to rounding in both tails.
pub(crate) fn cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The value below which a share `p` lies; minus and plus infinity at 0 and 1, NaN outside.
///
/// Wichura (1988), "Algorithm AS 241: The percentage points of the normal distribution", Applied
/// Statistics 37(3), 477-484: `PPND16`, relative error about 1e-16.
pub(crate) fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(&CENTRE, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 {
        return match tail < 0.0 {
            true => f64::NAN,
            false => f64::INFINITY.copysign(q),
        };
    }
    let r = (-libm::log(tail)).sqrt();
    let magnitude = if r <= 5.0 {
        ratio(&SHOULDER, r - 1.6)
    } else {
        ratio(&TAIL, r - 5.0)
    };
    magnitude.copysign(q)
}

/// Coefficients of numerator and denominator, the constant first.
type Ratio = [[f64; 8]; 2];

fn ratio([numerator, denominator]: &Ratio, at: f64) -> f64 {
    let polynomial = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * at + c);
    polynomial(numerator) / polynomial(denominator)
}

const CENTRE: Ratio = [
    [
        3.387_132_872_796_366_608,
        1.331_416_678_917_843_774_5e2,
        1.971_590_950_306_551_442_7e3,
        1.373_169_376_550_946_112_5e4,
        4.592_195_393_154_987_145_7e4,
        6.726_577_092_700_870_085_3e4,
        3.343_057_558_358_812_810_5e4,
        2.509_080_928_730_122_672_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091_125_2e1,
        6.871_870_074_920_579_083e2,
        5.394_196_021_424_751_107_7e3,
        2.121_379_430_158_659_586_7e4,
        3.930_789_580_009_271_061e4,
        2.872_908_573_572_194_267_4e4,
        5.226_495_278_852_854_561e3,
    ],
];
const SHOULDER: Ratio = [
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_9,
        5.769_497_221_460_691_405_5,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        2.417_807_251_774_506_117_7e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_4e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_4,
        6.897_673_349_851_000_045_5e-1,
        1.481_039_764_274_800_745_9e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
];
const TAIL: Ratio = [
    [
        6.657_904_643_501_103_777_2,
        5.463_784_911_164_114_369_9,
        1.784_826_539_917_291_335_8,
        2.965_605_718_285_048_912_3e-1,
        2.653_218_952_657_612_309_3e-2,
        1.242_660_947_388_078_438_6e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_9e-1,
        1.369_298_809_227_358_053_1e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591e-4,
        1.846_318_317_510_054_681_8e-5,
        1.421_511_758_316_445_888_7e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_published_test_values_and_invert_the_probability() {
        // The test values of AS 241, and scipy 1.17 `norm.ppf`.
        for (p, wanted) in [
            (0.25, -0.674_489_750_196_081_7),
            (0.001, -3.090_232_306_167_813),
            (1e-20, -9.262_340_089_798_408),
            (0.975, 1.959_963_984_540_054),
            (0.5, 0.0),
        ] {
            let got = quantile(p);
            assert!((got - wanted).abs() <= 1e-15 * wanted.abs(), "{p}: {got}");
        }
        for k in 1..2_000 {
            let p = f64::from(k) / 2_000.0;
            assert!((cdf(quantile(p)) - p).abs() < 1e-15, "{p}");
            assert!((quantile(1.0 - p) + quantile(p)).abs() < 1e-12, "{p}");
        }
        for z in [-30.0, -12.0, -6.0, -2.0, -0.1] {
            assert!((quantile(cdf(z)) / z - 1.0).abs() < 1e-14, "{z}");
        }
    }

    #[test]
    fn the_ends_are_infinite_and_what_is_no_probability_is_none() {
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
        assert!(quantile(-0.1).is_nan());
        assert!(quantile(1.1).is_nan());
        assert!(quantile(f64::NAN).is_nan());
    }
}
