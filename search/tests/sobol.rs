//! That Sobol search is evenly spread, by the definition of a (t, m, s)-net and not by its own code.

use std::collections::BTreeSet;

use trialmill_search::{Domain, History, Method, ParamValue, Space, SpaceBuilder, Study};

fn unit() -> Domain {
    Domain::Float {
        low: 0.0,
        high: 1.0,
        step: None,
        log: false,
    }
}

fn coordinates(study: &Study, number: u32) -> Vec<f64> {
    let point = study.ask(&History::EMPTY, number).unwrap();
    let coordinate = |value: &ParamValue| match value {
        ParamValue::Float(value) => *value,
        other => panic!("{other} is no float"),
    };
    point.values().iter().map(coordinate).collect()
}

/// Which of `2^bits` equal parts of [0, 1) holds the value.
fn part(value: f64, bits: u32) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 2^bits"
    )]
    let part = (value * f64::from(1u32 << bits)) as u32;
    part
}

#[test]
fn every_parameter_has_one_of_the_first_256_trials_in_each_256th_of_its_range() {
    let names = (0..100).map(|n| (format!("p{n:02}"), unit()));
    for seed in [0, 42, (1 << 53) - 1] {
        let study = Study::new(Space::new(names.clone()).unwrap(), Method::Sobol, seed).unwrap();
        for first in [0, 65_536] {
            let points: Vec<_> = (first..first + 256)
                .map(|number| coordinates(&study, number))
                .collect();
            for dimension in 0..100 {
                let parts: BTreeSet<u32> = points.iter().map(|p| part(p[dimension], 8)).collect();
                assert_eq!(parts.len(), 256, "seed {seed}, parameter {dimension}");
            }
        }
    }
}

#[test]
fn the_first_two_parameters_have_one_trial_in_each_elementary_box() {
    const BITS: u32 = 10;
    let space = Space::new([("x".to_owned(), unit()), ("y".to_owned(), unit())]).unwrap();
    for seed in 0..20 {
        let study = Study::new(space.clone(), Method::Sobol, seed).unwrap();
        let points: Vec<_> = (0..1 << BITS)
            .map(|number| coordinates(&study, number))
            .collect();
        for across in 0..=BITS {
            let boxes: BTreeSet<(u32, u32)> = points
                .iter()
                .map(|p| (part(p[0], across), part(p[1], BITS - across)))
                .collect();
            assert_eq!(boxes.len(), 1 << BITS, "seed {seed}, {across} bits across");
        }
    }
}

#[test]
fn another_seed_and_another_block_give_other_points() {
    let space = Space::new([("x".to_owned(), unit()), ("y".to_owned(), unit())]).unwrap();
    let study = |seed| Study::new(space.clone(), Method::Sobol, seed).unwrap();
    let (one, two) = (study(1), study(2));
    for number in 0..100 {
        assert_ne!(coordinates(&one, number), coordinates(&two, number));
        assert_ne!(
            coordinates(&one, number),
            coordinates(&one, number + 65_536)
        );
    }
}

#[test]
fn constrained_trials_fill_the_allowed_part_of_the_space_evenly() {
    let space = SpaceBuilder::default()
        .parameter("x", unit())
        .parameter("y", unit())
        .constraint("x < y")
        .build()
        .unwrap();
    for seed in 0..10 {
        let study = Study::new(space.clone(), Method::Sobol, seed).unwrap();
        let points: Vec<_> = (0..1_000)
            .map(|number| coordinates(&study, number))
            .collect();
        // The triangle's centre of mass is (1/3, 2/3); random points would miss it by 0.0075
        // (one standard error).
        for (dimension, mean) in [(0, 1.0 / 3.0), (1, 2.0 / 3.0)] {
            let found = points.iter().map(|point| point[dimension]).sum::<f64>() / 1_000.0;
            assert!(
                (found - mean).abs() < 0.004,
                "mean {found} of {dimension}, seed {seed}"
            );
        }
    }
}

#[test]
fn trials_beyond_the_allowed_points_of_the_sequence_are_random_ones() {
    let space = SpaceBuilder::default()
        .parameter("x", unit())
        .constraint("x < 0.001")
        .build()
        .unwrap();
    let [sobol, random] =
        [Method::Sobol, Method::Random].map(|method| Study::new(space.clone(), method, 3).unwrap());
    // One in each 65,536th of the range: 65 or 66 of them lie below 0.001.
    let inside: BTreeSet<u32> = (0..65)
        .map(|n| part(coordinates(&sobol, n)[0], 16))
        .collect();
    assert_eq!(inside.len(), 65);
    for number in [66, 67, 1_000_000] {
        assert_eq!(coordinates(&sobol, number), coordinates(&random, number));
    }
}
