//! The normal distribution where models need it: probabilities of intervals, also narrow ones and
//! far ones, and the inverse for drawing.

use std::f64::consts::FRAC_1_SQRT_2;

/// The square root of 2 pi.
pub(crate) const ROOT_OF_TWO_PI: f64 = 2.506_628_274_631_000_7;

/// ln sqrt(2 pi).
const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// The probability below `x`: erfc(-x / sqrt 2) / 2, exact to rounding in the lower tail.
pub(crate) fn below(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// From here on a tail is less than half a unit in the last place of 1.
const NOTHING: f64 = -8.5;

/// The probability below `x`, or none where 1 less it is 1.
fn tail(x: f64) -> f64 {
    if x < NOTHING { 0.0 } else { below(x) }
}

/// The probability of an interval that holds the mean, `a <= 0 <= b`.
pub(crate) fn around_mean(a: f64, b: f64) -> f64 {
    1.0 - tail(a) - tail(-b)
}

/// The place below which a `part` of the probability of such an interval lies.
pub(crate) fn inverse_around_mean(a: f64, b: f64, part: f64) -> f64 {
    let low = below(a);
    let mass = 1.0 - if a < NOTHING { 0.0 } else { low } - tail(-b);
    inverse(low + part * mass)
}

/// The logarithm of the probability between `a` and `b`, `a < b`, exact to about 1e-13 wherever the
/// interval lies and however narrow it is.
///
/// Three forms: a Taylor series around the middle for a narrow interval, where a difference of two
/// probabilities would cancel; the difference itself; and, beyond 35 standard deviations, where both
/// underflow, their logarithms by the continued fraction of Mills' ratio (Laplace; Abramowitz and
/// Stegun 26.2.14).
pub(crate) fn ln_between(a: f64, b: f64) -> f64 {
    // Within both, what the series leaves out is below 1e-13.
    const NARROW: f64 = 0.35;
    const STEEP: f64 = 4.0;
    // The tail above the mean is the tail below it, mirrored: there small probabilities are exact.
    let (a, b) = if a > 0.0 { (-b, -a) } else { (a, b) };
    let (middle, width) = (0.5 * (a + b), b - a);
    if width < NARROW && width * middle.abs() < STEEP {
        let m2 = middle * middle;
        return libm::log(width * beside_middle(m2, 0.25 * width * width)) - 0.5 * m2 - LN_SQRT_2PI;
    }
    if b > 0.0 {
        libm::log(0.5 * (libm::erf(b * FRAC_1_SQRT_2) - libm::erf(a * FRAC_1_SQRT_2)))
    } else if b > -35.0 {
        libm::log(below(b) - below(a))
    } else {
        let upper = ln_tail(b);
        upper + libm::log1p(-libm::exp(ln_tail(a) - upper))
    }
}

/// The mean of exp(-x^2 / 2) over an interval as a part of that in its middle `m`, where `m2` is m^2 and
/// `h2` the square of half of its length `h`.
///
/// That is the mean over t in `[0, h]` of cosh(m t) exp(-t^2 / 2), both of them as their series:
///
/// ```text
/// sum over j of (-h2 / 2)^j / j! * sum over i of (m2 h2)^i / ((2 i)! (2 i + 2 j + 1))
/// ```
fn beside_middle(m2: f64, h2: f64) -> f64 {
    let x = m2 * h2;
    let of = |terms: &[f64]| terms.iter().rev().fold(0.0, |sum, term| sum * x + term);
    let [c0, c1, c2, c3, c4, c5] = &BESIDE_MIDDLE;
    // The later ones are small themselves, so that fewer terms do.
    let parts = [
        of(c0),
        of(&c1[..10]),
        of(&c2[..9]),
        of(&c3[..7]),
        of(&c4[..6]),
        of(&c5[..4]),
    ];
    parts.iter().rev().fold(0.0, |sum, part| sum * h2 + part)
}

/// (-1/2)^j / (j! (2 i)! (2 i + 2 j + 1)) by j and i.
const BESIDE_MIDDLE: [[f64; 11]; 6] = {
    let mut table = [[0.0; 11]; 6];
    let (mut j, mut of_j) = (0, 1.0);
    while j < 6 {
        let (mut i, mut factorial) = (0, 1.0);
        while i < 11 {
            table[j][i] = of_j / (factorial * (2 * i + 2 * j + 1) as f64);
            factorial *= ((2 * i + 1) * (2 * i + 2)) as f64;
            i += 1;
        }
        j += 1;
        of_j *= -0.5 / j as f64;
    }
    table
};

/// The logarithm of the probability below `x`, for `x <= -35`.
fn ln_tail(x: f64) -> f64 {
    // At 35 and beyond, four terms are exact to the last place.
    let mills = (1..=4).rev().fold(-x, |rest, k| f64::from(k) / rest - x);
    -0.5 * x * x - LN_SQRT_2PI - libm::log(mills)
}

/// The `x` below which the probability is `p`; infinite at 0 and 1.
///
/// Algorithm AS 241, PPND16 (Wichura, Applied Statistics 37, 1988): about 16 digits.
pub(crate) fn inverse(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(r, &CENTRE);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-libm::log(tail)).sqrt();
    let size = if r <= 5.0 {
        ratio(r - 1.6, &MIDDLE)
    } else if r < f64::INFINITY {
        ratio(r - 5.0, &FAR)
    } else {
        r
    };
    if q < 0.0 { -size } else { size }
}

/// Numerator and denominator of a rational approximation, highest power first.
type Ratio = [[f64; 8]; 2];

fn ratio(r: f64, [over, under]: &Ratio) -> f64 {
    let at = |terms: &[f64; 8]| terms.iter().fold(0.0, |sum, term| sum * r + term);
    at(over) / at(under)
}

const CENTRE: Ratio = [
    [
        2_509.080_928_730_122_7,
        33_430.575_583_588_13,
        67_265.770_927_008_7,
        45_921.953_931_549_87,
        13_731.693_765_509_46,
        1_971.590_950_306_551_3,
        133.141_667_891_784_38,
        3.387_132_872_796_366_5,
    ],
    [
        5_226.495_278_852_545,
        28_729.085_735_721_943,
        39_307.895_800_092_71,
        21_213.794_301_586_597,
        5_394.196_021_424_751,
        687.187_007_492_057_9,
        42.313_330_701_600_91,
        1.0,
    ],
];
const MIDDLE: Ratio = [
    [
        7.745_450_142_783_414e-4,
        0.022_723_844_989_269_184,
        0.241_780_725_177_450_6,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_5,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_5,
    ],
    [
        1.050_750_071_644_416_9e-9,
        5.475_938_084_995_345e-4,
        0.015_198_666_563_616_457,
        0.148_103_976_427_480_08,
        0.689_767_334_985_1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ],
];
const FAR: Ratio = [
    [
        2.010_334_399_292_288_1e-7,
        2.711_555_568_743_487_6e-5,
        0.001_242_660_947_388_078_4,
        0.026_532_189_526_576_124,
        0.296_560_571_828_504_87,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_103,
    ],
    [
        2.044_263_103_389_939_8e-15,
        1.421_511_758_316_446e-7,
        1.846_318_317_510_054_8e-5,
        7.868_691_311_456_133e-4,
        0.014_875_361_290_850_615,
        0.136_929_880_922_735_8,
        0.599_832_206_555_888,
        1.0,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with 60 digits (mpmath).
    const BETWEEN: [(f64, f64, f64); 26] = [
        (-1.0, 1.0, -0.381_715_146_302_126_07),
        (0.0, 0.001, -7.826_693_978_853_465),
        (-1e-09, 1e-09, -20.949_057_189_591_14),
        (1.0, 1.000_000_000_931_322_6, -22.213_353_950_468_693),
        (3.0, 3.01, -10.039_087_761_156_88),
        (5.0, 5.04, -16.736_401_649_945_814),
        (-5.04, -5.0, -16.736_401_649_945_814),
        (8.0, 9.0, -35.013_618_593_437_15),
        (20.0, 21.0, -203.917_155_372_288_17),
        (34.9, 35.2, -613.477_271_591_399_7),
        (36.0, 37.0, -652.503_227_593_798_4),
        (60.0, 60.5, -1_805.013_560_680_567_2),
        (-0.02, 0.9, -1.127_264_300_104_994_7),
        (2.0, 2.03, -6.455_494_180_728_229),
        (70.0, 70.000_5, -2_458.537_289_992_899),
        (-100.0, -0.5, -1.175_911_761_593_618_6),
        (0.0, 30.0, -std::f64::consts::LN_2),
        (-90.0, -89.0, -3_965.907_701_109_802),
        (0.1, 0.44, -2.038_655_830_218_745),
        (2.0, 2.3, -4.420_682_483_108_199),
        (5.0, 5.34, -15.241_884_351_348_057),
        (11.0, 11.34, -63.846_932_343_586_63),
        (-0.17, 0.17, -2.002_555_589_658_552),
        (40.0, 40.09, -804.635_969_716_729_2),
        (0.0, 0.36, -1.962_003_929_458_432),
        (12.0, 12.36, -75.422_853_869_944_9),
    ];

    #[test]
    fn the_probability_of_an_interval_is_exact_when_it_is_narrow_or_far() {
        for (a, b, expected) in BETWEEN {
            for (got, side) in [
                (ln_between(a, b), "as given"),
                (ln_between(-b, -a), "mirrored"),
            ] {
                let error = (got - expected).abs() / expected.abs().max(1.0);
                assert!(error < 1e-13, "{a} to {b} {side}: {got} is not {expected}");
            }
        }
    }

    #[test]
    fn the_inverse_is_exact_in_the_middle_and_in_both_tails() {
        // Computed with 60 digits (mpmath).
        let expected = [
            (1e-300, -37.047_096_299_361_2),
            (1e-100, -21.273_453_560_965_325),
            (1e-16, -8.222_082_216_130_435),
            (1e-11, -6.706_023_155_495_137),
            (0.001, -3.090_232_306_167_813_5),
            (0.0749, -1.440_238_267_527_963_7),
            (0.0751, -1.438_825_392_752_54),
            (0.3, -0.524_400_512_708_040_8),
            (0.5, 0.0),
            (0.7, 0.524_400_512_708_040_7),
            (0.925, 1.439_531_470_938_456_2),
            (0.999, 3.090_232_306_167_813),
            (1.0 - 2.0_f64.powi(-40), 7.047_700_256_664_409),
        ];
        for (p, x) in expected {
            let got = inverse(p);
            assert!((got - x).abs() <= 2e-15 * x.abs(), "{p}: {got} is not {x}");
        }
        assert_eq!(inverse(0.0), f64::NEG_INFINITY);
        assert_eq!(inverse(1.0), f64::INFINITY);
    }

    #[test]
    fn a_draw_undoes_the_probability() {
        for step in -80..=80 {
            let x = f64::from(step) / 16.0;
            let again = inverse(below(x));
            assert!((again - x).abs() < 1e-9, "{x} came back as {again}");
        }
    }
}
