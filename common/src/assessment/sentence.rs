//! What the figures say in words.

/// A share as a percentage: whole, and never 0 or 100 unless it is that.
///
/// ```
/// use trialmill_common::assessment::percent;
/// let told = [0.0, 0.004, 0.11, 0.996, 1.0].map(percent);
/// assert_eq!(told, ["0 %", "less than 1 %", "11 %", "more than 99 %", "100 %"]);
/// ```
#[must_use]
pub fn percent(share: f64) -> String {
    match (100.0 * share).round() {
        0.0 if share > 0.0 => "less than 1 %".to_owned(),
        100.0 if share < 1.0 => "more than 99 %".to_owned(),
        whole => format!("{whole} %"),
    }
}

/// Of the deflated Sharpe ratio.
#[must_use]
pub fn says_deflated(value: f64) -> String {
    let sure = percent(value);
    format!("{sure} sure that the Sharpe is above what luck gives over this many attempts.")
}

/// Of the probability of backtest overfitting.
#[must_use]
pub fn says_overfit(value: f64) -> String {
    let often = percent(value);
    format!(
        "In {often} of the splits the best trial of one half of the days was below the median on \
         the other half."
    )
}

/// Of the luck test, in which `as_good` of `permutations` were at least as good.
#[must_use]
pub fn says_luck(p_value: f64, as_good: u32, permutations: u32) -> String {
    match as_good {
        0 => format!("None of {permutations} shuffled markets gave a search this good."),
        _ => format!(
            "{} of shuffled markets gave a search this good.",
            percent(p_value)
        ),
    }
}

/// Of the neighbourhood, by its ratios.
#[must_use]
pub fn says_neighbourhood(median: f64, worst: f64) -> String {
    let kept = |ratio: f64| format!("{:.0} %", 100.0 * ratio);
    format!(
        "One step away the objective keeps {} in the median and {} at worst.",
        kept(median),
        kept(worst)
    )
}
