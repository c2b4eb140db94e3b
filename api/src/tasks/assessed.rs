//! What the assessment of a search says, as its result shows it.

use crate::answer::{Baselines, Verdict};
use serde_json::{Value, json};
use trialmill_common::assessment::{Assessment, Computed};
use trialmill_store::rows::TaskRow;

/// The assessment of a search that has ended.
pub(super) enum Assessed {
    /// It was made.
    Found(Box<Assessment>),
    /// There is none, for this reason.
    Missing(String),
}

impl Assessed {
    /// What is stored of it: the last thing that its unit wrote.
    pub(super) fn of(task: &TaskRow, stored: Option<Value>) -> Self {
        let mut stored = stored.unwrap_or(Value::Null);
        if let Some(why) = stored["failed"].as_str() {
            return Self::Missing(format!("it could not be assessed: {why}"));
        }
        match stored.get_mut("assessment").map(Value::take) {
            Some(document) => match serde_json::from_value(document) {
                Ok(assessment) => Self::Found(Box::new(assessment)),
                Err(error) => {
                    tracing::error!(task.id = %task.id, %error, "a stored assessment is unreadable");
                    Self::Missing("this build cannot read its assessment".to_owned())
                }
            },
            None => Self::Missing(Self::why_not(task)),
        }
    }

    fn why_not(task: &TaskRow) -> String {
        match &task.error {
            Some(error) => format!("it could not be assessed: {}", error.message),
            None if task.stock_codes.is_empty() => "a test function has no returns".to_owned(),
            None => "it was accepted by a build that assessed nothing".to_owned(),
        }
    }

    fn found(&self) -> Option<&Assessment> {
        match self {
            Self::Found(assessment) => Some(assessment),
            Self::Missing(_) => None,
        }
    }

    /// The trial whose parameters are to be used, as far as the assessment decides it: the inner
    /// nothing is that no trial qualified.
    pub(super) fn pick(&self) -> Option<Option<u32>> {
        let best = self.found()?.best.as_ref();
        Some(best.map(|best| best.trial_number))
    }

    /// The same of a window of a walk-forward.
    pub(super) fn pick_of(&self, window: u16) -> Option<Option<u32>> {
        let mut windows = self.found()?.windows.iter();
        let found = windows.find(|found| found.index == window);
        Some(found.and_then(|found| found.trial_number))
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        let verdict = &self.found()?.verdict;
        Some(Verdict {
            code: verdict.code.name().to_owned(),
            text: verdict.text.clone(),
        })
    }

    /// A part of the document, or why there is none.
    fn part(&self, of: impl Fn(&Assessment) -> Value) -> Value {
        match self {
            Self::Found(assessment) => of(assessment),
            Self::Missing(reason) => json!({"value": null, "reason": reason}),
        }
    }

    pub(super) fn out_of_sample(&self) -> Value {
        self.part(|assessment| json!(assessment.out_of_sample))
    }

    pub(super) fn holdout(&self) -> Value {
        self.part(|assessment| json!(assessment.holdout))
    }

    pub(super) fn trust(&self) -> Value {
        self.part(|assessment| json!(assessment.trust))
    }

    pub(super) fn execution(&self) -> Value {
        self.part(|assessment| json!(assessment.execution))
    }

    pub(super) fn windows(&self) -> Vec<Value> {
        let windows = self.found().map(|found| found.windows.as_slice());
        windows
            .unwrap_or_default()
            .iter()
            .map(|one| json!(one))
            .collect()
    }

    /// Adds to the baselines what holding and the default parameters gave on the days that judge the
    /// result.
    pub(super) fn compare(&self, baselines: &mut Baselines) {
        // A search on a test function holds nothing.
        let Some(_) = baselines.period else { return };
        let none = |reason: &str| json!({"value": null, "reason": reason});
        let (hold, default) = match self {
            Self::Missing(reason) => (none(reason), none(reason)),
            Self::Found(found) => match &found.baselines {
                Computed::Missing { reason, .. } => (none(reason), none(reason)),
                Computed::Found(lines) => {
                    baselines.period = Some(lines.period);
                    let (hold, default) = (&lines.equal_weight_hold, &lines.default_params);
                    (json!(hold.sharpe_ratio), json!(default.sharpe_ratio))
                }
            },
        };
        let held = baselines.equal_weight_hold.get_or_insert_with(|| json!({}));
        held["sharpe_ratio"] = hold;
        if let Some(of_defaults) = &mut baselines.default_params {
            of_defaults.sharpe_ratio = default;
        }
    }
}
