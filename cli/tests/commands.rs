//! The commands as users run them: the real binary, embedded, without any service.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

/// The binary in an environment that says nothing about services.
fn trialmill(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trialmill"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let service = [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "AMQP_URL",
            "AMQP_URL_FILE",
        ];
        if name.starts_with("TRIALMILL_") || service.contains(&name.as_ref()) {
            command.env_remove(name.as_ref());
        }
    }
    command
        .env("TRIALMILL_LUCK_SECONDS", "1")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], folder: &Path) -> Output {
    trialmill(arguments, folder)
        .output()
        .expect("the binary was built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Runs a command that must end well and returns its standard output.
fn succeed(arguments: &[&str], folder: &Path) -> String {
    let output = run(arguments, folder);
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        stdout(&output),
        stderr(&output)
    );
    stdout(&output)
}

/// A running `trialmill up`, killed when the test ends early.
struct Up {
    process: Child,
    lines: BufReader<ChildStdout>,
    url: String,
}

impl Up {
    fn start(folder: &Path) -> Self {
        Self::start_at(folder, "127.0.0.1:0")
    }

    fn start_at(folder: &Path, address: &str) -> Self {
        let arguments = ["up", "--data-dir", "mill", "--listen", address];
        let mut process = trialmill(&arguments, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let url = loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("UTF-8");
            assert!(read > 0, "up ended before it listened");
            if let Some(url) = line.trim().strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        Self {
            process,
            lines,
            url,
        }
    }

    /// The arguments of a command for its API.
    fn at<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--url", &self.url]].concat()
    }

    /// Asks it to leave and waits for that; returns what it said on standard error.
    fn terminate(mut self) -> String {
        let id = self.process.id().to_string();
        let told = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("there is a kill");
        assert!(told.success());
        let stderr = self.process.stderr.take().expect("it is piped");
        let log = std::io::read_to_string(stderr).expect("UTF-8");
        let status = self.process.wait().expect("it was started here");
        assert!(status.success(), "{status}: {log}");
        log
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(self.lines.read_line(&mut String::new()));
    }
}

#[test]
fn the_demo_gives_the_same_result_twice_for_one_seed_and_another_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let demo = |seed: &str| -> Value {
        let arguments = [
            "demo", "--json", "--seed", seed, "--trials", "60", "--acts", "1",
        ];
        serde_json::from_str(&succeed(&arguments, folder.path())).expect("one JSON document")
    };
    let (one, again, other) = (demo("5"), demo("5"), demo("6"));
    assert_eq!(one["status"], "completed");
    assert_eq!(one["stop_reason"], "n_trials");
    assert_eq!(one["n_trials"], 60);
    assert_eq!(one["checks"]["verify"]["trials_recorded_once"], 60);
    assert_eq!(one["checks"]["replay"]["identical_bits"], true);
    for field in [
        "best_params",
        "best_score",
        "best_trial_number",
        "best_metrics",
        "checks",
    ] {
        assert!(!one[field].is_null(), "{field}");
        assert_eq!(one[field], again[field], "{field}");
    }
    assert_ne!(one["task_id"], again["task_id"]);
    assert_ne!(one["best_score"], other["best_score"]);
    let best = one["best_score"].as_f64().unwrap();
    assert_eq!(one["best_metrics"]["sharpe_ratio"].as_f64(), Some(best));
    let default = one["checks"]["default_params"]["metrics"]["sharpe_ratio"].as_f64();
    assert!(
        default.is_none_or(|default| default <= best),
        "the first trial is the default"
    );
    assert!(one["checks"]["hold"]["metrics"]["total_return"].is_number());
    assert!(one["trials_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "it leaves nothing behind"
    );
}

#[test]
fn the_demo_says_what_it_is_and_how_far_to_trust_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = succeed(
        &[
            "demo",
            "--trials",
            "40",
            "--data-dir",
            "kept",
            "--acts",
            "1",
        ],
        folder.path(),
    );
    for promised in [
        "embedded: SQLite + in-process queue",
        "no network",
        "synthetic daily series, seed 7",
        "Invented prices: no market.",
        "seed 42",
        "40/40",
        "best #",
        "(default ",
        "hold ",
        "max drawdown",
        "lookback_period ",
        "partner   SYN01.SZ   chosen on 2020-2022",
        "leg rotation: beta ",
        "in-sample only: not validated",
        "Checked  40 trials recorded once each (verify silent)",
        "best of [1] run again: identical bits",
        "Next ",
    ] {
        assert!(text.contains(promised), "{promised:?} in\n{text}");
    }
    assert!(
        !text.contains('█') && !text.contains('\u{1b}'),
        "no bar, no colour:\n{text}"
    );
    let verify = run(&["verify", "--data-dir", "kept"], folder.path());
    assert!(
        verify.status.success() && verify.stdout.is_empty(),
        "{}",
        stderr(&verify)
    );
}

/// What both walk-forwards of the demo are: seven windows over ten years and a year held out, whose
/// figures agree with each other.
fn assert_walk_forward(act: &Value) {
    assert_eq!(act["status"], "completed", "{act:#}");
    assert_eq!(act["stop_reason"], "n_trials");
    for field in ["n_trials", "completed_trials"] {
        assert_eq!(act[field], 1_800, "{field}");
    }
    let ended = number(&act["trials_per_second"]) * number(&act["elapsed_seconds"]);
    assert!((ended - 1_800.0).abs() < 1e-6, "{ended}");

    let result = &act["result"];
    let windows = result["windows"].as_array().expect("a list");
    assert_eq!(windows.len(), 7);
    for (index, window) in (0_u64..).zip(windows) {
        let year = 2014 + index;
        let train = [format!("{year}-01-01"), format!("{}-12-31", year + 2)];
        let judged = [format!("{}-01-01", year + 3), format!("{}-12-31", year + 3)];
        // The newest one has no test: the year after it is held out.
        let test = (index < 6).then_some(judged);
        assert_eq!(window["index"], index);
        assert_eq!(window["train"], serde_json::json!(train));
        assert_eq!(window["test"], serde_json::json!(test));
        // 1,800 trials are 257 for each, and one more for the first.
        let share = 257 * index + index.min(1)..257 * (index + 1) + 1;
        let pick = window["trial_number"].as_u64().expect("a pick");
        assert!(share.contains(&pick), "{pick} is none of {share:?}");
    }
    let (best, newest) = (&result["best"], &windows[6]);
    for told in [&newest["trial_number"], &act["best_trial_number"]] {
        assert_eq!(&best["trial_number"], told);
    }
    for told in [&newest["params"], &act["best_params"]] {
        assert_eq!(&best["params"], told);
    }
    assert_eq!(best["window"], 6);
    let in_sample = |of: &Value| number(&of["in_sample"]["sharpe_ratio"]);
    assert_eq!(in_sample(best), in_sample(newest));
    assert_eq!(in_sample(best), number(&act["best_score"]));

    let (joined, held) = (&result["out_of_sample"], &result["holdout"]);
    for (stretch, from, to) in [
        (joined, "2017-01-01", "2022-12-31"),
        (held, "2023-01-01", "2023-12-31"),
    ] {
        assert_eq!(
            (&stretch["from"], &stretch["to"]),
            (&from.into(), &to.into())
        );
    }
    let mean = windows[..6].iter().map(in_sample).sum::<f64>() / 6.0;
    assert_eq!(number(&joined["in_sample_mean_sharpe"]), mean);
    let sharpe = number(&joined["sharpe_ratio"]);
    assert!(sharpe < mean, "{sharpe} is less than what it was chosen by");

    let trust = &result["trust"];
    assert_eq!(trust["deflated_sharpe"]["n_trials"], 1_800);
    assert_eq!(trust["pbo"]["caution"], "adaptive_search");
    // A second is not enough for the luck test, so that the deflated Sharpe ratio stands in.
    let reason = trust["luck"]["reason"].as_str().expect("a reason");
    assert!(reason.ends_with("they may take 1 s"), "{reason}");
    let hold = &result["baselines"]["equal_weight_hold"]["sharpe_ratio"];
    let excludes_chance = number(&joined["sharpe_ci95"][0]) > 0.0
        && number(&trust["deflated_sharpe"]["value"]) >= 0.95;
    let lasts = number(&held["sharpe_ratio"]) > 0.0 && sharpe > number(hold);
    let is_edge = result["verdict"]["code"] == "edge";
    assert_eq!(is_edge, excludes_chance && lasts, "{result:#}");
}

fn number(figure: &Value) -> f64 {
    let number = figure.as_f64();
    number.unwrap_or_else(|| panic!("{figure} is no number"))
}

/// The lines of a walk-forward of the demo, as far as they are the same in every run.
fn lines_of(act: &Value) -> [String; 6] {
    let result = &act["result"];
    let (joined, trust) = (&result["out_of_sample"], &result["trust"]);
    let [mean, sharpe, low, high, held, deflated, overfit, kept] = [
        &joined["in_sample_mean_sharpe"],
        &joined["sharpe_ratio"],
        &joined["sharpe_ci95"][0],
        &joined["sharpe_ci95"][1],
        &result["holdout"]["sharpe_ratio"],
        &trust["deflated_sharpe"]["value"],
        &trust["pbo"]["value"],
        &trust["neighbourhood"]["median_ratio"],
    ]
    .map(number);
    [
        "1,800/1,800 ".to_owned(),
        format!("in-sample sharpe {mean:.2}  ->  out of sample {sharpe:.2} [{low:.2}, {high:.2}]"),
        format!("  ->  held out {held:.2}"),
        format!("deflated sharpe {deflated:.2}   overfit probability {overfit:.2}   luck p none ("),
        format!("neighbours keep {:.0} %", 100.0 * kept),
        format!(
            "verdict  {} ",
            result["verdict"]["text"].as_str().expect("a sentence")
        ),
    ]
}

#[test]
fn the_demo_plays_three_acts_whose_figures_agree_with_each_other_and_with_the_document() {
    let folder = tempfile::tempdir().unwrap();
    // Both at once: each takes ten seconds of a debug build.
    let [document, text] = [vec!["demo", "--json"], vec!["demo"]].map(|arguments| {
        trialmill(&arguments, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built")
    });
    let [document, text] = [document, text].map(|process| {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    });
    let document: Value = serde_json::from_str(&document).expect("one JSON document");
    assert_eq!(document["status"], "completed");
    assert_eq!(document["completed_trials"], 10);
    let best = &document["best_metrics"]["sharpe_ratio"];
    assert_eq!(best, &document["best_score"]);
    let checks = &document["checks"];
    assert_eq!(checks["verify"]["violations"], 0);
    assert_eq!(checks["verify"]["trials_recorded_once"], 10 + 1_800 + 1_800);
    assert_eq!(checks["replay"]["identical_bits"], true);
    assert_eq!(
        checks["replay"]["trial_number"],
        document["best_trial_number"]
    );
    let (edge, walk) = (&checks["walk_forward"], &checks["random_walk"]);
    assert_walk_forward(edge);
    assert_walk_forward(walk);
    // The first act is all that came before the second.
    let before = &edge["result"]["trust"]["deflated_sharpe"]["prior_trials"];
    assert_eq!(before, 10);
    assert_eq!(edge["result"]["holdout"]["earlier_looks"], 0);
    // What was built into the prices of one and is not in those of the other shows.
    for figure in [
        "/result/out_of_sample/sharpe_ratio",
        "/result/trust/deflated_sharpe/value",
    ] {
        let of = |act: &Value| number(act.pointer(figure).expect("it is there"));
        assert!(of(edge) > of(walk), "{figure}");
    }
    assert_ne!(walk["result"]["verdict"]["code"], "edge");

    let lines = |lines: &[&str]| -> Vec<String> { lines.iter().map(ToString::to_string).collect() };
    let best = format!("best #{}  ", document["best_trial_number"]);
    let parts = [
        lines(&["[1/3] ", "10/10 ", best.as_str()]),
        lines(&["[2/3] The same rule, ten years, 1,800 trials, walk-forward\n"]),
        lines_of(edge).to_vec(),
        lines(&[
            "(An edge was built into these prices.)\n",
            "[3/3] The same search on a random walk\n",
        ]),
        lines_of(walk).to_vec(),
        lines(&[
            "(There is nothing in these prices.)\n",
            "Checked  3,610 trials recorded once each (verify silent)",
            "best of [1] run again: identical bits",
            "Next ",
            "trialmill submit task.json --watch",
        ]),
    ];
    let mut rest = text.as_str();
    for part in parts.concat() {
        let found = rest.split_once(part.as_str());
        (_, rest) = found.unwrap_or_else(|| panic!("{part:?} is not in its place in\n{text}"));
    }
    assert!(
        !text.contains('█') && !text.contains('\u{1b}'),
        "no bar, no colour:\n{text}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "it leaves nothing behind"
    );
}

#[test]
fn every_command_that_the_demo_names_exists() {
    let folder = tempfile::tempdir().unwrap();
    let text = succeed(&["demo", "--trials", "10", "--acts", "1"], folder.path());
    let named = text
        .lines()
        .filter_map(|line| line.split_once("trialmill "));
    let mut count = 0;
    for (_, rest) in
        named.filter(|(before, _)| before.trim().is_empty() || before.starts_with("Next"))
    {
        let words = rest.split_whitespace();
        let command: Vec<&str> = words
            .take_while(|w| w.chars().all(|c| c.is_ascii_lowercase()))
            .collect();
        let depth = if command[0] == "data" { 2 } else { 1 };
        let arguments = [&command[..depth], &["--help"]].concat();
        assert!(
            run(&arguments, folder.path()).status.success(),
            "{arguments:?}"
        );
        count += 1;
    }
    assert!(count >= 4, "{text}");
}

#[test]
fn a_task_goes_through_the_embedded_service_and_its_database_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let generated = succeed(
        &["data", "generate", "--data-dir", "mill", "--symbols", "3"],
        folder,
    );
    assert!(
        generated.contains("3 symbols") && generated.contains("no market"),
        "{generated}"
    );
    let up = Up::start(folder);

    let request = succeed(&up.at(&["init"]), folder);
    let parsed: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(
        parsed["stock_codes"].as_array().map(Vec::len),
        Some(3),
        "what the API has"
    );
    std::fs::write(folder.join("task.json"), &request).unwrap();
    let watched = run(
        &up.at(&["submit", "task.json", "--watch", "--json"]),
        folder,
    );
    assert!(watched.status.success(), "{}", stderr(&watched));
    let task: Value = serde_json::from_slice(&watched.stdout).expect("one JSON document");
    assert_eq!(task["status"], "completed");
    assert_eq!(task["completed_trials"], 200);
    assert_eq!(task["result"]["verdict"]["code"], "in_sample_only");

    let id = task["task_id"].as_str().unwrap();
    let shown = succeed(&up.at(&["show", id]), folder);
    for promised in [
        id,
        "completed (n_trials)",
        "200 of 200 ended",
        "sharpe_ratio",
        "In-sample only",
    ] {
        assert!(shown.contains(promised), "{promised:?} in\n{shown}");
    }
    assert!(succeed(&up.at(&["list", "--state", "completed"]), folder).contains(id));
    assert!(!succeed(&up.at(&["list", "--state", "failed"]), folder).contains(id));
    let best: Value =
        serde_json::from_str(&succeed(&up.at(&["best", id, "--json"]), folder)).unwrap();
    assert_eq!(best["number"], task["best_trial_number"]);
    let trials = succeed(&up.at(&["trials", id, "--json"]), folder);
    let numbers: Vec<u64> = trials
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["number"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert!(succeed(&up.at(&["explain", id]), folder).contains("completed"));
    assert!(succeed(&up.at(&["workers"]), folder).contains("live"));
    let cancel = run(&up.at(&["cancel", id]), folder);
    assert_eq!(cancel.status.code(), Some(1));
    assert!(stderr(&cancel).contains("completed"), "{}", stderr(&cancel));

    let log = up.terminate();
    assert!(log.contains("ended in good order"), "{log}");
    let verify = run(&["verify", "--data-dir", "mill"], folder);
    assert!(verify.status.success(), "{}", stdout(&verify));
}

#[test]
fn a_task_is_extended_cloned_and_retried_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let up = Up::start(folder);
    let id = submit_sleeping(&up, folder, 0.001, 12);
    let watch = |id: &str| run(&up.at(&["watch", id]), folder).status.code();
    assert_eq!(watch(&id), Some(0));
    let document = |arguments: &[&str]| -> Value {
        serde_json::from_str(&succeed(&up.at(arguments), folder)).unwrap()
    };
    let trials = |id: &str| -> Vec<(Value, Value)> {
        let listed = succeed(&up.at(&["trials", id, "--json"]), folder);
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let lines = listed.lines().map(read);
        lines
            .map(|t| (t["params"].clone(), t["values"].clone()))
            .collect()
    };
    let longer = document(&["extend", &id, "20", "--name", "longer", "--watch", "--json"]);
    assert_eq!(longer["status"], "completed");
    assert_eq!(longer["completed_trials"], 20);
    assert_eq!(longer["task_name"], "longer");
    assert_eq!(longer["origin"]["how"], "extend");
    let longer = longer["task_id"].as_str().unwrap();
    assert_eq!(trials(longer)[..12], trials(&id));
    let shown = succeed(&up.at(&["show", longer]), folder);
    assert!(
        shown.contains(&format!("extend of {id}, 12 trials copied")),
        "{shown}"
    );

    let cloned = document(&["clone", &id, "--seed", "5", "--watch", "--json"]);
    assert_eq!(cloned["completed_trials"], 12);
    assert_ne!(trials(cloned["task_id"].as_str().unwrap()), trials(&id));

    let nothing = run(&up.at(&["retry", &id]), folder);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        stderr(&nothing).contains("nothing is left to run"),
        "{}",
        stderr(&nothing)
    );
    let slow = submit_sleeping(&up, folder, 0.05, 40);
    succeed(&up.at(&["cancel", &slow]), folder);
    assert_eq!(watch(&slow), Some(2));
    let key = [
        "retry",
        slow.as_str(),
        "--idempotency-key",
        "once",
        "--json",
    ];
    let first = document(&key);
    assert_eq!(document(&key)["task_id"], first["task_id"]);
    assert_eq!(watch(first["task_id"].as_str().unwrap()), Some(0));
    up.terminate();
    let verify = run(&["verify", "--data-dir", "mill"], folder);
    assert!(verify.status.success(), "{}", stdout(&verify));
}

/// Submits a search whose trials wait for so many seconds; returns its id.
fn submit_sleeping(up: &Up, folder: &Path, seconds: f64, n_trials: u32) -> String {
    let request = serde_json::json!({
        "task_name": "slow", "strategy_name": "sleep", "stock_codes": [],
        "start_date": "2023-01-01", "end_date": "2023-12-31",
        "param_space": {"seconds": {"type": "float", "low": seconds, "high": seconds * 1.01}},
        "objective_config": {"objective_metric": "value"}, "n_trials": n_trials, "seed": 1,
    });
    let mut submit = trialmill(&up.at(&["submit", "-"]), folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    submit
        .stdin
        .take()
        .unwrap()
        .write_all(request.to_string().as_bytes())
        .unwrap();
    let submitted = submit.wait_with_output().unwrap();
    let accepted = stdout(&submitted);
    let id = accepted.split_whitespace().nth(1);
    id.unwrap_or_else(|| panic!("no task id: {}", stderr(&submitted)))
        .to_owned()
}

/// A `trialmill watch` that has seen its task; what it says after that is in the readers.
fn watch(up: &Up, folder: &Path, id: &str) -> (Child, BufReader<ChildStderr>) {
    let mut watcher = trialmill(&up.at(&["watch", id]), folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(watcher.stderr.take().expect("it is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("UTF-8");
    assert!(line.starts_with("watching: "), "{line}");
    (watcher, stderr)
}

#[test]
fn a_watcher_that_is_interrupted_leaves_its_task_running_and_a_cancelled_one_gives_2() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let up = Up::start(folder);
    let id = submit_sleeping(&up, folder, 5.0, 1000);
    let paused = succeed(&up.at(&["pause", &id]), folder);
    assert!(paused.contains("paused"), "{paused}");
    succeed(&up.at(&["resume", &id]), folder);

    let (mut watcher, rest) = watch(&up, folder, &id);
    let process = watcher.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &process])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(watcher.wait().unwrap().code(), Some(130));
    let said = std::io::read_to_string(rest).unwrap();
    assert!(
        said.contains("the task goes on") && said.contains(&id),
        "{said}"
    );

    let (watcher, _) = watch(&up, folder, &id);
    succeed(&up.at(&["cancel", &id]), folder);
    let watched = watcher.wait_with_output().unwrap();
    assert_eq!(watched.status.code(), Some(2), "{}", stdout(&watched));
    assert!(
        stdout(&watched).contains("cancelled"),
        "{}",
        stdout(&watched)
    );
    up.terminate();
}

#[test]
fn a_watcher_outlives_a_restart_of_the_service_and_so_does_the_task() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let up = Up::start(folder);
    let id = submit_sleeping(&up, folder, 0.3, 12);
    let (watcher, mut rest) = watch(&up, folder, &id);
    let address = up.url.trim_start_matches("http://").to_owned();
    up.terminate();
    let mut trouble = String::new();
    rest.read_line(&mut trouble).unwrap();
    assert!(trouble.contains("trying again"), "{trouble}");

    let up = Up::start_at(folder, &address);
    let watched = watcher.wait_with_output().unwrap();
    assert_eq!(watched.status.code(), Some(0), "{}", stdout(&watched));
    assert!(
        stdout(&watched).contains("12 of 12 ended"),
        "{}",
        stdout(&watched)
    );
    up.terminate();
    let verify = run(&["verify", "--data-dir", "mill"], folder);
    assert!(verify.status.success(), "{}", stdout(&verify));
}

#[test]
fn a_bad_request_is_refused_with_every_fault_and_a_missing_api_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let up = Up::start(folder);
    let faulty = r#"{"task_name": "x", "strategy_name": "movin_average", "stock_codes": ["A"],
        "start_date": "2023-12-31", "end_date": "2023-01-01", "n_trails": 5,
        "param_space": {"short_window": {"type": "int", "low": 9, "high": 3}},
        "objective_config": {"objective_metric": "sharp"}}"#;
    std::fs::write(folder.join("bad.json"), faulty).unwrap();
    let refused = run(&["submit", "bad.json", "--url", &up.url], folder);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
    let text = stderr(&refused);
    for pointer in [
        "/n_trails",
        "/strategy_name",
        "/end_date",
        "/param_space/short_window",
        "/objective_config",
    ] {
        assert!(text.contains(pointer), "{pointer} in\n{text}");
    }
    assert!(text.contains("did you mean moving_average?"), "{text}");
    let document = run(&["submit", "bad.json", "--json", "--url", &up.url], folder);
    let problem: Value = serde_json::from_slice(&document.stdout).expect("one JSON document");
    assert_eq!(
        (problem["status"].as_u64(), document.status.code()),
        (Some(422), Some(1))
    );

    let url = up.url.clone();
    up.terminate();
    let nobody = run(&["list", "--url", &url], folder);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        stderr(&nobody).contains("trialmill up"),
        "{}",
        stderr(&nobody)
    );
}

#[test]
fn a_file_with_faults_is_refused_by_row_and_nothing_of_any_file_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let head = "date,open,high,low,close,volume\n";
    let sound = "2024-01-02,10,11,9,10.5,1000\n2024-01-03,10.5,12,10,11,1200\n";
    std::fs::write(folder.join("GOOD.SH.csv"), format!("{head}{sound}")).unwrap();
    std::fs::write(
        folder.join("BAD.SH.csv"),
        format!("{head}2024-01-02,10,11,9,ten,1000\n2024-01-03,10,11,9,10,1000\n"),
    )
    .unwrap();
    let import = [
        "data",
        "import",
        "GOOD.SH.csv",
        "BAD.SH.csv",
        "--data-dir",
        "mill",
    ];
    let refused = run(&import, folder);
    assert_eq!(refused.status.code(), Some(1));
    let text = stderr(&refused);
    assert!(text.contains("row 2") && text.contains("close"), "{text}");
    assert!(text.contains("nothing was imported"), "{text}");
    assert!(!folder.join("mill").exists());

    let checked = succeed(&["data", "check", "GOOD.SH.csv"], folder);
    assert!(
        checked.contains("2 rows, 1 symbols, 2024-01-02..2024-01-03"),
        "{checked}"
    );
    succeed(
        &["data", "import", "GOOD.SH.csv", "--data-dir", "mill"],
        folder,
    );
    let listed = succeed(&["data", "list", "--json", "--data-dir", "mill"], folder);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["items"][0]["symbol"], "GOOD.SH");
    assert_eq!(listed["total"], 1);
}

#[test]
fn the_help_of_every_command_works_and_names_its_environment() {
    let folder = tempfile::tempdir().unwrap();
    let commands = [
        "demo",
        "up",
        "init",
        "submit",
        "watch",
        "list",
        "show",
        "best",
        "trials",
        "cancel",
        "pause",
        "resume",
        "retry",
        "clone",
        "extend",
        "explain",
        "replay",
        "backtest",
        "workers",
        "verify",
        "migrate",
        "doctor",
        "data import",
        "data list",
        "data check",
        "data generate",
    ];
    for command in commands {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let text = succeed(&arguments, folder.path());
        assert!(text.contains("Environment:"), "{command}:\n{text}");
    }
    let overview = succeed(&["--help"], folder.path());
    for command in commands {
        let first = command.split(' ').next().unwrap();
        assert!(
            overview.contains(&format!("  {first} ")),
            "{first} in\n{overview}"
        );
    }
    for later in ["export", "compare"] {
        assert!(
            !overview.contains(&format!("  {later} ")),
            "{later} is not built yet"
        );
    }
}

#[test]
fn settings_that_are_wrong_are_all_told_and_unknown_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = trialmill(&["up", "--listen", "0.0.0.0:0"], folder.path())
        .env("AMQP_URL", "amqp://me:hunter2@127.0.0.1:1")
        .env("TRIALMILL_API_KEY", "hunter2")
        .output()
        .unwrap();
    let text = stderr(&wrong);
    assert_eq!(wrong.status.code(), Some(1), "{text}");
    assert!(
        text.contains("DATABASE_URL") && text.contains("TRIALMILL_API_KEY"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    let misspelt = trialmill(&["data", "check", "none.csv"], folder.path())
        .env("TRIALMILL_SLOT", "3")
        .output()
        .unwrap();
    assert!(
        stderr(&misspelt).contains("TRIALMILL_SLOT is no setting"),
        "{}",
        stderr(&misspelt)
    );
}

#[test]
fn the_doctor_fails_on_a_broker_that_is_away_and_shows_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "doctor",
        "--data-dir",
        "mill",
        "--url",
        "http://127.0.0.1:1",
    ];
    let healthy = run(&arguments, folder.path());
    assert!(healthy.status.success(), "{}", stdout(&healthy));
    let sick = trialmill(&arguments, folder.path())
        .env("AMQP_URL", "amqp://me:hunter2@127.0.0.1:1")
        .output()
        .unwrap();
    let text = stdout(&sick);
    assert_eq!(sick.status.code(), Some(1), "{text}");
    let broker = text
        .lines()
        .find(|line| line.contains("broker"))
        .unwrap_or_default();
    assert!(broker.starts_with("FAIL"), "{text}");
    assert!(
        !text.contains("hunter2") && !stderr(&sick).contains("hunter2"),
        "{text}"
    );
}

#[test]
fn keys_are_made_in_the_database_or_through_the_api_and_close_it() {
    let folder = tempfile::tempdir().unwrap();
    let create = ["keys", "create", "boss", "--scope", "admin"];
    let boss = succeed(
        &[&create[..], &["--data-dir", "mill"]].concat(),
        folder.path(),
    );
    let boss = boss.trim();
    assert!(boss.starts_with("tm_") && boss.len() == 67, "{boss}");

    let up = Up::start(folder.path());
    let refused = run(&up.at(&["list"]), folder.path());
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("(401)"), "{}", stderr(&refused));
    let with = |key: &str, arguments: &[&str]| {
        let arguments = up.at(arguments);
        let mut command = trialmill(&arguments, folder.path());
        command.env("TRIALMILL_API_KEY", key).output().unwrap()
    };
    let well = |output: Output| {
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let create = [
        "keys", "create", "ci", "--scope", "read", "--scope", "submit",
    ];
    let limits = ["--expires-days", "7", "--max-active-tasks", "5"];
    let ci = well(with(boss, &[&create[..], &limits].concat()));
    let ci = ci.trim();
    well(with(ci, &["list"]));
    let forbidden = with(ci, &["keys", "list"]);
    assert!(
        stderr(&forbidden).contains("(403)"),
        "{}",
        stderr(&forbidden)
    );
    let listed = well(with(boss, &["keys", "list"]));
    assert!(
        listed.contains("boss") && listed.contains("read,submit"),
        "{listed}"
    );
    let revoked = well(with(boss, &["keys", "revoke", "ci"]));
    assert!(revoked.contains("'ci' is revoked"), "{revoked}");
    let refused = with(ci, &["list"]);
    assert!(stderr(&refused).contains("(401)"), "{}", stderr(&refused));
    let gone = with(boss, &["keys", "revoke", "../tasks"]);
    assert!(
        stderr(&gone).contains("there is no key"),
        "{}",
        stderr(&gone)
    );
    let audit = well(with(boss, &["keys", "audit", "--json"]));
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let told = audit["items"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .filter(|event| event["action"] != "request.denied")
        .map(|event| format!("{} {} {}", event["key"], event["action"], event["target"]))
        .collect();
    let expected = [
        r#""boss" "key.revoke" "ci""#,
        r#""boss" "key.create" "ci""#,
        r#""database" "key.create" "boss""#,
    ];
    assert_eq!(told, expected);
    let log = up.terminate();
    for secret in [boss, ci] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn every_fault_of_a_key_is_told_and_an_open_address_wants_one() {
    let folder = tempfile::tempdir().unwrap();
    let faulty = [
        "keys",
        "create",
        "a b",
        "--scope",
        "root",
        "--expires-days",
        "0",
    ];
    let faulty = run(
        &[&faulty[..], &["--data-dir", "mill"]].concat(),
        folder.path(),
    );
    assert_eq!(faulty.status.code(), Some(1));
    assert_eq!(
        stderr(&faulty).matches("error: ").count(),
        3,
        "{}",
        stderr(&faulty)
    );
    let open = ["up", "--data-dir", "mill", "--listen", "0.0.0.0:0"];
    let open = run(&open, folder.path());
    assert_eq!(open.status.code(), Some(1));
    for word in ["others can reach", "TRIALMILL_API_KEY", "keys create"] {
        assert!(stderr(&open).contains(word), "{}", stderr(&open));
    }
    let reader = [
        "keys",
        "create",
        "r",
        "--scope",
        "read",
        "--data-dir",
        "mill",
    ];
    succeed(&reader, folder.path());
    let open = ["up", "--data-dir", "mill", "--listen", "0.0.0.0:0"];
    let open = run(&open, folder.path());
    assert!(
        stderr(&open).contains("others can reach"),
        "a reader cannot manage it"
    );
}
