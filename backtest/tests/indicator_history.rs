//! How much history is stored decides nothing: a rule reads its warm-up rows and no more.

use chrono::NaiveDate;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, midnight};
use trialmill_backtest::engine::{BacktestConfig, Dataset, Report, run};
use trialmill_backtest::strategy::{Params, Strategy, TradingRule, all};
use trialmill_backtest::synthetic::{Kind, reports, series};

const FIRST: (i32, u32, u32) = (2016, 1, 1);

fn day((y, m, d): (i32, u32, u32)) -> NaiveDate {
    NaiveDate::from_ymd_opt(y, m, d).unwrap()
}

fn report(bars: BarSeries, strategy: &dyn Strategy) -> Report {
    let reports = reports(bars.symbol(), 3, day((2009, 1, 31)), day((2019, 12, 31)));
    let data = Dataset::new(vec![Arc::new(bars)], day(FIRST), day((2019, 12, 31))).unwrap();
    let data = data.with_fundamentals(&reports, &[]);
    let config = BacktestConfig::default();
    run(&data, strategy, &Params::new(), &config, &|| false).unwrap()
}

#[test]
fn rows_before_the_warm_up_change_no_bit_of_any_result() {
    let whole = series(Kind::Trending, 9, 0, day((2009, 1, 1)), day((2019, 12, 31))).unwrap();
    let start = whole.rows_between(midnight(day(FIRST)), i64::MAX).start;
    let from = |earlier: usize| whole.slice(start - earlier..whole.rows()).unwrap();
    let mut tested = 0;
    for strategy in all() {
        let key = strategy.info().key;
        let TradingRule::Single(rule) = strategy.rule(&Params::new()).unwrap() else {
            continue;
        };
        let warm_up = rule.warm_up_rows();
        assert!(warm_up + 700 < start, "{key}: {warm_up} of {start} rows");
        let exactly = report(from(warm_up), *strategy);
        assert!(
            exactly.entries > 0 && exactly.exits > 0,
            "{key} never traded"
        );
        for more in [1, 2, 50, 700] {
            let longer = report(from(warm_up + more), *strategy);
            assert_eq!(longer, exactly, "{key} with {more} rows more");
        }
        // Less history is borne: the rule begins with what there is.
        let without = report(from(0), *strategy);
        assert_eq!(without.equity.len(), exactly.equity.len(), "{key}");
        tested += 1;
    }
    assert!(tested >= 9, "{tested} strategies");
}
