//! `data check` and `data import` as programs see them: report, exit code, and what is stored.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const HEADER: &str = "date,open,high,low,close,volume\n";
const SOUND: &str = "2024-01-02,10,11,9,10.5,1000\n2024-01-03,10.5,12,10,11,1200\n";

fn trialmill(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trialmill"));
    for name in ["DATABASE_URL", "AMQP_URL"] {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

#[test]
fn an_import_of_several_files_stores_all_of_them_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("A.SH.csv"), format!("{HEADER}{SOUND}")).unwrap();
    fs::write(
        folder.join("B.SH.csv"),
        format!("{HEADER}{SOUND}2024-01-02,10,11,9,10.5,1000\n"),
    )
    .unwrap();
    let both = [
        "data",
        "import",
        "A.SH.csv",
        "B.SH.csv",
        "--json",
        "--data-dir",
        "mill",
    ];
    let refused = trialmill(&both, folder);
    assert_eq!(refused.status.code(), Some(1));
    let report = document(&refused);
    assert_eq!(
        (&report["sound"], &report["imported"]),
        (&Value::Bool(false), &Value::Bool(false))
    );
    let finding = &report["files"][1]["findings"][0];
    assert_eq!(finding["code"], "duplicate_date");
    assert_eq!(finding["rows"], serde_json::json!([4]));
    assert!(!folder.join("mill").exists());

    fs::write(folder.join("B.SH.csv"), format!("{HEADER}{SOUND}")).unwrap();
    let imported = trialmill(&both, folder);
    assert_eq!(imported.status.code(), Some(0));
    assert_eq!(document(&imported)["imported"], true);
    let listed = document(&trialmill(
        &["data", "list", "--json", "--data-dir", "mill"],
        folder,
    ));
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["items"][1]["symbol"], "B.SH");
    assert_eq!(listed["items"][1]["source"], "A.SH.csv and 1 more");
}

#[test]
fn a_check_prints_warnings_by_row_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "日期,开盘,收盘,最高,最低,成交量\n2024-01-02,10,10,10,10,5\n2024-01-03,8,8,8,8,5\n";
    fs::write(folder.join("bars.csv"), text).unwrap();
    let nameless = trialmill(&["data", "check", "bars.csv"], folder);
    assert_eq!(nameless.status.code(), Some(1));
    let text = String::from_utf8_lossy(&nameless.stdout).into_owned();
    assert!(
        text.contains("exchange_unknown") && text.contains("an import would be refused"),
        "{text}"
    );

    let named = ["data", "check", "bars.csv", "--symbol", "600000.SH"];
    let checked = trialmill(&named, folder);
    assert_eq!(checked.status.code(), Some(0));
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        text.contains("warning unadjusted_gap: 600000.SH: row 3: 2024-01-03: -20.0 %"),
        "{text}"
    );
    assert!(text.contains("columns of akshare"), "{text}");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}

#[test]
fn tables_are_imported_with_bars_and_listed_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("A.SH.csv"), format!("{HEADER}{SOUND}")).unwrap();
    fs::write(folder.join("B.SH.csv"), format!("{HEADER}{SOUND}")).unwrap();
    let actions = "symbol,ex_date,cash_per_share,bonus_per_share\nA.SH,2024-01-03,0.5,0\n";
    fs::write(folder.join("actions.csv"), actions).unwrap();
    let statuses = "symbol,listed,delisted,st_from,st_to\nA.SH,2001-01-02,,,\n\
                    GONE.SH,1999-01-04,2009-12-29,2008-05-05,\n";
    fs::write(folder.join("statuses.csv"), statuses).unwrap();
    let import = |files: &[&str]| {
        let mut arguments = vec!["data", "import"];
        arguments.extend(files);
        arguments.extend(["--data-dir", "mill"]);
        trialmill(&arguments, folder)
    };
    let list = |form: &[&str]| {
        let mut arguments = vec!["data", "list", "--data-dir", "mill"];
        arguments.extend(form);
        trialmill(&arguments, folder)
    };
    // One table with a fault, and neither it nor the bars are stored.
    fs::write(folder.join("faulty.csv"), actions.replace("0.5", "-0.5")).unwrap();
    let refused = import(&["A.SH.csv", "faulty.csv"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        text.contains("not_an_action: A.SH: row 2: cash_per_share"),
        "{text}"
    );
    assert!(!folder.join("mill").exists());

    let all = import(&["A.SH.csv", "B.SH.csv", "actions.csv", "statuses.csv"]);
    assert_eq!(all.status.code(), Some(0), "{all:?}");
    let text = String::from_utf8_lossy(&all.stdout).into_owned();
    let told = "actions.csv: 1 rows, 1 symbols, 2024-01-03..2024-01-03, a table of actions";
    assert!(text.contains(told), "{text}");
    assert!(
        text.contains("statuses.csv: 2 rows, 2 symbols, a table of statuses"),
        "{text}"
    );
    let listed = document(&list(&["--json"]));
    let record = &listed["items"][0]["record"];
    assert_eq!(
        (&record["actions"], &record["listed"]),
        (&1.into(), &"2001-01-02".into())
    );
    assert_eq!(listed["items"][1]["record"], Value::Null);
    assert_eq!(
        listed["records_without_bars"],
        serde_json::json!(["GONE.SH"])
    );
    let printed = list(&[]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(text.contains("1 actions, status"), "{text}");
    let noted = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert!(
        noted.contains("1 symbols have a record and no bars: GONE.SH"),
        "{noted}"
    );

    // A later table of actions replaces the actions and keeps the status.
    let later = format!("{actions}A.SH,2025-01-03,0.6,0\n");
    fs::write(folder.join("actions.csv"), later).unwrap();
    assert_eq!(import(&["actions.csv"]).status.code(), Some(0));
    let record = document(&list(&["--json"]))["items"][0]["record"].clone();
    assert_eq!(
        (&record["actions"], &record["listed"]),
        (&2.into(), &"2001-01-02".into())
    );
}
