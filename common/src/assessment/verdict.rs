//! The verdict: one code and a sentence or two, by fixed rules over the figures.
//!
//! docs/trust.md has the rules as a table; a test keeps both the same.

use super::sentence::percent;
use serde::{Deserialize, Serialize};

/// The luck p at or below which chance is taken for excluded.
pub const ALPHA: f64 = 0.05;
/// The luck p from which chance is taken for the likely reason: one shuffled market in four gives as
/// much.
pub const LUCK_P: f64 = 0.25;
/// The deflated Sharpe ratio from which chance is taken for excluded, where no luck test was made.
pub const SURE: f64 = 0.95;
/// The deflated Sharpe ratio below which luck is likelier than not.
const EVEN: f64 = 0.5;

/// How far to trust a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// For programs.
    pub code: VerdictCode,
    /// The sentence.
    pub text: String,
}

/// The verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictCode {
    /// Out of sample it gains by more than chance, and more than holding does.
    Edge,
    /// It gains out of sample, but something is not excluded.
    Weak,
    /// What was found did not last, or shuffled markets give as much.
    Luck,
    /// It loses, even where it was chosen, or out of sample by more than chance.
    Loses,
    /// No day judged it that the search had not seen.
    InSampleOnly,
    /// There is no trial to judge.
    NoFeasibleTrial,
}

impl VerdictCode {
    /// Every code.
    pub const ALL: [Self; 6] = [
        Self::Edge,
        Self::Weak,
        Self::Luck,
        Self::Loses,
        Self::InSampleOnly,
        Self::NoFeasibleTrial,
    ];

    /// The name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Weak => "weak",
            Self::Luck => "luck",
            Self::Loses => "loses",
            Self::InSampleOnly => "in_sample_only",
            Self::NoFeasibleTrial => "no_feasible_trial",
        }
    }
}

/// What a verdict rests on. Sharpe ratios are annualized; a figure that could not be computed is
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evidence {
    /// Whether some trial qualified.
    pub has_best: bool,
    /// Whether fills used prices that nobody knew in time.
    pub looks_ahead: bool,
    /// The Sharpe ratio of the best trial on the days it was chosen by.
    pub in_sample: Option<f64>,
    /// The days that judge it.
    pub judged: Judged,
    /// The Sharpe ratio of holding on the days that judge it.
    pub holding: Option<f64>,
    /// The p of the luck test.
    pub luck: Option<f64>,
    /// The deflated Sharpe ratio.
    pub deflated: Option<f64>,
}

/// The days that judge a result.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Judged {
    /// None that the search had not seen.
    #[default]
    Nothing,
    /// The joined test windows of a walk-forward, and perhaps a held-out stretch.
    Windows {
        /// On the test windows.
        joined: OutOfSampleEvidence,
        /// On the held-out stretch, if there is one.
        holdout: Option<f64>,
    },
    /// A held-out stretch alone.
    Holdout {
        /// On it.
        sharpe: Option<f64>,
        /// How often it was looked at before.
        earlier_looks: u32,
    },
}

/// What the joined test windows say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OutOfSampleEvidence {
    /// The Sharpe ratio; none if nothing was traded.
    pub sharpe: Option<f64>,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
}

/// The verdict: the first rule that applies.
///
/// What was never seen outweighs what was: the test windows before the held-out stretch, and these
/// before every figure of the search itself. Of those the luck test, which repeats the very search,
/// outweighs the deflated Sharpe ratio, which stands in where the luck test was not made. PBO and
/// neighbourhood decide nothing: on a plateau of equals the first is a coin, and the second says how
/// exact the parameters have to be, not whether they are worth anything.
///
/// ```
/// use trialmill_common::assessment::{
///     Evidence, Judged, OutOfSampleEvidence, VerdictCode, verdict,
/// };
///
/// let joined = OutOfSampleEvidence { sharpe: Some(0.41), interval: Some((-0.28, 1.09)) };
/// let evidence = Evidence {
///     has_best: true,
///     in_sample: Some(0.92),
///     judged: Judged::Windows { joined, holdout: Some(0.22) },
///     holding: Some(0.35),
///     luck: Some(0.11),
///     deflated: Some(0.58),
///     ..Evidence::default()
/// };
/// let verdict = verdict(&evidence);
/// assert_eq!(verdict.code, VerdictCode::Weak);
/// assert_eq!(verdict.text, "Profitable out of sample, but chance is not excluded.");
/// ```
#[must_use]
pub fn verdict(evidence: &Evidence) -> Verdict {
    let (code, text) = rule(evidence);
    if evidence.looks_ahead && code != VerdictCode::NoFeasibleTrial {
        let code = match code {
            VerdictCode::Edge => VerdictCode::Weak,
            other => other,
        };
        let text = format!(
            "Not attainable: trades are filled at the closing price that gave the signal (fill \
             close), which nobody knows in time. {text}"
        );
        return Verdict { code, text };
    }
    Verdict { code, text }
}

fn rule(evidence: &Evidence) -> (VerdictCode, String) {
    use VerdictCode::{InSampleOnly, Loses, NoFeasibleTrial};
    if !evidence.has_best {
        let none = "No trial met the constraints with a defined objective: nothing to trade.";
        return (NoFeasibleTrial, none.to_owned());
    }
    if evidence.in_sample.is_some_and(|sharpe| sharpe <= 0.0) {
        let loses = "It loses even on the days that it was chosen by. Nothing was found to trade.";
        return (Loses, loses.to_owned());
    }
    match evidence.judged {
        Judged::Nothing => {
            let known = "In-sample only: the parameters were chosen on the same days that they are \
                         judged on, so expect less from them.";
            let text = match evidence.luck {
                Some(p) if p > ALPHA => {
                    format!("{known} {} of shuffled markets gave as much.", percent(p))
                }
                _ => known.to_owned(),
            };
            (InSampleOnly, text)
        }
        Judged::Windows { joined, holdout } => by_windows(evidence, joined, holdout),
        Judged::Holdout {
            sharpe,
            earlier_looks,
        } => by_holdout(evidence, sharpe, earlier_looks),
    }
}

fn by_windows(
    evidence: &Evidence,
    joined: OutOfSampleEvidence,
    holdout: Option<f64>,
) -> (VerdictCode, String) {
    use VerdictCode::{Edge, Loses, Luck, Weak};
    let Some(sharpe) = joined.sharpe else {
        let text = "Nothing was traded out of sample: nothing is shown.";
        return (Weak, text.to_owned());
    };
    if joined.interval.is_some_and(|(_, high)| high < 0.0) {
        return (
            Loses,
            "It loses out of sample by more than chance. Do not trade it.".to_owned(),
        );
    }
    if sharpe <= 0.0 {
        let text = "Luck: what was found in sample did not last. Do not trade it.";
        return (Luck, text.to_owned());
    }
    let above_zero = joined.interval.is_some_and(|(low, _)| low > 0.0);
    let likely = evidence.luck.is_some_and(|p| p >= LUCK_P)
        && evidence.deflated.is_none_or(|sure| sure < EVEN);
    if !above_zero && likely {
        let p = percent(evidence.luck.unwrap_or(1.0));
        let text =
            format!("Luck: {p} of shuffled markets gave a search this good. Do not trade it.");
        return (Luck, text);
    }
    let weak = |but: &str| (Weak, format!("Profitable out of sample, but {but}."));
    if !above_zero || !excludes_chance(evidence) {
        return weak("chance is not excluded");
    }
    if holdout.is_some_and(|sharpe| sharpe <= 0.0) {
        return weak("not on the days held out");
    }
    if evidence.holding.is_some_and(|holding| sharpe <= holding) {
        return weak("no better than holding");
    }
    let text = "An edge: profitable out of sample by more than chance, and better than holding.";
    (Edge, text.to_owned())
}

fn by_holdout(
    evidence: &Evidence,
    sharpe: Option<f64>,
    earlier_looks: u32,
) -> (VerdictCode, String) {
    use VerdictCode::{Edge, Luck, Weak};
    let Some(sharpe) = sharpe else {
        let text = "Nothing was traded on the days held out: nothing is shown.";
        return (Weak, text.to_owned());
    };
    if sharpe <= 0.0 {
        let text = "Luck: what was found did not last on the days held out. Do not trade it.";
        return (Luck, text.to_owned());
    }
    let weak = |but: &str| (Weak, format!("Profitable on the days held out, but {but}."));
    if !excludes_chance(evidence) {
        return weak("chance is not excluded");
    }
    match earlier_looks {
        0 => {}
        1 => return weak("these were looked at once before"),
        looks => return weak(&format!("these were looked at {looks} times before")),
    }
    if evidence.holding.is_some_and(|holding| sharpe <= holding) {
        return weak("no better than holding");
    }
    let text = "An edge: found by more than chance, profitable on the days held out, and better \
                than holding there.";
    (Edge, text.to_owned())
}

/// Whether the search found more than luck gives: by the luck test, or where that was not made by
/// the deflated Sharpe ratio; not where neither is there.
fn excludes_chance(evidence: &Evidence) -> bool {
    match (evidence.luck, evidence.deflated) {
        (Some(p), _) => p <= ALPHA,
        (None, Some(sure)) => sure >= SURE,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything speaks for it.
    fn good() -> Evidence {
        Evidence {
            has_best: true,
            looks_ahead: false,
            in_sample: Some(1.5),
            judged: windows(0.9, (0.2, 1.6), Some(0.7)),
            holding: Some(0.3),
            luck: Some(0.005),
            deflated: Some(0.97),
        }
    }

    fn windows(sharpe: f64, interval: (f64, f64), holdout: Option<f64>) -> Judged {
        let joined = OutOfSampleEvidence {
            sharpe: Some(sharpe),
            interval: Some(interval),
        };
        Judged::Windows { joined, holdout }
    }

    fn held_out(sharpe: f64, earlier_looks: u32) -> Judged {
        Judged::Holdout {
            sharpe: Some(sharpe),
            earlier_looks,
        }
    }

    fn code(change: impl FnOnce(&mut Evidence)) -> VerdictCode {
        let mut evidence = good();
        change(&mut evidence);
        verdict(&evidence).code
    }

    #[test]
    fn every_rule_of_the_table_decides_its_case() {
        use VerdictCode::{Edge, InSampleOnly, Loses, Luck, NoFeasibleTrial, Weak};
        assert_eq!(code(|_| {}), Edge);
        assert_eq!(code(|e| e.has_best = false), NoFeasibleTrial);
        assert_eq!(code(|e| e.in_sample = Some(0.0)), Loses);
        assert_eq!(code(|e| e.judged = Judged::Nothing), InSampleOnly);
        let judged = |judged| code(|e| e.judged = judged);
        assert_eq!(judged(windows(-0.9, (-1.5, -0.1), None)), Loses);
        assert_eq!(judged(windows(-0.1, (-0.9, 0.7), None)), Luck);
        assert_eq!(judged(windows(0.5, (-0.1, 1.1), None)), Weak);
        assert_eq!(judged(windows(0.9, (0.2, 1.6), Some(-0.1))), Weak);
        assert_eq!(judged(windows(0.9, (0.2, 1.6), None)), Edge);
        assert_eq!(judged(windows(0.2, (0.1, 0.4), None)), Weak, "holding");
        let nothing = Judged::Windows {
            joined: OutOfSampleEvidence::default(),
            holdout: None,
        };
        assert_eq!(judged(nothing), Weak);
        assert_eq!(judged(held_out(0.5, 0)), Edge);
        assert_eq!(judged(held_out(0.5, 1)), Weak);
        assert_eq!(judged(held_out(-0.5, 0)), Luck);
        assert_eq!(judged(held_out(0.2, 0)), Weak, "holding");
    }

    #[test]
    fn the_luck_test_outweighs_the_deflated_ratio_and_this_stands_in_for_it() {
        use VerdictCode::{Edge, Luck, Weak};
        let with = |luck, deflated| code(|e| (e.luck, e.deflated) = (luck, deflated));
        assert_eq!(with(Some(0.05), Some(0.3)), Edge);
        assert_eq!(with(Some(0.06), Some(0.99)), Weak);
        assert_eq!(with(None, Some(0.95)), Edge);
        assert_eq!(with(None, Some(0.94)), Weak);
        assert_eq!(with(None, None), Weak);
        let doubtful = |luck, deflated| {
            code(|e| {
                e.judged = windows(0.2, (-0.5, 0.9), None);
                (e.luck, e.deflated) = (luck, deflated);
            })
        };
        assert_eq!(doubtful(Some(0.44), Some(0.31)), Luck);
        assert_eq!(doubtful(Some(0.44), None), Luck);
        assert_eq!(doubtful(Some(0.44), Some(0.6)), Weak);
        assert_eq!(doubtful(Some(0.11), Some(0.31)), Weak);
        assert_eq!(doubtful(None, Some(0.31)), Weak);
    }

    #[test]
    fn what_nobody_could_have_traded_is_no_edge() {
        let mut evidence = good();
        evidence.looks_ahead = true;
        let found = verdict(&evidence);
        assert_eq!(found.code, VerdictCode::Weak);
        assert!(found.text.starts_with("Not attainable: "), "{}", found.text);
    }

    #[test]
    fn in_sample_only_tells_what_shuffled_markets_gave() {
        let mut evidence = good();
        evidence.judged = Judged::Nothing;
        evidence.luck = Some(0.44);
        let text = verdict(&evidence).text;
        assert!(text.starts_with("In-sample only"), "{text}");
        assert!(
            text.ends_with("44 % of shuffled markets gave as much."),
            "{text}"
        );
    }

    #[test]
    fn the_names_are_those_of_the_json_form_and_of_the_manual() {
        let manual = include_str!("../../../docs/trust.md");
        for code in VerdictCode::ALL {
            let json = serde_json::to_value(code).unwrap();
            assert_eq!(json, code.name());
            let cell = format!("| `{}` |", code.name());
            assert!(
                manual.contains(&cell),
                "docs/trust.md has no rule with {cell}"
            );
        }
    }
}
