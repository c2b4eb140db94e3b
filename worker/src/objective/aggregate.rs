//! From the figures of several backtests to those of one trial. docs/validation.md has the rules.

use super::backtest::Figures;
use std::cmp::Ordering;
use trialmill_backtest::metrics::{self, Direction};
use trialmill_common::spec::Aggregate;

/// One in so many symbols may have no value of a metric and be left out of its mean: some of
/// hundreds seldom trade, and a search must not learn to find parameters by which many never do.
const LEFT_OUT_OF_MEAN: usize = 10;

/// One backtest's figures, with what it is called in a reason.
pub(super) struct Named<'a> {
    pub(super) name: &'a dyn std::fmt::Display,
    pub(super) figures: &'a Figures,
}

type Value = Result<f64, String>;

/// The figures over segments: means, and sums of counts. A metric that one segment has not got is
/// undefined.
pub(super) fn over_segments(segments: &[Named<'_>]) -> Figures {
    merged(segments, |metric, values| {
        if let Some((name, reason)) = first_missing(segments, values) {
            return Err(format!("{name}: {reason}"));
        }
        let sum = sum(values.iter().copied());
        let is_count = metrics::find(metric).is_some_and(|info| info.unit == "count");
        #[expect(clippy::cast_precision_loss, reason = "segments are few")]
        let count = if is_count { 1.0 } else { values.len() as f64 };
        finite(sum / count)
    })
}

/// The figures over symbols.
///
/// What the parameters leave without a value counts against them: it ranks below every value, so
/// that the worst of some is undefined with one of them, and the median with half of them. A mean
/// has no place for it and is undefined where more than one in [`LEFT_OUT_OF_MEAN`] have none.
pub(super) fn over_symbols(aggregate: Aggregate, symbols: &[Named<'_>]) -> Figures {
    merged(symbols, |metric, values| {
        let missing = values.iter().filter(|value| value.is_err()).count();
        let undefined = || {
            let (name, reason) = first_missing(symbols, values).expect("one is missing");
            match missing {
                1 => Err(format!("{name}: {reason}")),
                _ => {
                    let all = values.len();
                    Err(format!(
                        "{missing} of {all} symbols have none, the first {name}: {reason}"
                    ))
                }
            }
        };
        match aggregate {
            Aggregate::Mean if missing > values.len() / LEFT_OUT_OF_MEAN => undefined(),
            Aggregate::Mean => {
                #[expect(clippy::cast_precision_loss, reason = "at most a thousand symbols")]
                let count = (values.len() - missing) as f64;
                finite(sum(values.iter().copied()) / count)
            }
            Aggregate::Median => {
                let ranked = from_the_worst(metric, values);
                let middle = [(ranked.len() - 1) / 2, ranked.len() / 2];
                match middle.map(|place| ranked[place]) {
                    [Some(a), Some(_)] if middle[0] == middle[1] => Ok(a),
                    [Some(a), Some(b)] => finite((a + b) / 2.0),
                    _ => undefined(),
                }
            }
            Aggregate::Worst => match from_the_worst(metric, values)[0] {
                Some(value) => Ok(value),
                None => undefined(),
            },
        }
    })
}

/// Metric by metric, in the order of the first: every backtest of a task has the same.
fn merged(backtests: &[Named<'_>], merge: impl Fn(&str, &[&Value]) -> Value) -> Figures {
    let Some(first) = backtests.first() else {
        return Vec::new();
    };
    let metrics = first.figures.iter().enumerate();
    metrics
        .map(|(place, (metric, _))| {
            let values = backtests.iter().map(|one| &one.figures[place].1);
            let values: Vec<&Value> = values.collect();
            (*metric, merge(metric, &values))
        })
        .collect()
}

/// Who has no value, and why.
fn first_missing<'a>(backtests: &[Named<'a>], values: &[&'a Value]) -> Option<(String, &'a str)> {
    let mut all = backtests.iter().zip(values);
    all.find_map(|(one, value)| Some((one.name.to_string(), value.as_ref().err()?.as_str())))
}

/// The values from the worst to the best, first those that there are none of.
fn from_the_worst(metric: &str, values: &[&Value]) -> Vec<Option<f64>> {
    let direction = metrics::find(metric).map_or(Direction::Maximize, |info| info.direction);
    let mut ranked: Vec<Option<f64>> = values.iter().map(|v| v.as_ref().ok().copied()).collect();
    ranked.sort_by(|a, b| match (a, b) {
        (Some(a), Some(b)) => match direction {
            Direction::Maximize => a.total_cmp(b),
            Direction::Minimize => b.total_cmp(a),
        },
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
    });
    ranked
}

/// The sum of those that there are, in their order.
fn sum<'a>(values: impl Iterator<Item = &'a Value>) -> f64 {
    values.filter_map(|value| value.as_ref().ok()).sum()
}

fn finite(value: f64) -> Value {
    if value.is_finite() {
        Ok(value)
    } else {
        Err("it is too large for a number".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "nothing was traded";

    fn figures(sharpe: Option<f64>, drawdown: f64, trades: f64) -> Figures {
        vec![
            ("sharpe_ratio", sharpe.ok_or_else(|| NONE.to_owned())),
            ("max_drawdown", Ok(drawdown)),
            ("n_trades", Ok(trades)),
            ("beta", Ok(drawdown)),
        ]
    }

    fn named<'a>(of: &'a [(String, Figures)]) -> Vec<Named<'a>> {
        of.iter()
            .map(|(name, figures)| Named { name, figures })
            .collect()
    }

    fn codes(sharpes: &[Option<f64>]) -> Vec<(String, Figures)> {
        let one = |(place, sharpe): (usize, &Option<f64>)| {
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let x = place as f64;
            (format!("CODE{place}"), figures(*sharpe, x / 10.0, 10.0 - x))
        };
        sharpes.iter().enumerate().map(one).collect()
    }

    fn of(figures: &Figures, metric: &str) -> Value {
        let found = figures.iter().find(|(name, _)| *name == metric);
        found.expect("it is there").1.clone()
    }

    #[test]
    fn segments_have_means_and_counts_a_sum() {
        let three = codes(&[Some(1.0), Some(-0.5), Some(0.25)]);
        let merged = over_segments(&named(&three));
        assert_eq!(of(&merged, "sharpe_ratio"), Ok(0.25));
        assert_eq!(of(&merged, "n_trades"), Ok(27.0));
        let undefined = codes(&[Some(1.0), None, None]);
        let merged = over_segments(&named(&undefined));
        let reason = "CODE1: nothing was traded".to_owned();
        assert_eq!(of(&merged, "sharpe_ratio"), Err(reason));
        assert_eq!(of(&merged, "n_trades"), Ok(27.0));
    }

    #[test]
    fn symbols_are_aggregated_by_the_direction_of_each_metric() {
        let four = codes(&[Some(1.0), Some(-0.5), Some(0.25), Some(0.75)]);
        for (aggregate, sharpe, drawdown, trades) in [
            (Aggregate::Mean, 0.375, (0.1 + 0.2 + 0.3) / 4.0, 8.5),
            (Aggregate::Median, 0.5, (0.2 + 0.1) / 2.0, 8.5),
            (Aggregate::Worst, -0.5, 0.3, 7.0),
        ] {
            let merged = over_symbols(aggregate, &named(&four));
            assert_eq!(of(&merged, "sharpe_ratio"), Ok(sharpe), "{aggregate:?}");
            assert_eq!(of(&merged, "n_trades"), Ok(trades), "{aggregate:?}");
            let found = of(&merged, "max_drawdown").unwrap();
            assert!((found - drawdown).abs() < 1e-15, "{aggregate:?}: {found}");
        }
        // No direction: the smallest counts as the worst.
        let worst = over_symbols(Aggregate::Worst, &named(&four));
        assert_eq!(of(&worst, "beta"), Ok(0.0));
        let odd = over_symbols(Aggregate::Median, &named(&four[..3]));
        assert_eq!(of(&odd, "sharpe_ratio"), Ok(0.25));
    }

    #[test]
    fn what_the_parameters_leave_without_a_value_counts_against_them() {
        let mut sharpes = [Some(0.5); 20];
        sharpes[7] = None;
        sharpes[9] = None;
        let merged = |sharpes: &[Option<f64>], aggregate| {
            of(
                &over_symbols(aggregate, &named(&codes(sharpes))),
                "sharpe_ratio",
            )
        };
        // Two of twenty may be left out of a mean.
        assert_eq!(merged(&sharpes, Aggregate::Mean), Ok(0.5));
        assert_eq!(merged(&sharpes, Aggregate::Median), Ok(0.5));
        let reason = "2 of 20 symbols have none, the first CODE7: nothing was traded".to_owned();
        assert_eq!(merged(&sharpes, Aggregate::Worst), Err(reason));
        sharpes[11] = None;
        let reason = "3 of 20 symbols have none, the first CODE7: nothing was traded".to_owned();
        assert_eq!(merged(&sharpes, Aggregate::Mean), Err(reason));
        // Of nine none may be missing.
        sharpes[9] = Some(1.0);
        let reason = "CODE7: nothing was traded".to_owned();
        assert_eq!(merged(&sharpes[..9], Aggregate::Mean), Err(reason));
        // The median is there as long as the middle ones have a value.
        let half = [None, None, Some(1.0), Some(3.0), Some(2.0)];
        assert_eq!(merged(&half, Aggregate::Median), Ok(1.0));
        assert!(merged(&half[..4], Aggregate::Median).is_err());
    }

    #[test]
    fn what_is_too_large_for_a_number_is_undefined() {
        let large = codes(&[Some(f64::MAX), Some(f64::MAX)]);
        for aggregate in [Aggregate::Mean, Aggregate::Median] {
            let merged = over_symbols(aggregate, &named(&large));
            assert!(of(&merged, "sharpe_ratio").is_err());
        }
        assert!(of(&over_segments(&named(&large)), "sharpe_ratio").is_err());
    }
}
