//! Bars and snapshots.

use crate::database::Database;
use crate::given::{Given, task};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};
use trialmill_backtest::market::{CorporateAction, Fundamentals, Record, RecordChange, Status};
use trialmill_store::rows::Snapshot;

fn series(symbol: &str, days: u32, price: f64) -> BarSeries {
    let rows = days as usize;
    let columns = Columns {
        time: (0..days).map(|day| i64::from(day) * 86_400).collect(),
        open: vec![price; rows],
        high: vec![price * 1.1; rows],
        low: vec![price * 0.9; rows],
        close: vec![price; rows],
        volume: vec![100.0; rows],
    };
    BarSeries::new(symbol, Frequency::Daily, columns).unwrap()
}

pub async fn a_series_reads_back_bit_for_bit(database: Arc<Database>) {
    let given = Given::new(database).await;
    let both = [series("SYN00.SZ", 30, 0.1), series("SYN01.SZ", 3, 10.0)];
    let hashes = given.store.put_series(&both, "bars.csv").await.unwrap();
    let reversed = [hashes[1], hashes[0], hashes[1]];
    let bytes = given.store.series_bytes(&reversed).await.unwrap();
    let read: Vec<BarSeries> = bytes
        .iter()
        .map(|b| BarSeries::from_bytes(b).unwrap())
        .collect();
    assert_eq!(read, [both[1].clone(), both[0].clone(), both[1].clone()]);
    let info = given
        .store
        .series_info(&["SYN00.SZ".to_owned()])
        .await
        .unwrap();
    assert_eq!(info.len(), 1);
    assert_eq!((info[0].hash, info[0].rows), (hashes[0], 30));
    assert_eq!(
        (info[0].frequency.as_str(), info[0].source.as_str()),
        ("1d", "bars.csv")
    );
    assert_eq!(info[0].first.to_string(), "1970-01-01");
    assert_eq!(info[0].last.to_string(), "1970-01-30");
    let unknown = given.store.series_bytes(&[[9; 32]]).await;
    assert!(
        unknown.is_err(),
        "a series that is not there is no empty series"
    );
}

pub async fn a_task_keeps_its_snapshot_when_a_symbol_gets_new_bars(database: Arc<Database>) {
    let given = Given::new(database).await;
    let old = given
        .store
        .put_series(&[series("SYN00.SZ", 30, 5.0)], "old")
        .await
        .unwrap()[0];
    let mut new = task(4, None);
    new.snapshot = Snapshot {
        series: BTreeMap::from([("SYN00.SZ".to_owned(), old)]),
        ..Snapshot::default()
    };
    let id = given.submit(new.clone()).await;
    let fresh = given
        .store
        .put_series(&[series("SYN00.SZ", 31, 5.0)], "new")
        .await
        .unwrap()[0];
    let again = given
        .store
        .put_series(&[series("SYN00.SZ", 31, 5.0)], "new")
        .await
        .unwrap()[0];
    assert_eq!(fresh, again);
    let all = given.store.series_info(&[]).await.unwrap();
    assert_eq!(all.iter().map(|s| s.hash).collect::<Vec<_>>(), [fresh]);
    let claim = given.claim(id, 0).await;
    let pinned = given
        .store
        .snapshot(claim.snapshot.unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(pinned, new.snapshot);
    let bytes = given
        .store
        .series_bytes(&[pinned.series["SYN00.SZ"]])
        .await
        .unwrap();
    assert_eq!(BarSeries::from_bytes(&bytes[0]).unwrap().rows(), 30);
    assert_eq!(given.store.snapshot([0; 32]).await.unwrap(), None);
    let absent = given
        .store
        .series_info(&["NONE.SZ".to_owned()])
        .await
        .unwrap();
    assert_eq!(absent, vec![]);
}

fn change(symbol: &str) -> RecordChange {
    RecordChange {
        symbol: symbol.to_owned(),
        ..RecordChange::default()
    }
}

/// Dividends of a symbol, one on each of the first days of 2020.
fn dividends(symbol: &str, days: u32) -> RecordChange {
    let action = |day| CorporateAction {
        symbol: symbol.to_owned(),
        ex_date: chrono::NaiveDate::from_ymd_opt(2020, 1, day).unwrap(),
        cash_per_share: 0.1 + 0.2,
        bonus_per_share: 0.0,
    };
    RecordChange {
        actions: Some((1..=days).map(action).collect()),
        ..change(symbol)
    }
}

fn listed(symbol: &str, listed: &str, delisted: Option<&str>) -> RecordChange {
    RecordChange {
        status: Some(Status {
            listed: Some(listed.parse().unwrap()),
            delisted: delisted.map(|day| day.parse().unwrap()),
            ..Status::default()
        }),
        ..change(symbol)
    }
}

pub async fn a_record_reads_back_and_each_table_replaces_its_own_part(database: Arc<Database>) {
    let given = Given::new(database).await;
    let store = &given.store;
    assert_eq!(store.records_info(&[]).await.unwrap(), vec![]);
    let changes = [
        dividends("SYN01.SZ", 2),
        listed("SYN00.SZ", "2001-02-03", None),
    ];
    let hashes = store.put_records(&changes, "tables.csv").await.unwrap();
    let bytes = store.record_bytes(&[hashes[1], hashes[0]]).await.unwrap();
    let records: Vec<Record> = bytes
        .iter()
        .map(|bytes| Record::from_bytes(bytes).unwrap())
        .collect();
    assert_eq!(records[0].symbol(), "SYN00.SZ");
    assert_eq!(Some(records[1].actions()), changes[0].actions.as_deref());
    let info = store.records_info(&[]).await.unwrap();
    let short: Vec<_> = info
        .iter()
        .map(|r| (r.symbol.as_str(), r.hash, r.actions, r.has_status()))
        .collect();
    assert_eq!(
        short,
        [
            ("SYN00.SZ", hashes[1], 0, true),
            ("SYN01.SZ", hashes[0], 2, false)
        ]
    );
    assert_eq!(info[0].listed, Some("2001-02-03".parse().unwrap()));
    assert_eq!((info[0].delisted, info[0].treatments), (None, 0));
    assert_eq!(info[0].source, "tables.csv");

    // The other part stays; the same table again is the same record.
    let gone = listed("SYN01.SZ", "2001-02-03", Some("2020-06-01"));
    let both = store.put_records(&[gone], "statuses.csv").await.unwrap()[0];
    let symbols = [
        "SYN01.SZ".to_owned(),
        "NONE.SZ".to_owned(),
        "A\0B".to_owned(),
    ];
    let info = store.records_info(&symbols).await.unwrap();
    assert_eq!(info.len(), 1);
    assert_eq!((info[0].hash, info[0].actions), (both, 2));
    assert_eq!(info[0].delisted, Some("2020-06-01".parse().unwrap()));
    let announced = "2020-03-31".parse().unwrap();
    let report = Fundamentals::new("SYN01.SZ", announced, [Some(0.1 + 0.2); 5]);
    let reports = RecordChange {
        fundamentals: Some(vec![report.clone()]),
        ..change("SYN01.SZ")
    };
    store.put_records(&[reports], "reports.csv").await.unwrap();
    let info = store.records_info(&symbols).await.unwrap();
    assert_eq!((info[0].reports, info[0].actions), (1, 2));
    let bytes = store.record_bytes(&[info[0].hash]).await.unwrap();
    let read = Record::from_bytes(&bytes[0]).unwrap();
    assert_eq!(read.fundamentals(), [report]);
    let none = RecordChange {
        fundamentals: Some(Vec::new()),
        ..change("SYN01.SZ")
    };
    let without = store.put_records(&[none], "none.csv").await.unwrap();
    assert_eq!(without, [both], "an empty table takes them away");
    let again = store
        .put_records(&[dividends("SYN01.SZ", 2)], "again")
        .await;
    assert_eq!(again.unwrap(), [both]);
    assert_eq!(store.records_info(&symbols[1..]).await.unwrap(), vec![]);
    assert!(store.record_bytes(&[[9; 32]]).await.is_err());
}

pub async fn bars_and_records_are_stored_together_or_not_at_all(database: Arc<Database>) {
    let given = Given::new(database).await;
    let store = &given.store;
    let bars = [series("SYN00.SZ", 3, 5.0)];
    let twice = RecordChange {
        actions: Some(vec![
            dividends("SYN01.SZ", 1).actions.unwrap()[0].clone();
            2
        ]),
        ..change("SYN01.SZ")
    };
    let changes = [dividends("SYN00.SZ", 1), twice];
    let refused = store.put_market_data(&bars, &changes, "one import").await;
    assert!(refused.unwrap_err().to_string().contains("is there twice"));
    assert_eq!(store.series_info(&[]).await.unwrap(), vec![]);
    assert_eq!(store.records_info(&[]).await.unwrap(), vec![]);
    let stored = store.put_market_data(&bars, &changes[..1], "one import");
    let stored = stored.await.unwrap();
    assert_eq!((stored.series.len(), stored.records.len()), (1, 1));
    assert_eq!(
        store.series_info(&[]).await.unwrap()[0].hash,
        stored.series[0]
    );
    assert_eq!(
        store.records_info(&[]).await.unwrap()[0].hash,
        stored.records[0]
    );
}

pub async fn imports_of_one_symbol_at_a_time_lose_nothing_of_each_other(database: Arc<Database>) {
    let given = Arc::new(Given::new(database).await);
    for round in 0..5 {
        let symbol = format!("SYN{round:02}.SZ");
        let put = |change: RecordChange| {
            let given = Arc::clone(&given);
            tokio::spawn(async move { given.store.put_records(&[change], "a race").await.unwrap() })
        };
        let one = put(dividends(&symbol, 3));
        let other = put(listed(&symbol, "2001-02-03", None));
        one.await.unwrap();
        other.await.unwrap();
        let info = given.store.records_info(&[symbol]).await.unwrap();
        assert_eq!((info[0].actions, info[0].has_status()), (3, true));
    }
}

pub async fn a_task_keeps_its_records_when_other_tables_are_imported(database: Arc<Database>) {
    let given = Given::new(database).await;
    let tables = [dividends("SYN00.SZ", 1)];
    let old = given.store.put_records(&tables, "old").await.unwrap()[0];
    let bars = [series("SYN00.SZ", 30, 5.0)];
    let series = given.store.put_series(&bars, "bars").await.unwrap()[0];
    let pin = |hash| BTreeMap::from([("SYN00.SZ".to_owned(), hash)]);
    let mut new = task(4, None);
    new.snapshot = Snapshot {
        series: pin(series),
        records: pin(old),
    };
    let id = given.submit(new.clone()).await;
    let mut without = task(4, None);
    without.snapshot = Snapshot {
        series: pin(series),
        ..Snapshot::default()
    };
    let other = given.submit(without.clone()).await;
    let tables = [dividends("SYN00.SZ", 2)];
    let fresh = given.store.put_records(&tables, "new").await.unwrap()[0];
    assert_ne!(fresh, old);
    for (id, wanted) in [(id, new.snapshot), (other, without.snapshot)] {
        let pinned = given.claim(id, 0).await.snapshot.unwrap();
        assert_eq!(given.store.snapshot(pinned).await.unwrap(), Some(wanted));
    }
    let bytes = given.store.record_bytes(&[old]).await.unwrap();
    assert_eq!(Record::from_bytes(&bytes[0]).unwrap().actions().len(), 1);
}
