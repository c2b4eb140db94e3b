//! Promises 3 to 5 as questions to the database. Each query answers one row per violation:
//! (task id as text, detail as text). The text is the same SQL for PostgreSQL and SQLite.

use serde::Serialize;

/// One thing that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which rule, such as `counters_equal_rows`.
    pub rule: &'static str,
    /// The task.
    pub task_id: String,
    /// What is wrong.
    pub detail: String,
}

/// Every rule: its name, and the query that finds its violations.
pub const RULES: &[(&str, &str)] = &[
    (
        "counters_equal_rows",
        "select cast(t.id as text), 'completed/pruned/failed/infeasible are ' || t.completed || '/'
            || t.pruned || '/' || t.failed || '/' || t.infeasible || ', rows say '
            || coalesce(r.completed, 0) || '/' || coalesce(r.pruned, 0) || '/'
            || coalesce(r.failed, 0) || '/' || coalesce(r.infeasible, 0)
         from tasks t left join (
            select task_id,
                sum(case when outcome = 'completed' then 1 else 0 end) as completed,
                sum(case when outcome = 'pruned' then 1 else 0 end) as pruned,
                sum(case when outcome = 'failed' then 1 else 0 end) as failed,
                sum(case when outcome = 'completed' and infeasible is not null then 1 else 0 end)
                    as infeasible
            from trials group by task_id) r on r.task_id = t.id
         where t.completed <> coalesce(r.completed, 0) or t.pruned <> coalesce(r.pruned, 0)
            or t.failed <> coalesce(r.failed, 0) or t.infeasible <> coalesce(r.infeasible, 0)",
    ),
    (
        "best_equals_best_row",
        "select cast(t.id as text), 'best is trial ' || coalesce(cast(t.best_number as text), 'none')
            || ', the best row is ' || coalesce(cast(r.number as text), 'none')
         from tasks t left join (
            select task_id, number, value from (
                select r.task_id, r.number, r.value, row_number() over (
                    partition by r.task_id
                    order by case when t.direction = 'maximize' then -r.value else r.value end,
                        r.number) as place
                from trials r join tasks t on t.id = r.task_id
                where r.outcome = 'completed' and r.infeasible is null
                    and r.number >= coalesce((select max(w.first) from task_windows w
                        where w.task_id = t.id), 0)) ranked
            where place = 1) r on r.task_id = t.id
         where coalesce(t.best_number, -1) <> coalesce(r.number, -1)
            or (r.value is not null and t.best_value <> r.value)",
    ),
    (
        "open_units_equal_rows",
        "select cast(t.id as text), 'open_units is ' || t.open_units || ', open rows '
            || coalesce(u.open_rows, 0)
         from tasks t left join (
            select task_id, count(*) as open_rows from units
            where state in ('queued', 'leased') group by task_id) u on u.task_id = t.id
         where t.open_units <> coalesce(u.open_rows, 0)",
    ),
    (
        "parallelism_is_kept",
        "select cast(id as text), 'open_units ' || open_units || ' above parallelism ' || parallelism
         from tasks where open_units > parallelism",
    ),
    (
        "n_trials_means_all_trials",
        "select cast(t.id as text), 'n_trials is ' || t.n_trials || ', rows '
            || coalesce(r.trial_rows, 0) || ', highest number ' || coalesce(r.highest, -1)
         from tasks t left join (
            select task_id, count(*) as trial_rows, max(number) as highest from trials
            group by task_id) r on r.task_id = t.id
         where t.stop_reason = 'n_trials'
            and (coalesce(r.trial_rows, 0) <> t.n_trials or r.highest <> t.n_trials - 1)",
    ),
    (
        "space_exhausted_means_all_points",
        "select cast(t.id as text), 'planned is ' || t.planned || ', rows '
            || (t.completed + t.pruned + t.failed)
         from tasks t
         where t.stop_reason = 'space_exhausted'
            and t.completed + t.pruned + t.failed <> t.planned",
    ),
    (
        "every_number_has_its_unit",
        "select cast(t.id as text), 'numbers below ' || t.next_number || ', owned '
            || coalesce(u.owned, 0)
         from tasks t left join (
            select task_id, sum(case when state in ('queued', 'leased') then count
                else recorded end) as owned
            from units where kind <> 'assess' group by task_id) u on u.task_id = t.id
         where t.stop_requested is null and t.searched is null and not t.gave_up
            and t.next_number <> coalesce(u.owned, 0) - (t.copied_trials - t.passed_trials)",
    ),
    (
        "copied_units_lie_ahead_or_are_passed",
        "select cast(t.id as text), 'unit ' || u.number || ' holds copied trials from ' || u.first
            || ', next_number is ' || t.next_number || ', passed units ' || t.passed_units
         from units u join tasks t on t.id = u.task_id
         where u.number < t.copied_units and (u.state <> 'closed' or u.recorded <> u.count
            or case when u.number < t.passed_units then u.first >= t.next_number
                else u.first <= t.next_number end)",
    ),
    (
        "stop_rules_are_obeyed",
        "select cast(id as text), 'best is ' || best_value || ', ' || since_best
            || ' trials ended since; target ' || coalesce(cast(stop_target as text), 'none')
            || ', patience ' || coalesce(cast(stop_patience as text), 'none')
            || case when targets_reached then ', targets reached' else '' end
         from tasks
         where stop_requested is null and searched is null and best_value is not null
            and (since_best >= stop_patience or case when direction = 'maximize'
                then best_value >= stop_target else best_value <= stop_target end
                or targets_reached)",
    ),
    (
        "trials_belong_to_their_unit",
        "select cast(r.task_id as text), 'trial ' || r.number || ' is outside the recorded part of unit '
            || r.unit
         from trials r left join units u on u.task_id = r.task_id and u.number = r.unit
            left join deleted_tasks d on d.task_id = r.task_id
         where d.task_id is null
            and (u.task_id is null or r.number < u.first or r.number >= u.first + u.recorded)",
    ),
    (
        "recorded_equals_rows",
        "select cast(u.task_id as text), 'unit ' || u.number || ' recorded ' || u.recorded || ', rows '
            || coalesce(r.trial_rows, 0)
         from units u left join (
            select task_id, unit, count(*) as trial_rows from trials group by task_id, unit) r
            on r.task_id = u.task_id and r.unit = u.number
         where u.kind <> 'assess' and u.recorded <> coalesce(r.trial_rows, 0)",
    ),
    (
        "windows_equal_rows",
        "select cast(w.task_id as text), 'window ' || w.number || ' has ' || w.ended
            || ' ended trials, rows ' || coalesce(r.trial_rows, 0) || ', handed out ' || h.handed_out
            || ' of all windows, next_number ' || t.next_number
         from task_windows w join tasks t on t.id = w.task_id
            join (select task_id, sum(next_number - first) as handed_out from task_windows
                group by task_id) h on h.task_id = w.task_id
            left join (
                select r.task_id, w.number, count(*) as trial_rows
                from trials r join task_windows w on w.task_id = r.task_id
                    and r.number >= w.first and r.number < w.first + w.count
                group by r.task_id, w.number) r on r.task_id = w.task_id and r.number = w.number
         where w.ended <> coalesce(r.trial_rows, 0) or h.handed_out <> t.next_number",
    ),
    (
        "trials_name_their_window",
        "select cast(r.task_id as text), 'trial ' || r.number || ' names window '
            || coalesce(cast(r.window_number as text), 'none') || ', it is of window ' || w.number
         from trials r join task_windows w on w.task_id = r.task_id
            and r.number >= w.first and r.number < w.first + w.count
         where coalesce(r.window_number, -1) <> w.number",
    ),
    (
        "an_assessment_has_its_unit",
        "select cast(t.id as text), 'searched is ' || coalesce(t.searched, 'null')
            || ', open assessments ' || coalesce(u.open_rows, 0)
         from tasks t left join (
            select task_id, count(*) as open_rows from units
            where kind = 'assess' and state in ('queued', 'leased') group by task_id) u
            on u.task_id = t.id
         where (case when t.searched is null then 0 else 1 end) <> coalesce(u.open_rows, 0)",
    ),
    (
        "open_units_do_not_overlap",
        "select cast(a.task_id as text), 'units ' || a.number || ' and ' || b.number || ' overlap'
         from units a join units b on a.task_id = b.task_id and a.number < b.number
            and a.first < b.first + b.count and b.first < a.first + a.count
         where a.state in ('queued', 'leased') and b.state in ('queued', 'leased')",
    ),
    (
        "alive_has_an_open_unit",
        "select cast(id as text), 'state ' || state || ' without an open unit'
         from tasks where state in ('queued', 'running') and open_units = 0",
    ),
    (
        "ended_keeps_no_front",
        "select cast(id as text), 'state ' || state || ' with a front of ' || length(front) || ' bytes'
         from tasks where state in ('completed', 'failed', 'cancelled') and front is not null",
    ),
    (
        "ended_has_no_open_unit",
        "select cast(t.id as text), 'state ' || t.state || ' with open unit ' || u.number
         from tasks t join units u on u.task_id = t.id
         where t.state in ('completed', 'failed', 'cancelled')
            and u.state in ('queued', 'leased')",
    ),
    (
        "ended_announces_no_trial",
        "select cast(t.id as text), 'trial ' || r.number || ' is announced, the task is ' || t.state
         from tasks t join running_trials r on r.task_id = t.id
         where t.state in ('completed', 'failed', 'cancelled')",
    ),
    (
        "announced_is_not_ended",
        "select cast(r.task_id as text), 'trial ' || r.number || ' is announced and ended'
         from running_trials r join trials e on e.task_id = r.task_id and e.number = r.number",
    ),
    (
        "enqueued_has_not_ended",
        "select cast(w.task_id as text), 'trial ' || w.number || ' waits to be started, and has ended or '
            || 'is of a task that is ' || t.state
         from enqueued_trials w join tasks t on t.id = w.task_id
            left join trials e on e.task_id = w.task_id and e.number = w.number
         where e.number is not null or t.state in ('completed', 'failed', 'cancelled')",
    ),
    (
        "events_are_dense",
        "select cast(t.id as text), 'seq is ' || t.seq || ', events are kept from ' || t.events_from
            || ', rows ' || coalesce(e.event_rows, 0) || ' from ' || coalesce(e.lowest, 0)
            || ' to ' || coalesce(e.highest, 0)
         from tasks t left join (
            select task_id, count(*) as event_rows, min(seq) as lowest, max(seq) as highest
            from task_events group by task_id) e on e.task_id = t.id
         where t.seq - t.events_from + 1 <> coalesce(e.event_rows, 0)
            or t.seq <> coalesce(e.highest, 0) or t.events_from <> coalesce(e.lowest, 0)
            or (t.events_from > 1 and t.completed_at is null)",
    ),
    (
        "trials_have_a_task",
        "select cast(r.task_id as text), 'trials without their task'
         from trials r left join tasks t on t.id = r.task_id
            left join deleted_tasks d on d.task_id = r.task_id
         where t.id is null and d.task_id is null
         group by r.task_id",
    ),
    (
        "key_loads_equal_rows",
        "select coalesce(t.one, '00000000-0000-0000-0000-000000000000'),
            'key ' || coalesce(l.key, t.key) || ' has ' || coalesce(l.active_tasks, 0)
            || ' active tasks with ' || coalesce(l.planned_trials, 0) || ' trials, rows say '
            || coalesce(t.active, 0) || ' and ' || coalesce(t.planned, 0)
         from key_loads l full join (
            select coalesce(submitted_by, '') as key, count(*) as active, sum(planned) as planned,
                max(cast(id as text)) as one
            from tasks where state in ('queued', 'running', 'paused')
            group by coalesce(submitted_by, '')) t on t.key = l.key
         where coalesce(l.active_tasks, 0) <> coalesce(t.active, 0)
            or coalesce(l.planned_trials, 0) <> coalesce(t.planned, 0)",
    ),
];
