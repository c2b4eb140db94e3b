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
