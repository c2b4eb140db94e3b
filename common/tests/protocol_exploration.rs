//! The protocol explored: exhaustively for two workers and two units, and by long random walks.
//! Kills, duplicates, reordered messages, expiring leases, unknown commits, pause and cancel are
//! moves like any other; after each the rows must be right, and from everywhere the task must end.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use trialmill_common::protocol::board::{Board, Flush, LeaseToken, Unit, UnitEnd, Written};
use trialmill_common::protocol::{ASSESS_STEPS, Aim, Control, Ledger, Plan, StopRules, Tally};
use trialmill_common::state::{Direction, StopReason, TaskState, UnitKind, UnitState};

/// What a worker slot knows.
#[derive(Clone, Debug)]
struct Held {
    /// Which claim of the walk this is: who is whom, without the model's tokens.
    claim: u64,
    lease: LeaseToken,
    next: u32,
    left: u32,
    recorded: u32,
    pending: Vec<Tally>,
    /// Whether the unit assesses: its work is steps, not trials.
    assesses: bool,
    /// Steps that are not recorded.
    steps: u32,
    told: Control,
    /// A flush whose commit is unknown: it is repeated as it is, before anything else.
    unknown: Option<Flush>,
}

#[derive(Clone)]
struct World {
    board: Board,
    slots: Vec<Option<Held>>,
    /// The rightful holder of each unit: the last claim that was neither reaped nor handed back.
    /// Kept apart from the model, which must come to the same answer by its tokens.
    holders: BTreeMap<u32, u64>,
    claims: u64,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Deliver(usize, u32),
    Work(usize),
    Flush(usize, UnitEnd),
    FlushUnknown(usize, UnitEnd),
    Repeat(usize),
    Renew(usize),
    Kill(usize),
    Expire(u32),
    Reap,
    Pause,
    Resume,
    Cancel,
    Timeout,
}

/// Rules of two objectives, the second to be maximized.
fn of_two(first: Direction, targets: [Option<f64>; 2], patience: Option<u32>) -> StopRules {
    let aims = [first, Direction::Maximize].into_iter().zip(targets);
    StopRules {
        patience,
        aims: aims
            .map(|(direction, target)| Aim { direction, target })
            .collect(),
        ..StopRules::default()
    }
}

/// A history-free objective: the outcome is a function of the number alone.
fn outcome(number: u32) -> Tally {
    match number % 5 {
        1 => Tally::Failed,
        2 => Tally::Infeasible,
        4 => Tally::Pruned,
        _ => Tally::Values(vec![
            f64::from((number * 7 + 3) % 11),
            f64::from(number % 13),
        ]),
    }
}

impl World {
    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (slot, held) in self.slots.iter().enumerate() {
            match held {
                // A message may name any unit at any time: duplicates, reordering and replays.
                None => moves.extend(self.board.units.keys().map(|u| Move::Deliver(slot, *u))),
                Some(held) => {
                    moves.push(Move::Kill(slot));
                    if held.unknown.is_some() {
                        moves.push(Move::Repeat(slot));
                        continue;
                    }
                    moves.push(Move::Renew(slot));
                    let working = held.told == Control::Run && held.left > 0;
                    if working {
                        moves.push(Move::Work(slot));
                        moves.push(Move::Flush(slot, UnitEnd::HandBack));
                        moves.push(Move::Flush(slot, UnitEnd::Isolate));
                        moves.push(Move::Flush(slot, UnitEnd::Unable));
                        moves.push(Move::Flush(slot, UnitEnd::OtherBuild));
                    }
                    if working && (!held.pending.is_empty() || held.steps > 0) {
                        for end in [UnitEnd::Keep, UnitEnd::Split] {
                            // Nothing of an assessment can be split off.
                            if held.assesses && end == UnitEnd::Split {
                                continue;
                            }
                            moves.push(Move::Flush(slot, end));
                            moves.push(Move::FlushUnknown(slot, end));
                        }
                        moves.push(Move::FlushUnknown(slot, UnitEnd::HandBack));
                    }
                    if held.left == 0 || held.told == Control::Stop {
                        moves.push(Move::Flush(slot, UnitEnd::Close));
                        moves.push(Move::FlushUnknown(slot, UnitEnd::Close));
                    } else if held.told == Control::Pause {
                        moves.push(Move::Flush(slot, UnitEnd::HandBack));
                    }
                }
            }
        }
        for (number, unit) in &self.board.units {
            if unit.state == UnitState::Leased && !unit.expired {
                moves.push(Move::Expire(*number));
            }
        }
        moves.extend([
            Move::Reap,
            Move::Pause,
            Move::Resume,
            Move::Cancel,
            Move::Timeout,
        ]);
        moves
    }

    fn play(&mut self, step: Move) {
        let was = (self.board.ledger.state, self.board.trials.len());
        match step {
            Move::Deliver(slot, unit) => {
                if let Some(claim) = self
                    .board
                    .claim(unit, u8::try_from(slot).expect("few slots"))
                {
                    self.claims += 1;
                    self.holders.insert(unit, self.claims);
                    self.slots[slot] = Some(Held {
                        claim: self.claims,
                        lease: claim.lease,
                        next: claim.first,
                        left: claim.count,
                        recorded: claim.recorded,
                        pending: Vec::new(),
                        assesses: self.board.units[&unit].kind == UnitKind::Assess,
                        steps: 0,
                        told: Control::Run,
                        unknown: None,
                    });
                }
            }
            Move::Work(slot) => {
                let held = self.slots[slot].as_mut().expect("offered for a holder");
                if held.assesses {
                    let done = held.left.min(ASSESS_STEPS / 2);
                    held.steps += done;
                    held.left -= done;
                    return;
                }
                self.board.announce(held.lease);
                held.pending.push(outcome(held.next));
                held.next += 1;
                held.left -= 1;
            }
            Move::Flush(slot, end) => {
                let flush = self.flush(slot, end);
                self.write(slot, &flush);
            }
            Move::FlushUnknown(slot, end) => {
                let flush = self.flush(slot, end);
                self.send(slot, &flush);
                self.slots[slot].as_mut().expect("holder").unknown = Some(flush);
            }
            Move::Repeat(slot) => {
                let held = self.slots[slot].as_mut().expect("holder");
                let flush = held.unknown.take().expect("offered when unknown");
                self.write(slot, &flush);
            }
            Move::Renew(slot) => {
                let held = self.slots[slot].as_mut().expect("holder");
                let rightful = self.holders.get(&held.lease.unit) == Some(&held.claim);
                let renewed = self.board.renew(held.lease);
                assert!(
                    rightful || renewed.is_none(),
                    "a superseded lease was renewed"
                );
                match renewed {
                    Some(control) => held.told = control,
                    None => self.slots[slot] = None,
                }
            }
            Move::Kill(slot) => self.slots[slot] = None,
            Move::Expire(unit) => self.board.expire(unit),
            Move::Reap => {
                for (number, unit) in &self.board.units {
                    if unit.state == UnitState::Leased && unit.expired {
                        self.holders.remove(number);
                    }
                }
                self.board.reap();
                if self.board.ledger.gave_up {
                    self.holders.clear();
                }
            }
            Move::Pause => drop(self.board.pause()),
            Move::Resume => drop(self.board.resume()),
            Move::Cancel => drop(self.board.stop(StopReason::Cancelled)),
            Move::Timeout => drop(self.board.stop(StopReason::Timeout)),
        }
        let violations = self.board.violations();
        assert!(
            violations.is_empty(),
            "{step:?}: {violations:?}\n{:#?}",
            self.board
        );
        assert!(
            !was.0.is_terminal() || was.0 == self.board.ledger.state,
            "{step:?}: left the end"
        );
        assert!(
            was.1 <= self.board.trials.len(),
            "{step:?}: a trial disappeared"
        );
        for (number, tally) in &self.board.trials {
            assert_eq!(*tally, outcome(*number), "trial {number}");
        }
    }

    fn flush(&self, slot: usize, end: UnitEnd) -> Flush {
        let held = self.slots[slot].as_ref().expect("holder");
        Flush {
            lease: held.lease,
            recorded_before: held.recorded,
            trials: held.pending.clone(),
            steps: held.steps,
            end,
        }
    }

    /// One flush to the model, which must accept it from the rightful holder and from nobody else.
    fn send(&mut self, slot: usize, flush: &Flush) -> Written {
        let unit = flush.lease.unit;
        let claim = self.slots[slot].as_ref().expect("holder").claim;
        let rightful = self.holders.get(&unit) == Some(&claim);
        let written = self.board.record(std::slice::from_ref(flush))[0];
        if written == Written::Ended {
            let ledger = &self.board.ledger;
            assert!(rightful && !ledger.rules.is_empty(), "{unit} was cut");
            // Closed in its middle: to its holder it is lost.
            self.holders.remove(&unit);
        } else if rightful {
            assert_eq!(
                written,
                Written::Recorded,
                "the holder of {unit} was fenced"
            );
        } else {
            assert_eq!(
                written,
                Written::Fenced,
                "a superseded lease wrote to {unit}"
            );
        }
        if self.board.units[&unit].state == UnitState::Queued {
            self.holders.remove(&unit);
        }
        written
    }

    fn write(&mut self, slot: usize, flush: &Flush) {
        let written = self.send(slot, flush);
        let held = self.slots[slot].as_mut().expect("holder");
        if written != Written::Recorded || flush.end != UnitEnd::Keep {
            self.slots[slot] = None;
        } else {
            held.recorded += u32::try_from(flush.trials.len()).unwrap() + flush.steps;
            held.pending.clear();
            held.steps = 0;
        }
    }

    /// With the faults over, one worker must bring the task to its end.
    fn drive_to_end(mut self) -> Self {
        self.faults_are_over();
        let mut steps = 0;
        while !self.board.ledger.state.is_terminal() {
            steps += 1;
            assert!(steps < 10_000, "stuck: {:#?}", self.board);
            self.run_a_unit();
        }
        self.ended_well();
        self
    }

    /// The same, as far as it is not known: from the states in `good` the end is reached.
    fn comes_to_an_end(mut self, good: &mut HashSet<u64>) {
        self.faults_are_over();
        let mut path = Vec::new();
        while !self.board.ledger.state.is_terminal() {
            let state = self.fingerprint();
            if good.contains(&state) {
                good.extend(path);
                return;
            }
            path.push(state);
            assert!(path.len() < 10_000, "stuck: {:#?}", self.board);
            self.run_a_unit();
        }
        self.ended_well();
        good.extend(path);
    }

    fn faults_are_over(&mut self) {
        for slot in 0..self.slots.len() {
            self.slots[slot] = None;
        }
        self.play(Move::Resume);
        for unit in self.board.units.keys().copied().collect::<Vec<_>>() {
            self.play(Move::Expire(unit));
        }
        self.play(Move::Reap);
    }

    fn run_a_unit(&mut self) {
        let queued = |u: &&Unit| u.state == UnitState::Queued;
        let open = self
            .board
            .units
            .iter()
            .find(|(_, u)| queued(u))
            .map(|(n, _)| *n);
        let unit = open.expect("a live task has a queued unit once every lease is reaped");
        self.play(Move::Deliver(0, unit));
        assert!(
            self.slots[0].is_some(),
            "{unit} is not given out: {:#?}",
            self.board
        );
        while self.slots[0].as_ref().is_some_and(|h| h.left > 0) {
            self.play(Move::Work(0));
        }
        self.play(Move::Flush(0, UnitEnd::Close));
    }

    fn ended_well(&self) {
        let ledger = &self.board.ledger;
        if ledger.gave_up {
            assert_eq!(ledger.state, TaskState::Failed);
        } else if ledger.stop_requested.is_none() {
            assert_eq!(ledger.state, TaskState::Completed);
            assert!(self.board.trials.keys().copied().eq(0..ledger.n_trials));
        }
    }

    /// Everything the future depends on, with claims reduced to "rightful or superseded".
    fn fingerprint(&self) -> u64 {
        let mut h = DefaultHasher::new();
        let l = &self.board.ledger;
        (
            l.state,
            l.stop_requested,
            l.searched,
            l.next_number,
            l.next_unit,
            self.board.started,
        )
            .hash(&mut h);
        // What the rules look at, and where the copied trials stand.
        if !l.rules.is_empty() {
            let front = l.front.members().iter().map(|member| member.number);
            (
                l.best.map(|best| best.number),
                l.since_best,
                l.reached,
                front.collect::<Vec<u32>>(),
            )
                .hash(&mut h);
        }
        l.copied.passed_units.hash(&mut h);
        for (number, unit) in &self.board.units {
            (
                number,
                unit.first,
                unit.count,
                unit.recorded,
                unit.state,
                unit.expired,
            )
                .hash(&mut h);
        }
        for held in &self.slots {
            if let Some(held) = held {
                let current = self.holders.get(&held.lease.unit) == Some(&held.claim);
                (
                    1,
                    held.lease.unit,
                    current,
                    held.next,
                    held.left,
                    held.recorded,
                    held.steps,
                )
                    .hash(&mut h);
                (held.told == Control::Run, held.told == Control::Stop).hash(&mut h);
                held.unknown
                    .as_ref()
                    .map(|f| (f.recorded_before, f.trials.len(), f.steps, f.end))
                    .hash(&mut h);
            } else {
                0.hash(&mut h);
            }
        }
        h.finish()
    }
}

fn plan(n_trials: u32, parallelism: Option<u32>, adaptive: bool) -> Plan {
    Plan {
        kind: UnitKind::Trials,
        direction: Direction::Minimize,
        n_trials,
        planned: n_trials,
        parallelism,
        adaptive,
        rules: StopRules::default(),
        windows: Vec::new(),
        assessed: false,
        by_client: false,
    }
}

fn world(board: Board, slots: usize) -> World {
    World {
        board,
        slots: vec![None; slots],
        holders: BTreeMap::new(),
        claims: 0,
    }
}

/// Trials of another task, as the rule of [`outcome`] would have them.
fn copied(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, Tally)> {
    numbers.into_iter().map(|n| (n, outcome(n))).collect()
}

/// Two units of two trials each, all four handed out.
fn two_units() -> World {
    let (ledger, effects) = Ledger::submitted(plan(4, Some(2), false), 2);
    let mut board = Board::submit((ledger, effects), 2);
    let template = board.units[&0].clone();
    board.ledger.next_number = 4;
    for number in [0, 1] {
        let unit = Unit {
            first: number * 2,
            count: 2,
            ..template.clone()
        };
        board.units.insert(number, unit);
    }
    world(board, 2)
}

/// Every state that is reachable from `start` is right, and from each the task ends; the ends.
fn explore(start: World, at_least: usize) -> HashSet<(TaskState, Option<StopReason>)> {
    assert_eq!(start.board.violations(), Vec::<String>::new());
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut frontier = VecDeque::from([start]);
    let mut ends = HashSet::new();
    let mut good = HashSet::new();
    while let Some(world) = frontier.pop_front() {
        for step in world.moves() {
            let mut after = world.clone();
            after.play(step);
            if seen.insert(after.fingerprint()) {
                let ledger = &after.board.ledger;
                if ledger.state.is_terminal() {
                    ends.insert((ledger.state, ledger.stop_reason));
                }
                after.clone().comes_to_an_end(&mut good);
                frontier.push_back(after);
            }
        }
    }
    assert!(
        seen.len() > at_least,
        "only {} states: a move went missing",
        seen.len()
    );
    ends
}

#[test]
fn two_workers_and_two_units_are_right_in_every_reachable_state() {
    let ends = explore(two_units(), 10_000);
    for end in [
        (TaskState::Completed, Some(StopReason::NTrials)),
        (TaskState::Completed, Some(StopReason::Timeout)),
        (TaskState::Failed, None),
        (TaskState::Cancelled, None),
    ] {
        assert!(ends.contains(&end), "{end:?} was never reached");
    }
}

#[test]
fn a_task_with_copied_trials_and_gaps_is_right_in_every_reachable_state() {
    // Numbers 0, 1 and 3 are to be run, one after the other or two at a time.
    for (parallelism, at_least) in [(1, 1_000), (2, 5_000)] {
        let plan = plan(5, Some(parallelism), false);
        let board = Board::derive(plan, &copied([2, 4]), 2);
        assert_eq!(board.ledger.copied.units, 2);
        let ends = explore(world(board, 2), at_least);
        assert!(ends.contains(&(TaskState::Completed, Some(StopReason::NTrials))));
        assert!(ends.contains(&(TaskState::Cancelled, None)));
    }
}

#[test]
fn a_task_that_is_assessed_is_right_in_every_reachable_state() {
    let plan = Plan {
        assessed: true,
        ..plan(2, Some(1), false)
    };
    let ends = explore(world(Board::derive(plan, &[], 2), 2), 1_000);
    for end in [
        (TaskState::Completed, Some(StopReason::NTrials)),
        (TaskState::Completed, Some(StopReason::Timeout)),
        (TaskState::Cancelled, None),
    ] {
        assert!(ends.contains(&end), "{end:?} was never reached");
    }
}

#[test]
fn a_task_of_two_windows_is_right_in_every_reachable_state() {
    for adaptive in [false, true] {
        let plan = Plan {
            windows: vec![0..2, 2..3],
            ..plan(3, Some(2), adaptive)
        };
        let board = Board::submit(Ledger::submitted(plan, 2), 2);
        let ends = explore(world(board, 2), 3_000);
        assert!(ends.contains(&(TaskState::Completed, Some(StopReason::NTrials))));
        assert!(ends.contains(&(TaskState::Cancelled, None)));
    }
}

#[test]
fn a_task_that_ends_itself_is_right_in_every_reachable_state() {
    // The values of trials 0, 3 and 5 are 3, 2 and 5; smaller is better. Their second values are 0, 3
    // and 5; more is better.
    let one = |target, patience| StopRules {
        target,
        patience,
        aims: Vec::new(),
    };
    let two = |targets, patience| of_two(Direction::Minimize, targets, patience);
    for (rules, n_trials, reason) in [
        (one(Some(3.0), None), 4, StopReason::TargetReached),
        (one(None, Some(1)), 4, StopReason::NoImprovement),
        // Less of those with several: where they differ is what a trial counts as.
        (
            two([Some(3.0), Some(0.0)], None),
            2,
            StopReason::TargetReached,
        ),
        (two([None; 2], Some(1)), 2, StopReason::NoImprovement),
    ] {
        let plan = Plan {
            rules,
            ..plan(n_trials, Some(2), false)
        };
        let board = Board::derive(plan, &[], 2);
        let ends = explore(world(board, 2), 500);
        assert!(
            ends.contains(&(TaskState::Completed, Some(reason))),
            "{ends:?}"
        );
    }
}

#[test]
fn a_sequential_task_that_ends_itself_records_the_same_trials_however_it_is_flushed() {
    // Value 2 of trial 3 is the first that is good enough; 0 to 3 are recorded, and nothing else,
    // whatever the flushes, crashes and pauses before; unless nobody can run its unit.
    let mut met = 0;
    for walk in 0..500 {
        let mut chance = Chance(walk);
        let rules = StopRules {
            target: Some(2.0),
            ..StopRules::default()
        };
        let plan = Plan {
            rules,
            ..plan(30, Some(1), walk.is_multiple_of(2))
        };
        let mut world = world(Board::submit(Ledger::submitted(plan, 2), 2), 2);
        for _ in 0..60 {
            let moves = world.moves();
            let step = moves[chance.below(moves.len())];
            if !matches!(step, Move::Cancel | Move::Timeout) {
                world.play(step);
            }
        }
        let end = world.drive_to_end().board;
        let (recorded, gave_up) = (end.trials.len(), end.ledger.gave_up);
        assert!(recorded == 4 || gave_up && recorded < 4, "{recorded}");
        met += u32::from(!gave_up);
    }
    assert!(met > 100, "{met} of 500 walks met the target");
}

/// SplitMix64: enough chance for a walk, and the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }
}

/// Clients ask for one trial at a time, so each is a unit of its own; but for those that were copied.
fn assert_one_trial_each(board: &Board) {
    let copied = board.ledger.copied.units;
    for (number, unit) in board.units.range(copied..) {
        assert_eq!(unit.count, 1, "{number}: {unit:?}");
    }
}

#[test]
fn a_million_random_steps_break_no_invariant() {
    let mut steps = 0_u32;
    let (mut walk, mut given_up) = (0_u64, 0);
    while steps < 1_000_000 {
        walk += 1;
        let mut chance = Chance(walk);
        let n_trials = u32::try_from(1 + chance.below(40)).unwrap();
        let parallelism = [None, Some(1), Some(2), Some(5)][chance.below(4)];
        let slots = 1 + chance.below(4);
        let rules = match chance.below(4) {
            0 => StopRules {
                target: [None, Some(9.0), Some(10.0)][chance.below(3)],
                patience: [None, Some(1), Some(7)][chance.below(3)],
                aims: Vec::new(),
            },
            1 => {
                let mut target = || [None, Some(9.0), Some(7.0)][chance.below(3)];
                let targets = [target(), target()];
                let patience = [None, Some(1), Some(7)][chance.below(3)];
                of_two(Direction::Maximize, targets, patience)
            }
            _ => StopRules::default(),
        };
        // A task of windows has no rules and takes over no trials.
        let windows: Vec<Range<u32>> = match (n_trials / 3, chance.below(3)) {
            (third @ 1.., 0) if rules.is_empty() => {
                vec![0..third, third..2 * third, 2 * third..n_trials]
            }
            _ => Vec::new(),
        };
        let is_one_search = windows.is_empty();
        // What clients run is one search, and nobody assesses it.
        let by_client = is_one_search && chance.below(4) == 0;
        let plan = Plan {
            direction: Direction::Maximize,
            rules,
            windows,
            assessed: !by_client && chance.below(2) == 0,
            by_client,
            ..plan(n_trials, parallelism, walk.is_multiple_of(2))
        };
        let board = if is_one_search && chance.below(3) == 0 {
            let numbers = (0..n_trials).filter(|_| chance.below(3) > 0);
            Board::derive(plan, &copied(numbers), 2)
        } else {
            Board::submit(Ledger::submitted(plan, 2), 2)
        };
        let mut world = world(board, slots);
        for _ in 0..200 {
            steps += 1;
            let moves: Vec<Move> = world.moves();
            let step = moves[chance.below(moves.len())];
            // Stops end the fun: let most walks live long.
            let rare = matches!(step, Move::Cancel | Move::Timeout);
            if rare && chance.below(20) != 0 {
                continue;
            }
            world.play(step);
            if by_client {
                assert_one_trial_each(&world.board);
            }
        }
        given_up += u64::from(world.board.ledger.gave_up);
        drop(world.drive_to_end());
    }
    // Both kinds of walks are walked.
    assert!(given_up > 10 && given_up < walk / 2, "{given_up} of {walk}");
}
