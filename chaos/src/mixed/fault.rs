//! The faults, and how often each comes.

use crate::chance::Chance;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $name:literal x $cards:literal),+ $(,)?) => {
        /// One fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $variant),+ }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What it is called.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// How many of its kind a deck has.
            fn cards(self) -> usize {
                match self { $(Self::$variant => $cards),+ }
            }
        }
    };
}

faults! {
    /// kill -9 of a worker, and a new one in its place at once.
    WorkerKill = "worker-kill" x 16,
    /// kill -9 of an API, and a new one in its place at once.
    ApiKill = "api-kill" x 3,
    /// Fast shutdown and start of PostgreSQL.
    DatabaseRestart = "database-restart" x 2,
    /// SIGKILL and start of PostgreSQL.
    DatabaseKill = "database-kill" x 2,
    /// Graceful stop and start of RabbitMQ.
    BrokerRestart = "broker-restart" x 2,
    /// SIGKILL and start of RabbitMQ.
    BrokerKill = "broker-kill" x 2,
    /// RabbitMQ comes back with an empty disk.
    BrokerWipe = "broker-wipe" x 1,
    /// The work queue is deleted.
    QueueDelete = "queue-delete" x 2,
    /// The work queue is there and answers nobody.
    QueueDead = "queue-dead" x 1,
    /// Connections of some processes to RabbitMQ are reset.
    BrokerCut = "broker-cut" x 3,
    /// Connections of some processes to PostgreSQL are reset.
    DatabaseCut = "database-cut" x 3,
    /// Everything that a process says and hears comes late.
    Delay = "delay" x 2,
    /// A process has a slow line.
    Throttle = "throttle" x 1,
    /// A process and RabbitMQ do not hear each other, and nobody tells them.
    BrokerStall = "broker-stall" x 2,
    /// A process and PostgreSQL do not hear each other, and nobody tells them.
    DatabaseStall = "database-stall" x 2,
    /// A worker is stopped for longer than a lease, and goes on as if nothing had been.
    Zombie = "zombie" x 2,
    /// Messages for units, done and to be done, again, several times and out of order.
    Duplicates = "duplicates" x 2,
    /// Messages that nobody can read, or of a version that nobody knows.
    Malformed = "malformed" x 2,
    /// The memory alarm of the broker: it takes nothing.
    MemoryAlarm = "memory-alarm" x 1,
    /// The disk alarm of the broker: it takes nothing.
    DiskAlarm = "disk-alarm" x 1,
    /// The clock of a worker or an API jumps.
    ClockJump = "clock-jump" x 2,
    /// PostgreSQL takes no further connection.
    Connections = "connections" x 1,
    /// The table of trials is locked.
    LockedTable = "locked-table" x 1,
    /// Every worker is asked to leave and started again, one after another.
    RollingRestart = "rolling-restart" x 1,
}

impl Fault {
    /// The fault of that name.
    ///
    /// # Errors
    /// With the names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|fault| fault.name() == name);
        let all = || Self::ALL.iter().map(|f| f.name()).collect::<Vec<_>>();
        found.ok_or_else(|| format!("there is no fault {name}; there are {}", all().join(", ")))
    }
}

/// Faults in a random order, each as often as it is said above: a deck that is shuffled, dealt out,
/// and shuffled again.
pub struct Deck {
    chance: Chance,
    kinds: Vec<Fault>,
    left: Vec<Fault>,
}

impl Deck {
    /// A deck of these kinds.
    #[must_use]
    pub fn new(seed: u64, kinds: Vec<Fault>) -> Self {
        Self {
            chance: Chance::new(seed, "deck"),
            kinds,
            left: Vec::new(),
        }
    }

    /// The next fault; nothing when there are no kinds.
    pub fn deal(&mut self) -> Option<Fault> {
        if self.left.is_empty() {
            let of_kind = |kind: &Fault| std::iter::repeat_n(*kind, kind.cards());
            self.left = self.kinds.iter().flat_map(of_kind).collect();
            self.chance.shuffle(&mut self.left);
        }
        self.left.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deck_has_every_fault_as_often_as_it_says_and_a_seed_one_order() {
        let deal = |seed| {
            let mut deck = Deck::new(seed, Fault::ALL.to_vec());
            let size = Fault::ALL.iter().map(|f| f.cards()).sum::<usize>();
            (0..size).filter_map(|_| deck.deal()).collect::<Vec<_>>()
        };
        let dealt = deal(1);
        for fault in Fault::ALL {
            let times = dealt.iter().filter(|dealt| *dealt == fault).count();
            assert_eq!(times, fault.cards(), "{}", fault.name());
            assert_eq!(Fault::named(fault.name()), Ok(*fault));
        }
        assert_eq!(dealt, deal(1));
        assert_ne!(dealt, deal(2));
    }
}
