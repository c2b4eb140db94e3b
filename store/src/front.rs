//! The columns of tasks with several objectives that have rules of their own.

use crate::error::StoreError;
use trialmill_common::protocol::{Aim, StopRules};
use trialmill_search::pareto::{Front, Member};

/// The objectives as they are stored: those of a task with such rules.
pub(crate) fn aims(rules: &StopRules) -> Option<&[Aim]> {
    Some(rules.aims.as_slice()).filter(|aims| !aims.is_empty())
}

/// A front: for each member, in the order of their numbers, its number (four bytes) and its costs (eight
/// bytes each), little-endian.
pub(crate) fn pack(front: &Front) -> Vec<u8> {
    let mut packed = Vec::new();
    for member in front.members() {
        packed.extend(member.number.to_le_bytes());
        packed.extend(member.costs.iter().flat_map(|cost| cost.to_le_bytes()));
    }
    packed
}

/// The front that [`pack`] wrote, of members with so many costs.
pub(crate) fn unpack(packed: &[u8], objectives: usize) -> Result<Front, StoreError> {
    let width = 4 + 8 * objectives;
    if !packed.len().is_multiple_of(width) {
        return Err(StoreError::Unreadable {
            what: "column front".to_owned(),
            why: format!("{} bytes are no members of {width} each", packed.len()),
        });
    }
    let member = |packed: &[u8]| {
        let (number, costs) = packed.split_at(4);
        let costs = costs.chunks_exact(8);
        Member {
            number: u32::from_le_bytes(number.try_into().expect("split there")),
            costs: costs
                .map(|cost| f64::from_le_bytes(cost.try_into().expect("eight each")))
                .collect(),
        }
    };
    let members = packed.chunks_exact(width).map(member);
    Ok(Front::of(members.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_is_read_as_it_was_written() {
        let mut front = Front::default();
        for number in 0..50_u32 {
            let along = f64::from(number) / 7.0;
            front.add(number * 31 % 50, &[along, -along, 1.0 / 3.0]);
        }
        assert_eq!(front.members().len(), 50);
        let packed = pack(&front);
        assert_eq!(unpack(&packed, 3).unwrap(), front);
        assert_eq!(unpack(&[], 2).unwrap(), Front::default());
        let cut = unpack(&packed[1..], 3).unwrap_err().to_string();
        assert!(
            cut.contains("1399 bytes are no members of 28 each"),
            "{cut}"
        );
    }
}
