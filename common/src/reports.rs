//! What trials report while they run, as it is stored: values, not costs.

use trialmill_search::pruner::Reports;

/// Most reports of one trial: they are read whenever a pruner is asked about another one.
pub const MAX_REPORTS: usize = 1_000;

/// The stored form: for each report its step (four bytes, little endian) and the bits of a double for
/// each objective.
///
/// ```
/// use trialmill_common::reports::{pack, unpack};
/// use trialmill_search::pruner::Reports;
///
/// let mut reports = Reports::new(2);
/// reports.push(3, &[0.5, -1.0]).expect("the first report");
/// let bytes = pack(&reports);
/// assert_eq!(bytes.len(), 20);
/// assert_eq!(unpack(&bytes, 2), Some(reports));
/// assert_eq!(unpack(&bytes[1..], 2), None);
/// ```
#[must_use]
pub fn pack(reports: &Reports) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reports.len() * (4 + 8 * reports.objectives()));
    for (at, step) in reports.steps().iter().enumerate() {
        bytes.extend(step.to_le_bytes());
        for objective in 0..reports.objectives() {
            let values = reports.costs(objective).unwrap_or_default();
            bytes.extend(values[at].to_le_bytes());
        }
    }
    bytes
}

/// Reads the stored form of reports with so many objectives. Nothing when it is none.
#[must_use]
pub fn unpack(bytes: &[u8], objectives: usize) -> Option<Reports> {
    let width = 4 + 8 * objectives;
    if !bytes.len().is_multiple_of(width) {
        return None;
    }
    let mut reports = Reports::new(objectives);
    for report in bytes.chunks_exact(width) {
        let (step, values) = report.split_first_chunk::<4>()?;
        let values: Vec<f64> = values
            .chunks_exact(8)
            .filter_map(|bits| Some(f64::from_le_bytes(bits.try_into().ok()?)))
            .collect();
        reports.push(u32::from_le_bytes(*step), &values).ok()?;
    }
    Some(reports)
}
