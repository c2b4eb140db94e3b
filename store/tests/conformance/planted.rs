//! Every rule of `verify` is known to bite: a violation of each is planted and found.

use crate::database::Database;
use crate::given::{Given, flush, hour, point, task};
use std::collections::BTreeSet;
use std::sync::Arc;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::trial::RunningTrial;
use trialmill_store::verify::RULES;

/// A running task with recorded trials, an announced one and 8 open units.
async fn running(given: &Given) {
    let id = given.submit(task(40, Some(8))).await;
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 1, UnitEnd::Keep)).await;
    let number = claim.first + 1;
    let trial = RunningTrial {
        number,
        unit: 0,
        point: point(number),
        crashes: 0,
    };
    given.store.start_trial(claim.lease, &trial).await.unwrap();
    let other = given.claim(id, 1).await;
    given
        .record(flush(&other, other.count, UnitEnd::Close))
        .await;
}

/// A task with all its trials.
async fn completed(given: &Given) {
    let id = given.submit(task(4, Some(1))).await;
    let claim = given.claim(id, 0).await;
    given.record(flush(&claim, 4, UnitEnd::Close)).await;
}

async fn finds(database: &Arc<Database>, rule: &str, ended: bool, plant: &str) {
    let given = Given::new(database.clone()).await;
    if ended {
        completed(&given).await;
    } else {
        running(&given).await;
    }
    given.verify().await;
    drop(given);
    database.plant(plant).await;
    let store = database.store(hour()).await;
    let found = store.verify().await.unwrap();
    assert!(
        found.iter().any(|v| v.rule == rule),
        "{rule} did not find it: {found:?}"
    );
    assert!(
        found
            .iter()
            .all(|v| !v.detail.is_empty() && v.task_id.len() == 36),
        "{found:?}"
    );
    drop(store);
    database
        .plant(
            "delete from tasks; delete from trials; delete from deleted_tasks; delete from key_loads",
        )
        .await;
}

pub async fn every_rule_finds_its_violation(database: Arc<Database>) {
    let planted = [
        (
            "counters_equal_rows",
            false,
            "update tasks set completed = completed + 1",
        ),
        (
            "best_equals_best_row",
            false,
            "update tasks set best_number = best_number + 1",
        ),
        (
            "open_units_equal_rows",
            false,
            "update tasks set open_units = open_units + 1",
        ),
        (
            "parallelism_is_kept",
            false,
            "update tasks set parallelism = 1",
        ),
        (
            "n_trials_means_all_trials",
            true,
            "delete from trials where number = 3",
        ),
        (
            "space_exhausted_means_all_points",
            true,
            "update tasks set stop_reason = 'space_exhausted', completed = 3",
        ),
        (
            "every_number_has_its_unit",
            false,
            "update units set state = 'void', publish_at = null where number = 5",
        ),
        (
            "trials_belong_to_their_unit",
            false,
            "update trials set unit = 99 where number = 0",
        ),
        (
            "recorded_equals_rows",
            false,
            "update units set recorded = 0 where number = 0",
        ),
        (
            "open_units_do_not_overlap",
            false,
            "update units set first = 0",
        ),
        (
            "alive_has_an_open_unit",
            false,
            "update tasks set open_units = 0",
        ),
        (
            "ended_has_no_open_unit",
            true,
            "update units set state = 'queued', publish_at = {now}",
        ),
        (
            "ended_keeps_no_front",
            true,
            "update tasks set front = {bytes}",
        ),
        (
            "ended_announces_no_trial",
            true,
            "insert into running_trials (task_id, number, unit, lease_token, params)
             select id, 9, 0, 1, {bytes} from tasks",
        ),
        (
            "announced_is_not_ended",
            false,
            "update running_trials set number = 0",
        ),
        (
            "enqueued_has_not_ended",
            false,
            "insert into enqueued_trials (task_id, number, params, enqueued_at)
             select id, 0, {bytes}, {now} from tasks",
        ),
        (
            "events_are_dense",
            false,
            "delete from task_events where seq = 1",
        ),
        (
            "copied_units_lie_ahead_or_are_passed",
            true,
            "update tasks set copied_units = 1, copied_trials = 4",
        ),
        (
            "stop_rules_are_obeyed",
            false,
            "update tasks set stop_target = 1.0",
        ),
        (
            "stop_rules_are_obeyed",
            false,
            "update tasks set targets_reached = true",
        ),
        (
            "windows_equal_rows",
            false,
            "insert into task_windows
                (task_id, number, first, count, next_number, ended, open_units)
             select id, 2, 0, 40, 20, 9, 0 from tasks",
        ),
        (
            "trials_name_their_window",
            false,
            "insert into task_windows
                (task_id, number, first, count, next_number, ended, open_units)
             select id, 0, 0, 40, 20, 3, 0 from tasks",
        ),
        (
            "an_assessment_has_its_unit",
            false,
            "update tasks set searched = 'n_trials'",
        ),
        ("trials_have_a_task", true, "delete from tasks"),
        (
            "key_loads_equal_rows",
            false,
            "update key_loads set planned_trials = planned_trials + 1",
        ),
    ];
    for (rule, ended, plant) in planted {
        finds(&database, rule, ended, plant).await;
    }
    let planted: BTreeSet<_> = planted.iter().map(|(rule, ..)| *rule).collect();
    let rules: BTreeSet<_> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(planted, rules, "each rule has its violation here");
}
