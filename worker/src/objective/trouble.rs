//! Why a trial has no evaluation.

use trialmill_backtest::engine::RunError;
use trialmill_backtest::strategy::ParamFault;
use trialmill_common::judge::NonFinite;
use trialmill_common::trial::FailureKind;

/// Why there is no evaluation.
pub(crate) enum Trouble {
    Stopped,
    Infeasible(String),
    Fails(Reason),
}

/// Why a trial fails, or each of a task's, but for who ran it.
#[derive(Clone)]
pub(crate) struct Reason {
    pub(super) kind: FailureKind,
    pub(crate) message: String,
    pub(super) hint: &'static str,
}

impl Reason {
    /// The bars cannot be backtested on these days.
    pub(super) fn data(message: String) -> Self {
        Self {
            kind: FailureKind::MarketData,
            message,
            hint: "submit it again with other dates or symbols, or import more bars",
        }
    }

    /// The settings cannot be used.
    pub(super) fn config(message: String) -> Self {
        Self {
            kind: FailureKind::InvalidParameters,
            message,
            hint: "submit it again with another backtest_config",
        }
    }
}

impl From<RunError> for Trouble {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Stopped => Self::Stopped,
            RunError::Params(faults) => match faults.as_slice() {
                [ParamFault::Unsuitable { reason }] => Self::Infeasible(reason.clone()),
                _ => invalid(RunError::Params(faults).to_string()),
            },
            RunError::Config(_) | RunError::NotShares { .. } => invalid(error.to_string()),
        }
    }
}

impl From<NonFinite> for Trouble {
    fn from(error: NonFinite) -> Self {
        Self::Fails(Reason {
            kind: FailureKind::NonFiniteValue,
            message: error.to_string(),
            hint: "keep the search away from parameters for which the objective is undefined",
        })
    }
}

/// The objective refuses the parameters.
pub(super) fn invalid(message: String) -> Trouble {
    Trouble::Fails(Reason {
        kind: FailureKind::InvalidParameters,
        message,
        hint: "submit it again with a space and a backtest_config that the strategy accepts",
    })
}
