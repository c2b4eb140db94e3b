//! What a check has found so far: faults, bounded in number, and warnings.

use crate::fault::{Fault, Warning};

/// The most faults that are listed: one for each symbol of the largest list. The rest is counted.
pub const MAX_FAULTS: usize = 1_000;

/// The most characters of a name that a message repeats.
const SHOWN: usize = 64;

/// The faults and warnings of one request.
#[derive(Debug, Default)]
pub(super) struct Findings {
    faults: Vec<Fault>,
    unlisted: usize,
    warnings: Vec<Warning>,
}

impl Findings {
    pub(super) fn fault(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        } else {
            self.unlisted += 1;
        }
    }

    /// Counts a fault that has no place in the list any more; false while there is place. What is
    /// said of a fault costs more than counting it, and a body may have a hundred thousand.
    pub(super) fn only_counts(&mut self) -> bool {
        let full = self.faults.len() >= MAX_FAULTS;
        self.unlisted += usize::from(full);
        full
    }

    pub(super) fn warn(&mut self, code: &str, pointer: &str, detail: impl Into<String>) {
        self.warnings.push(Warning {
            code: code.to_owned(),
            pointer: pointer.to_owned(),
            detail: detail.into(),
        });
    }

    /// How many faults there are, listed or not.
    pub(super) fn count(&self) -> usize {
        self.faults.len() + self.unlisted
    }

    /// The warnings, or every fault.
    pub(super) fn close(mut self) -> Result<Vec<Warning>, Vec<Fault>> {
        if self.faults.is_empty() {
            return Ok(self.warnings);
        }
        if self.unlisted > 0 {
            let detail = format!(
                "{} more faults are not listed; mend these {MAX_FAULTS} first",
                self.unlisted
            );
            self.faults
                .push(Fault::new("", "more_faults", detail).limit(MAX_FAULTS));
        }
        Err(self.faults)
    }
}

/// At most 64 characters of a name, for a message.
#[must_use]
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// The name that was probably meant: by few edits, or as the beginning of it.
///
/// ```
/// use trialmill_common::draft::close_to;
///
/// assert_eq!(close_to("volatilty", ["volatility", "turnover"]), Some("volatility"));
/// assert_eq!(close_to("x", ["volatility", "turnover"]), None);
/// ```
pub fn close_to<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = shown(name).to_lowercase();
    let length = name.chars().count();
    let edits = |known: &str| {
        if length >= 3 && known.starts_with(&name) {
            1
        } else {
            strsim::osa_distance(&name, known)
        }
    };
    let most = (length / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|known| (edits(known), known))
        .filter(|(distance, known)| *distance <= most && *distance < known.chars().count())
        .min()
        .map(|(_, known)| known)
}

/// "; did you mean x?" or what else may be used.
pub(super) fn advice<'n>(name: &str, names: &[&'n str], also: &[&'n str]) -> String {
    match close_to(name, names.iter().chain(also).copied()) {
        Some(close) => format!("did you mean {close}?"),
        None if names.is_empty() => "leave it out".to_owned(),
        None => format!("use {}", names.join(", ")),
    }
}
