//! Plans whose every date was worked out on a calendar.

use crate::{day, read, weekdays};
use chrono::NaiveDate;
use serde_json::{Value, json};
use trialmill_common::validation::{Period, Plan, PlanFault, Stretch, plan};

/// The plan over the weekdays of a period.
fn laid(asked: &Value, from: NaiveDate, to: NaiveDate, n_trials: u32) -> Plan {
    refused_or_laid(asked, from, to, n_trials).expect("it fits")
}

fn refused_or_laid(
    asked: &Value,
    from: NaiveDate,
    to: NaiveDate,
    n_trials: u32,
) -> Result<Plan, Vec<PlanFault>> {
    let days = weekdays(from, to);
    let period = Period::new(from, to, &days).map_err(|fault| vec![fault])?;
    plan(&read(asked), &period, n_trials, None)
}

/// The sentences of a refusal.
fn told(asked: &Value, from: NaiveDate, to: NaiveDate, n_trials: u32) -> Vec<String> {
    let faults = refused_or_laid(asked, from, to, n_trials).unwrap_err();
    faults.iter().map(ToString::to_string).collect()
}

/// `2013-01-01..2013-12-31`.
fn dates(stretch: &Stretch) -> String {
    format!("{}..{}", stretch.from, stretch.to)
}

fn trains(plan: &Plan) -> Vec<String> {
    plan.windows.iter().map(|w| dates(&w.train)).collect()
}

fn tests(plan: &Plan) -> Vec<String> {
    plan.tests().map(|(_, test)| dates(test)).collect()
}

#[test]
fn the_example_of_the_contract() {
    let asked = json!({
        "method": "walk_forward", "window": "rolling", "train": "36mo", "test": "12mo",
        "embargo": "5d", "holdout": "9mo",
        "selection": {"metric": "sharpe_ratio", "subject_to": ["max_drawdown <= 0.20"]},
    });
    let plan = laid(&asked, day(2010, 1, 1), day(2021, 9, 30), 1800);
    assert_eq!(
        trains(&plan),
        [
            "2010-01-01..2012-12-31",
            "2011-01-01..2013-12-31",
            "2012-01-01..2014-12-31",
            "2013-01-01..2015-12-31",
            "2014-01-01..2016-12-31",
            "2015-01-01..2017-12-31",
            "2016-01-01..2018-12-31",
            "2017-01-01..2019-12-31",
            "2018-01-01..2020-12-31",
        ]
    );
    assert_eq!(
        tests(&plan),
        [
            "2013-01-01..2013-12-31",
            "2014-01-01..2014-12-31",
            "2015-01-01..2015-12-31",
            "2016-01-01..2016-12-31",
            "2017-01-01..2017-12-31",
            "2018-01-01..2018-12-31",
            "2019-01-01..2019-12-31",
            "2020-01-01..2020-12-31",
        ]
    );
    let holdout = plan.holdout.as_ref().unwrap();
    assert_eq!(dates(holdout), "2021-01-01..2021-09-30");
    assert_eq!(
        plan.out_of_sample(),
        Some((day(2013, 1, 1), day(2020, 12, 31)))
    );
    assert_eq!(plan.untested, None);
    for window in &plan.windows {
        assert_eq!(window.trials.len(), 200);
    }
    // Trials 143 and 1734 are those that the contract's result names.
    assert_eq!(plan.window_of(143).unwrap().index, 0);
    assert_eq!(plan.window_of(1734).unwrap(), plan.deployed());
    assert_eq!((plan.deployed().index, plan.window_of(1800)), (8, None));

    // 2012-12-31 is a Monday: five days dropped are 25 to 31 December, so training ends on the
    // 24th. 2010 to 2012 have 261 + 260 + 261 weekdays.
    let first = &plan.windows[0];
    assert_eq!(first.train.last, day(2012, 12, 24));
    assert_eq!(
        (first.train.rows.clone(), first.embargo.clone()),
        (0..777, 777..782)
    );
    let test = first.test.as_ref().unwrap();
    assert_eq!(
        (test.first, test.last),
        (day(2013, 1, 1), day(2013, 12, 31))
    );
    assert_eq!(test.rows, 782..1043);
    // The last window keeps away from the held-out stretch that judges it: 2020-12-31 is a Thursday.
    assert_eq!(plan.deployed().train.last, day(2020, 12, 24));
    assert_eq!(plan.deployed().embargo.end, holdout.rows.start);
    assert_eq!(holdout.first, day(2021, 1, 1));
}

#[test]
fn anchored_windows_begin_on_the_first_day_and_grow() {
    let asked =
        json!({"method": "walk_forward", "window": "anchored", "train": "2y", "test": "6mo"});
    let plan = laid(&asked, day(2015, 1, 1), day(2018, 6, 30), 103);
    assert_eq!(
        trains(&plan),
        [
            "2015-01-01..2016-12-31",
            "2015-01-01..2017-06-30",
            "2015-01-01..2017-12-31",
            "2015-01-01..2018-06-30",
        ]
    );
    assert_eq!(
        tests(&plan),
        [
            "2017-01-01..2017-06-30",
            "2017-07-01..2017-12-31",
            "2018-01-01..2018-06-30",
        ]
    );
    let trials: Vec<_> = plan.windows.iter().map(|w| w.trials.clone()).collect();
    assert_eq!(trials, [0..26, 26..52, 52..78, 78..103]);
}

#[test]
fn unequal_windows_fit_on_six_months_and_run_for_one() {
    let asked = json!({"method": "walk_forward", "train": "6mo", "test": "1mo"});
    let plan = laid(&asked, day(2020, 1, 1), day(2020, 9, 30), 100);
    assert_eq!(
        tests(&plan),
        [
            "2020-07-01..2020-07-31",
            "2020-08-01..2020-08-31",
            "2020-09-01..2020-09-30",
        ]
    );
    assert_eq!(
        trains(&plan),
        [
            "2020-01-01..2020-06-30",
            "2020-02-01..2020-07-31",
            "2020-03-01..2020-08-31",
            "2020-04-01..2020-09-30",
        ]
    );
}

#[test]
fn a_remainder_shorter_than_a_test_is_trained_on_and_not_tested() {
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "12mo"});
    let plan = laid(&asked, day(2018, 1, 1), day(2020, 11, 30), 60);
    assert_eq!(tests(&plan), ["2019-01-01..2019-12-31"]);
    assert_eq!(
        dates(&plan.untested.clone().unwrap()),
        "2020-01-01..2020-11-30"
    );
    assert_eq!(
        trains(&plan),
        ["2018-01-01..2018-12-31", "2019-12-01..2020-11-30"]
    );
    // Without a held-out stretch nothing follows the last window, so it drops nothing.
    assert!(plan.deployed().embargo.is_empty());
    // One month more, and it is a test window.
    let plan = laid(&asked, day(2018, 1, 1), day(2020, 12, 31), 60);
    assert_eq!(tests(&plan).len(), 2);
    assert_eq!(plan.untested, None);
}

#[test]
fn a_longer_step_leaves_days_untested_in_between() {
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "1mo", "step": "3mo"});
    let plan = laid(&asked, day(2019, 1, 1), day(2020, 7, 31), 80);
    assert_eq!(
        tests(&plan),
        [
            "2020-01-01..2020-01-31",
            "2020-04-01..2020-04-30",
            "2020-07-01..2020-07-31",
        ]
    );
    assert_eq!(plan.windows[1].train.from, day(2019, 4, 1));
}

#[test]
fn the_ends_of_months_neither_drift_nor_overlap() {
    // From January 31: the month ends on the last day of February, and the next on March 31 again.
    let asked = json!({"method": "walk_forward", "train": "1mo", "test": "1mo"});
    let plan = laid(&asked, day(2020, 1, 31), day(2020, 6, 29), 100);
    assert_eq!(
        tests(&plan),
        [
            "2020-02-29..2020-03-30",
            "2020-03-31..2020-04-29",
            "2020-04-30..2020-05-30",
            "2020-05-31..2020-06-29",
        ]
    );
    // A leap day is a day of February, in a year that has one.
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "12mo"});
    let plan = laid(&asked, day(2020, 2, 29), day(2024, 2, 28), 100);
    assert_eq!(
        tests(&plan),
        [
            "2021-02-28..2022-02-27",
            "2022-02-28..2023-02-27",
            "2023-02-28..2024-02-28",
        ]
    );
}

#[test]
fn trading_days_count_rows_whatever_lies_between() {
    // A year of trading, a year without, and a year again.
    let mut days = weekdays(day(2018, 1, 1), day(2018, 12, 31));
    let gap = days.len();
    days.extend(weekdays(day(2020, 1, 1), day(2020, 12, 31)));
    let period = Period::new(day(2018, 1, 1), day(2020, 12, 31), &days).unwrap();
    let asked =
        json!({"method": "walk_forward", "train": "200d", "test": "100d", "embargo": "10d"});
    let laid = plan(&read(&asked), &period, 100, None).unwrap();
    let rows: Vec<_> = laid.tests().map(|(_, test)| test.rows.clone()).collect();
    assert_eq!(gap, 261);
    assert_eq!(rows, [200..300, 300..400, 400..500]);
    let (window, test) = laid.tests().next().unwrap();
    assert_eq!(
        (window.train.rows.clone(), window.embargo.clone()),
        (0..190, 190..200)
    );
    // Row 299 is the 39th weekday of 2020.
    assert_eq!((test.first, test.last), (days[200], day(2020, 2, 24)));
    assert_eq!(laid.untested.unwrap().rows, 500..523);
    assert_eq!(laid.windows.last().unwrap().train.rows, 323..523);

    // The same by months has a window with nothing in it, which is refused by its name.
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "6mo"});
    let faults = plan(&read(&asked), &period, 100, None).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the test window 0 (2019-01-01 to 2019-06-30) has 0 trading days and needs at least 2; \
             make it longer, or choose dates with more bars",
            "the training window 2 (2019-01-01 to 2019-12-31) has 0 trading days and needs at least \
             20; make it longer, or choose dates with more bars",
        ]
    );
}

#[test]
fn units_may_be_mixed() {
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "20d", "holdout": "8w"});
    let plan = laid(&asked, day(2020, 1, 1), day(2021, 3, 31), 60);
    // 2020 has 262 weekdays; the last eight weeks begin on 2021-02-04.
    let rows: Vec<_> = plan.tests().map(|(_, test)| test.rows.clone()).collect();
    assert_eq!((rows.len(), rows[0].clone()), (1, 262..282));
    assert_eq!(
        dates(plan.holdout.as_ref().unwrap()),
        "2021-02-04..2021-03-31"
    );
    assert_eq!(plan.untested.as_ref().unwrap().rows, 282..286);
    assert_eq!(dates(&plan.deployed().train), "2020-02-04..2021-02-03");
}

#[test]
fn a_holdout_is_the_end_of_the_period_and_one_search_has_the_rest() {
    let asked = json!({"method": "holdout", "length": "1y", "embargo": "5d"});
    let plan = laid(&asked, day(2018, 1, 1), day(2020, 12, 31), 7);
    assert_eq!(
        dates(plan.holdout.as_ref().unwrap()),
        "2020-01-01..2020-12-31"
    );
    assert_eq!(trains(&plan), ["2018-01-01..2019-12-31"]);
    // 2018 and 2019 have 261 weekdays each.
    let window = plan.deployed();
    assert_eq!(
        (window.train.rows.clone(), window.embargo.clone()),
        (0..517, 517..522)
    );
    // Few trials are no fault without windows.
    assert_eq!((window.trials.clone(), &window.test), (0..7, &None));
    assert_eq!(plan.out_of_sample(), None);
}

#[test]
fn no_validation_is_one_search_over_everything() {
    let plan = laid(
        &json!({"method": "none"}),
        day(2020, 1, 1),
        day(2020, 1, 31),
        1,
    );
    assert_eq!(plan.windows.len(), 1);
    assert_eq!(dates(&plan.deployed().train), "2020-01-01..2020-01-31");
    assert_eq!((plan.n_trials(), plan.holdout), (1, None));
}

#[test]
fn segments_tile_the_period_and_a_model_keeps_away_from_them_on_both_sides() {
    let asked = json!({"method": "cross_validation", "segments": 5, "embargo": "3d"});
    // 262 weekdays: 53 + 53 + 52 + 52 + 52.
    let plan = laid(&asked, day(2020, 1, 1), day(2020, 12, 31), 50);
    let scored: Vec<_> = plan.segments.iter().map(|s| s.test.rows.clone()).collect();
    assert_eq!(scored, [0..53, 53..106, 106..158, 158..210, 210..262]);
    let trained: Vec<String> = plan
        .segments
        .iter()
        .map(|s| format!("{:?}", s.train))
        .collect();
    assert_eq!(
        trained,
        [
            "[56..262]",
            "[0..50, 109..262]",
            "[0..103, 161..262]",
            "[0..155, 213..262]",
            "[0..207]",
        ]
    );
    assert_eq!(plan.segments[0].test.from, day(2020, 1, 1));
    assert_eq!(plan.segments[4].test.to, day(2020, 12, 31));
    // Every trial sees all of it, so it is one search and nothing is out of sample.
    assert_eq!((plan.windows.len(), plan.out_of_sample()), (1, None));
    assert_eq!(plan.windows[0].train.rows, 0..262);
}

#[test]
fn a_period_too_short_for_one_window_is_refused_with_what_would_fit() {
    let asked = json!({"method": "walk_forward", "train": "36mo", "test": "12mo"});
    assert_eq!(
        told(&asked, day(2020, 1, 1), day(2022, 8, 15), 1000),
        [
            "the period needs 48 months (train 36mo, test 12mo) and has 31: 2020-01-01 to \
             2022-08-15; begin on 2018-08-16 or earlier, or ask for lengths that add up to 31mo"
        ]
    );
    // What it says is true, and a day later would not do.
    assert!(refused_or_laid(&asked, day(2018, 8, 16), day(2022, 8, 15), 1000).is_ok());
    assert!(refused_or_laid(&asked, day(2018, 8, 17), day(2022, 8, 15), 1000).is_err());

    let asked = json!({"method": "walk_forward", "train": "200d", "test": "50d", "holdout": "30d"});
    assert_eq!(
        told(&asked, day(2020, 1, 1), day(2020, 12, 31), 1000),
        [
            "the period needs 280 trading days (train 200d, test 50d, holdout 30d) and has 262: \
             2020-01-01 to 2020-12-31; begin earlier, or ask for lengths that add up to 262d"
        ]
    );
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "50d"});
    assert_eq!(
        told(&asked, day(2020, 1, 1), day(2020, 12, 31), 1000),
        [
            "the period needs train 12mo, test 50d one after the other, and 2020-01-01 to 2020-12-31 \
             has 12 months or 262 trading days; begin earlier, or ask for less"
        ]
    );
    // With ends of months that do not meet: three months forward, but not three back.
    let asked = json!({"method": "walk_forward", "train": "1mo", "test": "1mo", "holdout": "1mo"});
    let told = told(&asked, day(2021, 1, 31), day(2021, 4, 29), 1000);
    assert!(
        told[0].contains("needs 3 months") && told[0].contains("has 2:"),
        "{told:?}"
    );
}

#[test]
fn all_that_can_be_told_is_told_at_once() {
    let asked = json!({
        "method": "walk_forward", "train": "30d", "test": "1d", "step": "100d", "embargo": "20d",
        "holdout": "5d",
    });
    assert_eq!(
        told(&asked, day(2020, 1, 1), day(2020, 12, 31), 50),
        [
            "the held-out stretch (2020-12-25 to 2020-12-31) has 5 trading days and needs at least \
             20; make it longer, or choose dates with more bars",
            "the training window 0 (2020-01-01 to 2020-02-11) has 10 trading days after the embargo \
             of 20 and needs at least 20; make it longer, or choose dates with more bars",
            "the test window 0 (2020-02-12 to 2020-02-12) has 1 trading days and needs at least 2; \
             make it longer, or choose dates with more bars",
            "all test windows together (2020-02-12 to 2020-11-18) has 3 trading days and needs at \
             least 20; ask for longer ones, or for a longer period",
            "n_trials is 50, and each of 4 windows needs at least 20 trials; ask for 80 or more, or \
             take fewer windows (a longer test or train)",
        ]
    );
}

#[test]
fn a_holdout_leaves_something_to_search() {
    for length in ["12mo", "20y", "245d"] {
        let asked = json!({"method": "holdout", "length": length});
        let told = told(&asked, day(2020, 1, 1), day(2020, 12, 31), 50);
        assert!(told[0].starts_with("what is left to search"), "{told:?}");
    }
    let asked = json!({"method": "cross_validation", "segments": 20});
    let told = told(&asked, day(2020, 1, 1), day(2020, 12, 31), 50);
    assert_eq!(
        told,
        [
            "the segment 0 (2020-01-01 to 2020-01-20) has 14 trading days and needs at least 20; ask \
             for fewer segments, or for a longer period"
        ]
    );
}

#[test]
fn more_windows_than_a_result_can_show_are_refused() {
    let asked = json!({"method": "walk_forward", "train": "20d", "test": "2d"});
    let faults = refused_or_laid(&asked, day(2000, 1, 3), day(2019, 12, 31), 1_000_000);
    let faults = faults.unwrap_err();
    let told = faults[0].told("/validation");
    assert_eq!(
        (told.code.as_str(), told.pointer.as_str()),
        ("too_many_windows", "/validation/step")
    );
    assert_eq!(told.limit, Some(json!(1200)));
}

#[test]
fn the_faults_of_a_plan_point_into_the_request() {
    let asked = json!({"method": "walk_forward", "train": "36mo", "test": "12mo"});
    let faults = refused_or_laid(&asked, day(2020, 1, 1), day(2022, 8, 15), 1000).unwrap_err();
    let told = faults[0].told("/config/validation");
    assert_eq!(told.pointer, "/config/validation");
    assert_eq!(told.code, "period_too_short");
    assert_eq!(told.value, json!(["2020-01-01", "2022-08-15"]));
    assert_eq!(told.limit, Some(json!("start_date 2018-08-16 or earlier")));

    let faults = refused_or_laid(&asked, day(2010, 1, 1), day(2020, 12, 31), 100).unwrap_err();
    let told = faults[0].told("/config/validation");
    assert_eq!(
        (told.pointer.as_str(), told.value),
        ("/config/n_trials", json!(100))
    );
    // Nine windows: eight tests and the last.
    assert_eq!(told.limit, Some(json!(180)));
}

#[test]
fn what_began_late_is_counted_from_its_first_day() {
    // Listed in May: windows begin then, not in January.
    let days = weekdays(day(2015, 5, 11), day(2019, 12, 31));
    let period = Period::new(day(2015, 1, 1), day(2019, 12, 31), &days).unwrap();
    let asked = json!({"method": "walk_forward", "train": "24mo", "test": "12mo"});
    let plan = plan(&read(&asked), &period, 100, None).unwrap();
    assert_eq!(
        tests(&plan),
        ["2017-05-11..2018-05-10", "2018-05-11..2019-05-10"]
    );
}

#[test]
fn a_space_that_every_window_exhausts_has_fewer_trials() {
    let days = weekdays(day(2018, 1, 1), day(2020, 12, 31));
    let period = Period::new(day(2018, 1, 1), day(2020, 12, 31), &days).unwrap();
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "12mo"});
    let plan = plan(&read(&asked), &period, 1000, Some(12)).unwrap();
    let trials: Vec<_> = plan.windows.iter().map(|w| w.trials.clone()).collect();
    assert_eq!(trials, [0..12, 12..24, 24..36]);
    assert_eq!(plan.n_trials(), 36);
}

#[test]
fn a_plan_is_the_same_after_it_was_stored() {
    let asked = json!({"method": "walk_forward", "train": "12mo", "test": "6mo", "holdout": "6mo"});
    let plan = laid(&asked, day(2018, 1, 1), day(2020, 12, 31), 100);
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}
