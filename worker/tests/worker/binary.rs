//! The binary, as an operator meets it.

use std::process::{Command, Output};

fn worker(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trialmill-worker"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied());
    command.output().unwrap()
}

#[test]
fn without_services_it_names_every_missing_setting_and_fails() {
    let output = worker(&[], &[("TRIALMILL_SLOTS", "many"), ("TRIALMILL_SLOT", "2")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "DATABASE_URL is not set",
        "AMQP_URL is not set",
        "TRIALMILL_SLOTS is \"many\"",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(
        said.contains("TRIALMILL_SLOT is set but no setting has that name"),
        "{said}"
    );
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let variables = [
        ("DATABASE_URL", "postgres://mill:secret@127.0.0.1:1/mill"),
        ("AMQP_URL", "amqp://mill:secret@127.0.0.1:1"),
    ];
    let output = worker(&["preflight"], &variables);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("postgres://mill:***@127.0.0.1:1/mill"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn healthcheck_fails_when_no_worker_writes_the_status_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status");
    let path = path.to_str().unwrap();
    let output = worker(&["healthcheck"], &[("TRIALMILL_STATUS_FILE", path)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no worker writes"), "{said}");
}
