//! Processors of slots that have nothing to do, lent to who can compute on several.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the idle slots that are lent, so that each is lent once.
#[derive(Debug, Default)]
pub(crate) struct IdleSlots {
    lent: AtomicU32,
}

/// Slots that are lent until it is dropped.
#[derive(Debug)]
pub(crate) struct BorrowedSlots<'a> {
    from: &'a IdleSlots,
    count: u32,
}

impl IdleSlots {
    /// Lends what is left of `idle` slots, at most `most` of them.
    pub(crate) fn borrow(&self, idle: u32, most: u32) -> BorrowedSlots<'_> {
        let left = |lent: u32| idle.saturating_sub(lent).min(most);
        let take = |lent: u32| Some(lent + left(lent));
        let before = self
            .lent
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        BorrowedSlots {
            from: self,
            count: left(before.unwrap_or_else(|lent| lent)),
        }
    }
}

impl BorrowedSlots<'_> {
    /// How many they are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

impl Drop for BorrowedSlots<'_> {
    fn drop(&mut self) {
        self.from.lent.fetch_sub(self.count, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_slot_is_lent_once_and_comes_back() {
        let slots = IdleSlots::default();
        let first = slots.borrow(3, 9);
        // One more became idle.
        let second = slots.borrow(4, 9);
        let third = slots.borrow(4, 9);
        assert_eq!((first.count(), second.count(), third.count()), (3, 1, 0));
        drop(first);
        // Fewer are idle than are lent.
        assert_eq!(slots.borrow(1, 9).count(), 0);
        assert_eq!(slots.borrow(4, 9).count(), 3);
        drop((second, third));
        // Two who want no more than two each.
        let (one, other) = (slots.borrow(7, 2), slots.borrow(7, 2));
        assert_eq!((one.count(), other.count()), (2, 2));
        assert_eq!(slots.borrow(7, 9).count(), 3);
    }
}
