//! Bars and snapshots.

use crate::database::Database;
use crate::given::{Given, task};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};

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
    new.snapshot = BTreeMap::from([("SYN00.SZ".to_owned(), old)]);
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
        .series_bytes(&[pinned["SYN00.SZ"]])
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
