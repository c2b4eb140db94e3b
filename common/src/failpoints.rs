//! Places at which a process can be made to die, to show that nothing depends on its living on.
//!
//! Each step of the protocol that another process would have to make good for has a point, called with
//! [`reach`] in the code. With the feature `failpoints` a process that was told so by [`arm`] aborts
//! there: no destructor runs, no socket is closed in order, which is what a `kill -9` at that very
//! instruction would do. Without the feature `reach` is empty and nothing can be armed: release builds
//! have no points.
//!
//! The names follow the operations of the store and the steps of a slot. `trialmill-chaos
//! crash-points` visits all of them.

use std::fmt;

/// The processes in which a point can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// `trialmill-api` only.
    Api,
    /// `trialmill-worker` only.
    Worker,
    /// Whichever of the two relays, reaps or does it first.
    Either,
}

macro_rules! points {
    ($($variant:ident = $name:literal, $process:ident, $what:literal;)+) => {
        /// A place at which a process can be made to die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FailPoint { $(#[doc = $what] $variant),+ }

        impl FailPoint {
            /// Every point, in the order in which a task meets them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name, as `TRIALMILL_FAILPOINT` takes it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Where it can be reached.
            #[must_use]
            pub fn process(self) -> Process {
                match self { $(Self::$variant => Process::$process),+ }
            }

            /// What has been done and what has not when a process dies there.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Self::$variant => $what),+ }
            }
        }
    };
}

points! {
    SubmitChecked = "submit.checked", Api, "a request is checked, nothing of it is stored";
    SubmitCommitting = "submit.committing", Api, "the rows of a submission are written and not committed";
    SubmitCommitted = "submit.committed", Api, "a submission is committed and not answered";
    RelayTaking = "relay.taking", Either, "due units are chosen, their next due time is not committed";
    RelayTaken = "relay.taken", Either, "due units are taken, none is published";
    RelayPublished = "relay.published", Either, "units are sent to the broker, no confirmation was read";
    RelayConfirmed = "relay.confirmed", Either, "units are confirmed, which the database does not know";
    RelayMarked = "relay.marked", Either, "units are confirmed and the database knows";
    RelayUnroutable = "relay.unroutable", Either, "the broker returned a unit: there is no queue for it";
    QueueEmptied = "queue.emptied", Either, "a queue was found empty, its units were not made due yet";
    QueueRefilled = "queue.refilled", Either, "the units of an empty queue are due again, none is published";
    SlotDelivered = "slot.delivered", Worker, "a message has arrived, its unit is not claimed";
    ClaimCommitting = "claim.committing", Worker, "a lease is written and not committed";
    ClaimCommitted = "claim.committed", Worker, "a unit is claimed, its task is not read";
    TrialAnnouncing = "trial.announcing", Worker, "a slow trial has its parameters, which are not written";
    TrialAnnounced = "trial.announced", Worker, "a slow trial is announced and not begun";
    TrialBegun = "trial.begun", Worker, "a trial has begun";
    TrialComputed = "trial.computed", Worker, "a trial has its result, which only this process knows";
    RecordBegun = "record.begun", Worker, "results are about to be written";
    RecordCommitting = "record.committing", Worker, "results are written and not committed";
    RecordCommitted = "record.committed", Worker, "results are committed, the holder does not know";
    UnitDone = "unit.done", Worker, "every trial of a unit has its result, the unit is open";
    UnitClosing = "unit.closing", Worker, "the end of a unit is written and not committed";
    UnitSettled = "unit.settled", Worker, "a unit is closed, its message is not acknowledged";
    SlotAcknowledged = "slot.acknowledged", Worker, "the message of a closed unit is acknowledged";
    AssessRead = "assess.read", Worker, "what is to be assessed is read, no step of it is done";
    AssessStepped = "assess.stepped", Worker, "a step of an assessment is done, which only this process knows";
    AssessCommitting = "assess.committing", Worker, "steps of an assessment are written and not committed";
    AssessCommitted = "assess.committed", Worker, "steps of an assessment are committed, the holder does not know";
    AssessDone = "assess.done", Worker, "an assessment has its document, which only this process knows";
    TaskEnding = "task.ending", Worker, "the end of a task is written and not committed";
    TaskEnded = "task.ended", Worker, "the end of a task is committed, its last holder does not know";
    RenewBegun = "renew.begun", Worker, "leases are about to be renewed";
    RenewAnswered = "renew.answered", Worker, "leases are renewed, the answer is not obeyed";
    AcknowledgedEarly = "slot.acknowledged_early", Worker, "a long unit runs on without its message";
    DrainBegun = "drain.begun", Worker, "the worker is asked to leave and holds units";
    HandingBack = "unit.handing_back", Worker, "units are handed back, which is not committed";
    HandedBack = "unit.handed_back", Worker, "every unit is handed back, the worker has not signed off";
    StopCommitting = "stop.committing", Api, "a stop withdrew the queued units and is not committed";
    StopCommitted = "stop.committed", Api, "a stop is committed and not answered";
    StopObeyed = "stop.obeyed", Worker, "a holder was told to stop and has not closed its unit";
    PauseCommitting = "pause.committing", Api, "a pause is written and not committed";
    ResumeCommitting = "resume.committing", Api, "a paused task's units are due, which is not committed";
    ReapCommitting = "reap.committing", Either, "an expired unit is queued again, which is not committed";
    ReapCommitted = "reap.committed", Either, "an expired unit is queued again and not published";
    TimeoutCommitting = "timeout.committing", Either, "a task out of time is asked to stop, which is not committed";
}

impl fmt::Display for FailPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why [`arm`] refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArmError {
    /// This build has no points.
    #[error("this build has no fail points; build with the feature failpoints")]
    NotBuilt,
    /// The text names no point.
    #[error(
        "'{0}' is no fail point; write NAME, or NAME@N to pass it N times first, such as record.committing@2"
    )]
    Unknown(String),
}

/// Makes this process abort at a point: `NAME`, or `NAME@N` to pass it `N` times first. Once per
/// process; a second call changes nothing.
///
/// # Errors
/// When the text names no point, or this build has none.
pub fn arm(text: &str) -> Result<(), ArmError> {
    armed::arm(text)
}

/// Passes a point, or dies there if this process was told to.
#[inline]
pub fn reach(point: FailPoint) {
    armed::reach(point);
}

#[cfg(not(feature = "failpoints"))]
mod armed {
    use super::{ArmError, FailPoint};

    pub(super) fn arm(_: &str) -> Result<(), ArmError> {
        Err(ArmError::NotBuilt)
    }

    #[inline]
    pub(super) fn reach(_: FailPoint) {}
}

#[cfg(feature = "failpoints")]
mod armed {
    use super::{ArmError, FailPoint};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ARMED: OnceLock<(FailPoint, AtomicU32)> = OnceLock::new();

    pub(super) fn arm(text: &str) -> Result<(), ArmError> {
        let armed = parse(text).ok_or_else(|| ArmError::Unknown(text.to_owned()))?;
        ARMED.get_or_init(|| (armed.0, AtomicU32::new(armed.1)));
        Ok(())
    }

    pub(super) fn parse(text: &str) -> Option<(FailPoint, u32)> {
        let (name, passes) = match text.split_once('@') {
            Some((name, passes)) => (name, passes.parse().ok()?),
            None => (text, 0),
        };
        let point = FailPoint::ALL.iter().find(|point| point.name() == name)?;
        Some((*point, passes))
    }

    pub(super) fn reach(point: FailPoint) {
        let Some((armed, left)) = ARMED.get() else {
            return;
        };
        if *armed != point {
            return;
        }
        let one_less = |left: u32| left.checked_sub(1);
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_err()
        {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = FailPoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), FailPoint::ALL.len());
    }

    #[cfg(feature = "failpoints")]
    #[test]
    fn a_point_is_named_with_the_times_it_is_passed() {
        assert_eq!(
            armed::parse("record.begun"),
            Some((FailPoint::RecordBegun, 0))
        );
        assert_eq!(
            armed::parse("record.begun@3"),
            Some((FailPoint::RecordBegun, 3))
        );
        for wrong in ["record", "record.begun@", "record.begun@-1", ""] {
            assert_eq!(arm(wrong), Err(ArmError::Unknown(wrong.to_owned())));
        }
        // Not armed, every point is passed.
        FailPoint::ALL.iter().for_each(|point| reach(*point));
    }
}
