//! Whether a running trial is to end before it is finished.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

/// What a slot is to do with its unit. It only ever rises: a unit that was told to be handed back
/// is handed back, even if its task is resumed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Signal {
    /// Go on.
    Run,
    /// End the running trial, start no other, hand the unit back (pause, first phase of a drain).
    HandBack,
    /// Interrupt the running trial and hand the unit back (second phase of a drain).
    Interrupt,
    /// Interrupt the running trial and close the unit (its task is ending).
    Stop,
    /// The lease was superseded: interrupt and forget everything.
    Lost,
}

/// A [`Signal`] that several threads read and raise.
#[derive(Debug)]
pub struct SignalCell(AtomicU8);

impl Default for SignalCell {
    fn default() -> Self {
        Self(AtomicU8::new(Signal::Run as u8))
    }
}

impl SignalCell {
    /// Raises it to `signal`; never lowers it. Returns whether it changed.
    pub fn raise(&self, signal: Signal) -> bool {
        self.0.fetch_max(signal as u8, Ordering::AcqRel) < signal as u8
    }

    /// The signal now.
    pub fn get(&self) -> Signal {
        match self.0.load(Ordering::Acquire) {
            0 => Signal::Run,
            1 => Signal::HandBack,
            2 => Signal::Interrupt,
            3 => Signal::Stop,
            _ => Signal::Lost,
        }
    }
}

/// What a running trial asks: is it interrupted, or past its deadline?
pub struct StopSource<'a> {
    signal: &'a SignalCell,
    deadline: Instant,
    asked: Cell<u32>,
    overdue: Cell<bool>,
}

/// The clock is read at every 32nd question only: a backtest asks at each bar, and reading the
/// clock would cost as much as the bar.
const CLOCK_STRIDE: u32 = 32;

impl<'a> StopSource<'a> {
    /// For a trial that must end by `deadline`.
    pub fn new(signal: &'a SignalCell, deadline: Instant) -> Self {
        Self {
            signal,
            deadline,
            asked: Cell::new(0),
            overdue: Cell::new(false),
        }
    }

    /// Whether to stop. About the cost of an atomic load.
    pub fn asked(&self) -> bool {
        let count = self.asked.get().wrapping_add(1);
        self.asked.set(count);
        if count.is_multiple_of(CLOCK_STRIDE) {
            self.asked_now()
        } else {
            self.signal.get() >= Signal::Interrupt || self.overdue.get()
        }
    }

    /// Whether to stop, by the clock of this moment: for code that waits between questions.
    pub fn asked_now(&self) -> bool {
        if Instant::now() >= self.deadline {
            self.overdue.set(true);
        }
        self.overdue.get() || self.signal.get() >= Signal::Interrupt
    }

    /// Whether the deadline was the reason. An interruption outranks it: such a trial runs again.
    pub fn is_overdue(&self) -> bool {
        self.overdue.get() && self.signal.get() < Signal::Interrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_signal_only_rises() {
        let cell = SignalCell::default();
        assert!(cell.raise(Signal::Stop));
        assert!(!cell.raise(Signal::HandBack));
        assert_eq!(cell.get(), Signal::Stop);
    }

    #[test]
    fn a_deadline_is_noticed_within_a_stride_and_told_from_an_interruption() {
        let cell = SignalCell::default();
        let past = StopSource::new(&cell, Instant::now());
        assert!((0..CLOCK_STRIDE).any(|_| past.asked()));
        assert!(past.is_overdue());
        let interrupted = StopSource::new(&cell, Instant::now() + Duration::from_secs(3600));
        assert!(!interrupted.asked_now());
        cell.raise(Signal::Interrupt);
        assert!(interrupted.asked());
        assert!(!interrupted.is_overdue());
    }
}
