//! The state of the connections, put together for whoever asks.

use super::link::Role;
use crate::BrokerState;
use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};
use tokio::sync::watch;

/// The state of each connection that is wanted, and the worst of them.
#[derive(Debug)]
pub(super) struct StateBoard {
    publish: Mutex<BrokerState>,
    /// `None` until something is consumed.
    consume: Mutex<Option<BrokerState>>,
    worst: watch::Sender<BrokerState>,
}

impl StateBoard {
    pub(super) fn new() -> Self {
        let start = BrokerState::Disconnected {
            since: Instant::now(),
            reason: "the first attempt to connect is under way".to_owned(),
        };
        Self {
            publish: Mutex::new(start.clone()),
            consume: Mutex::new(None),
            worst: watch::Sender::new(start),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<BrokerState> {
        self.worst.subscribe()
    }

    pub(super) fn publish(&self) -> BrokerState {
        self.publish
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn connected(&self, role: Role) {
        self.set(role, BrokerState::Connected);
    }

    pub(super) fn blocked(&self, role: Role, reason: String) {
        self.set(role, BrokerState::Blocked { reason });
    }

    /// Keeps the time at which the connection was lost through later failed attempts.
    pub(super) fn disconnected(&self, role: Role, reason: String) {
        self.set(
            role,
            BrokerState::Disconnected {
                since: Instant::now(),
                reason,
            },
        );
    }

    fn set(&self, role: Role, mut new: BrokerState) {
        let mut publish = self.publish.lock().unwrap_or_else(PoisonError::into_inner);
        let mut consume = self.consume.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match role {
            Role::Publish => Some(&*publish),
            Role::Consume => consume.as_ref(),
        };
        if let BrokerState::Disconnected { since, .. } = &mut new
            && let Some(BrokerState::Disconnected { since: first, .. }) = old
        {
            *since = *first;
        }
        match role {
            Role::Publish => *publish = new,
            Role::Consume => *consume = Some(new),
        }
        let rank = |state: &BrokerState| match state {
            BrokerState::Connected => 0,
            BrokerState::Blocked { .. } => 1,
            BrokerState::Disconnected { .. } => 2,
        };
        let worst = match &*consume {
            Some(consume) if rank(consume) > rank(&publish) => consume.clone(),
            _ => publish.clone(),
        };
        self.worst.send_if_modified(|shown| {
            let changed = *shown != worst;
            *shown = worst;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_connection_is_shown_and_the_first_loss_keeps_its_time() {
        let board = StateBoard::new();
        let shown = board.subscribe();
        board.connected(Role::Publish);
        assert_eq!(*shown.borrow(), BrokerState::Connected);
        board.disconnected(Role::Consume, "first".to_owned());
        let BrokerState::Disconnected { since: first, .. } = shown.borrow().clone() else {
            panic!("a lost connection does not show");
        };
        board.disconnected(Role::Consume, "second".to_owned());
        let again = BrokerState::Disconnected {
            since: first,
            reason: "second".to_owned(),
        };
        assert_eq!(*shown.borrow(), again);
        assert_eq!(board.publish(), BrokerState::Connected);
        board.connected(Role::Consume);
        board.blocked(Role::Publish, "memory".to_owned());
        assert_eq!(
            *shown.borrow(),
            BrokerState::Blocked {
                reason: "memory".to_owned()
            }
        );
    }
}
