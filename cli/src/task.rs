//! The commands on tasks, over the API.

use crate::args::{Api, CloneOf, Extend, List, Made, OfTask, OfTrial, Retry, Submit, Trials};
use crate::client::Client;
use crate::config::Settings;
use crate::example;
use crate::failure::Failure;
use crate::figures::{self, count, duration, figure, has_several, named};
use crate::judged;
use crate::output;
use crate::watch;
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::path::Path;
use uuid::Uuid;

/// Routes of every kind of task.
const TASKS: &str = "/api/v1/tasks";
/// Where optimizations are submitted.
const OPTIMIZATIONS: &str = "/api/v1/optimization/tasks";
/// Largest page of the API.
const PAGE: usize = 1000;
/// Symbols that an example request names.
const EXAMPLE_SYMBOLS: usize = 5;
/// Most bytes of a request; the API takes 1 MiB.
const MAX_REQUEST_BYTES: u64 = 64 << 20;

/// The path of a task, or of something below it.
pub fn path(id: Uuid, below: &str) -> String {
    format!("{TASKS}/{id}{below}")
}

/// `submit`.
///
/// # Errors
/// When the file cannot be read or the API refuses it; with `--watch` as [`watch::watch`].
pub async fn submit(options: &Submit, settings: &Settings) -> Result<(), Failure> {
    let document = read(&options.file)?;
    let route = route(&document);
    make(route, document, &options.made, settings).await
}

/// `retry`.
///
/// # Errors
/// When the API refuses it; with `--watch` as [`watch::watch`].
pub async fn retry(options: &Retry, settings: &Settings) -> Result<(), Failure> {
    let body = json!({"task_name": options.name});
    make_from(options.id, "/retry", &body, &options.made, settings).await
}

/// `clone`.
///
/// # Errors
/// When the API refuses it; with `--watch` as [`watch::watch`].
pub async fn clone(options: &CloneOf, settings: &Settings) -> Result<(), Failure> {
    let body = json!({"task_name": options.name, "seed": options.seed});
    make_from(options.id, "/clone", &body, &options.made, settings).await
}

/// `extend`.
///
/// # Errors
/// When the API refuses it; with `--watch` as [`watch::watch`].
pub async fn extend(options: &Extend, settings: &Settings) -> Result<(), Failure> {
    let body = json!({"task_name": options.name, "n_trials": options.n_trials});
    make_from(options.id, "/extend", &body, &options.made, settings).await
}

/// Makes a task from another one.
async fn make_from(
    id: Uuid,
    how: &str,
    body: &Value,
    made: &Made,
    settings: &Settings,
) -> Result<(), Failure> {
    make(
        &path(id, how),
        body.to_string().into_bytes(),
        made,
        settings,
    )
    .await
}

/// Posts a document that makes a task, and says which.
async fn make(
    route: &str,
    document: Vec<u8>,
    made: &Made,
    settings: &Settings,
) -> Result<(), Failure> {
    let client = Client::new(&made.api, settings)?;
    let key = made.idempotency_key.as_deref();
    let answer = match client.send_document(route, document, key).await {
        Ok(answer) => answer,
        Err(error) => return refused(error.into(), made.api.json),
    };
    let task = answer.body;
    // The result of a watched task repeats them.
    let warnings = task["warnings"]
        .as_array()
        .filter(|_| !made.watch || made.api.json);
    for warning in warnings.into_iter().flatten() {
        output::note(format!("warning: {}", figures::value(&warning["detail"])));
    }
    let id = task["task_id"]
        .as_str()
        .and_then(|id| id.parse::<Uuid>().ok());
    let id =
        id.ok_or_else(|| Failure::reason("the API named no task_id; is it a Trialmill API?"))?;
    let what = if answer.status.as_u16() == 200 {
        "was accepted before".to_owned()
    } else {
        match task["origin"]["copied_trials"].as_u64() {
            Some(copied @ 1..) => format!("accepted, {} trials copied", count(copied)),
            _ => "accepted".to_owned(),
        }
    };
    if made.watch {
        output::note(format!("task {id} {what}"));
        return watch::watch(&client, id, made.api.json).await;
    }
    if made.api.json {
        return Ok(output::document(&task)?);
    }
    output::say(format!("task {id} {what}"))?;
    output::note(format!("watch it with `trialmill watch {id}`"));
    Ok(())
}

/// Where a request is posted: one that says its kind is for the route of all kinds. What cannot be
/// read goes to the optimizations, whose answer says why.
fn route(document: &[u8]) -> &'static str {
    match serde_json::from_slice::<Value>(document) {
        Ok(request) if !request["task_type"].is_null() => TASKS,
        _ => OPTIMIZATIONS,
    }
}

/// With `--json` a refusal is a document too.
fn refused(failure: Failure, as_json: bool) -> Result<(), Failure> {
    match failure {
        Failure::Refused(problem) if as_json => {
            output::document(&problem.document)?;
            Err(Failure::Said(1))
        }
        other => Err(other),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |error: io::Error| Failure::reason(format!("{}: cannot be read: {error}", file.display()));
    let mut document = Vec::new();
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).map_err(unreadable)?)
    };
    source
        .take(MAX_REQUEST_BYTES)
        .read_to_end(&mut document)
        .map_err(unreadable)?;
    Ok(document)
}

/// `watch`.
///
/// # Errors
/// As [`watch::watch`].
pub async fn watch(options: &OfTask, settings: &Settings) -> Result<(), Failure> {
    let client = Client::new(&options.api, settings)?;
    watch::watch(&client, options.id, options.api.json).await
}

/// `show`.
///
/// # Errors
/// When the API does not answer, or has no such task.
pub async fn show(options: &OfTask, settings: &Settings) -> Result<(), Failure> {
    let task = Client::new(&options.api, settings)?
        .get(&path(options.id, ""))
        .await?;
    if options.api.json {
        Ok(output::document(&task)?)
    } else {
        print(&task)
    }
}

/// Prints a task with its result.
///
/// # Errors
/// When nobody can read it.
pub fn print(task: &Value) -> Result<(), Failure> {
    for line in lines(task) {
        output::say(line)?;
    }
    Ok(())
}

fn lines(task: &Value) -> Vec<String> {
    let text = |name: &str| task[name].as_str().unwrap_or_default();
    let number = |name: &str| task[name].as_u64().unwrap_or_default();
    let ended = number("completed_trials") + number("pruned_trials") + number("failed_trials");
    let reason = task["stop_reason"]
        .as_str()
        .map(|reason| format!(" ({reason})"));
    let mut trials = vec![format!(
        "{} of {} ended",
        count(ended),
        count(number("n_trials"))
    )];
    for (field, what) in [
        ("infeasible_trials", "infeasible"),
        ("pruned_trials", "pruned"),
        ("failed_trials", "failed"),
        ("running_trials", "running"),
    ] {
        if number(field) > 0 {
            trials.push(format!("{} {what}", count(number(field))));
        }
    }
    if let Some(rate) = task["trials_per_second"].as_f64() {
        trials.push(format!("{rate:.0} trials/s"));
    }
    if let Some(left) = task["eta_seconds"].as_f64() {
        trials.push(format!("{} left", duration(left)));
    }
    let mut lines = vec![
        format!("task      {}  {}", text("task_id"), text("task_name")),
        format!("status    {}{}", text("status"), reason.unwrap_or_default()),
        format!(
            "strategy  {}{}",
            text("strategy_name"),
            symbols(&task["stock_codes"])
        ),
        format!("trials    {}", trials.join(", ")),
    ];
    let origin = &task["origin"];
    if let (Some(how), Some(id)) = (origin["how"].as_str(), origin["task_id"].as_str()) {
        let copied = count(origin["copied_trials"].as_u64().unwrap_or_default());
        lines.push(format!("origin    {how} of {id}, {copied} trials copied"));
    }
    let best = &task["result"]["best"];
    if let (Some(number), Some(score)) = (
        task["best_trial_number"].as_u64(),
        task["best_score"].as_f64(),
    ) {
        // What judges the search may have picked another one than the best by its value.
        let picked = best["trial_number"].as_u64();
        let (number, values, params) = match picked {
            Some(number) => (number, named(&best["values"]), &best["params"]),
            None => (number, figure(score), &task["best_params"]),
        };
        lines.push(format!("best      #{number}  {values}"));
        lines.push(format!("          {}", named(params)));
    } else if has_several(&task["best_values"]) {
        lines.extend(of_front(task));
    }
    // Of a search the best trial's, of a backtest its own.
    let metrics = match &best["metrics"] {
        Value::Null => &task["result"]["metrics"],
        metrics => metrics,
    };
    if let Value::Object(metrics) = metrics {
        let row = |(name, value): (&String, &Value)| vec![name.clone(), figures::value(value)];
        let rows: Vec<Vec<String>> = metrics.iter().map(row).collect();
        lines.extend(
            output::columns(&rows)
                .into_iter()
                .map(|line| format!("          {line}")),
        );
    }
    if let Some(verdict) = task["result"]["verdict"]["text"].as_str() {
        lines.push(format!("verdict   {verdict}"));
        let judged = judged::lines(&task["result"]).into_iter();
        lines.extend(judged.map(|line| format!("          {line}")));
    }
    if let Some(error) = task["error"]["message"].as_str() {
        lines.push(format!("error     {error}"));
        if let Some(hint) = task["error"]["first_failure"]["hint"].as_str() {
            lines.push(format!("          {hint}"));
        }
    }
    for warning in task["warnings"].as_array().into_iter().flatten() {
        lines.push(format!("warning   {}", figures::value(&warning["detail"])));
    }
    lines
}

/// The most trials of a front that a result lists.
const LARGEST_FRONT: u64 = 1_000;

/// What there is of several objectives: the size of the front and the trial to be used, or the one that leads.
fn of_front(task: &Value) -> Vec<String> {
    let values = named(&task["best_values"]);
    let result = &task["result"];
    let best = &result["best"];
    let (Some(front), Some(number)) = (
        result["pareto_front"].as_array(),
        best["trial_number"].as_u64(),
    ) else {
        return vec![format!("leads     {values}")];
    };
    let size = u64::try_from(front.len()).unwrap_or(u64::MAX);
    let or_more = if size < LARGEST_FRONT { "" } else { " or more" };
    vec![
        format!(
            "front     {}{or_more} trials that no other one dominates",
            count(size)
        ),
        format!("selected  #{number}  {values}"),
        format!("          {}", named(&best["params"])),
    ]
}

/// The first symbols of a list, and how many more there are.
fn symbols(codes: &Value) -> String {
    let codes: Vec<&str> = codes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(first) = codes
        .get(..codes.len().min(EXAMPLE_SYMBOLS))
        .filter(|c| !c.is_empty())
    else {
        return String::new();
    };
    let more = match codes.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(" on {}{more}", first.join(", "))
}

/// `list`.
///
/// # Errors
/// When the API does not answer, or knows no such state.
pub async fn list(options: &List, settings: &Settings) -> Result<(), Failure> {
    let client = Client::new(&options.api, settings)?;
    let mut query = format!("?limit={}", options.limit);
    if let Some(state) = &options.state {
        query.push_str(&format!("&status={}", encoded(state)));
    }
    let page = client.get(&format!("{TASKS}{query}")).await?;
    if options.api.json {
        return Ok(output::document(&page)?);
    }
    let head = ["ID", "STATE", "DONE", "BEST", "STRATEGY", "NAME"]
        .map(str::to_owned)
        .to_vec();
    let row = |task: &Value| {
        let text = |name: &str| task[name].as_str().unwrap_or_default().to_owned();
        let progress = task["progress"].as_f64().unwrap_or_default();
        vec![
            text("task_id"),
            text("status"),
            format!("{:.0} %", progress * 100.0),
            task["best_score"]
                .as_f64()
                .map_or_else(|| "-".to_owned(), figure),
            text("strategy_name"),
            text("task_name"),
        ]
    };
    let tasks = page["items"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = std::iter::once(head).chain(tasks.iter().map(row)).collect();
    for line in output::columns(&rows) {
        output::say(line)?;
    }
    let total = page["total"].as_u64().unwrap_or_default();
    output::note(format!("{} of {} tasks", tasks.len(), count(total)));
    Ok(())
}

/// A value of a query: what is not a letter, digit or one of `-._~` is escaped.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// `replay`: runs an ended trial again and tells whether every bit is as recorded.
///
/// # Errors
/// [`Failure::Said`] with 1 when a bit differs; else why it cannot be repeated.
pub async fn replay(options: &OfTrial, settings: &Settings) -> Result<(), Failure> {
    let client = Client::new(&options.api, settings)?;
    let OfTrial { id, trial, .. } = options;
    let repeated = client
        .post(&path(*id, &format!("/trials/{trial}/replay")))
        .await?;
    let run = repeated["task_id"]
        .as_str()
        .and_then(|id| id.parse::<Uuid>().ok());
    let run = run.ok_or_else(|| Failure::reason("the API named no task_id"))?;
    watch::to_its_end(&client, run).await?;
    let task = client.get(&path(run, "")).await?;
    let replay = &task["result"]["replay"];
    let identical = replay["identical"].as_bool();
    if options.api.json {
        output::document(&task)?;
    } else if identical.is_some() {
        for (which, trial) in [("recorded", "recorded"), ("replayed", "replayed")] {
            let one = &replay[trial];
            let said = ["infeasible", "failure"]
                .iter()
                .find_map(|field| one[*field].as_str())
                .map(|reason| format!("  ({reason})"));
            output::say(format!(
                "{which}  {}  {}{}",
                figures::value(&one["state"]),
                exact(&one["values"]),
                said.unwrap_or_default()
            ))?;
        }
    }
    match identical {
        Some(true) => {
            output::note(format!("trial {trial} of task {id}: identical bits"));
            Ok(())
        }
        Some(false) => Err(Failure::reason(format!(
            "trial {trial} of task {id} is not what is recorded; was it run by another build or on \
             another kind of processor?"
        ))),
        None => {
            let status = figures::value(&task["status"]);
            let error = figures::value(&task["error"]["message"]);
            Err(Failure::reason(format!(
                "the repetition, task {run}, ended as {status}: {error}"
            )))
        }
    }
}

/// Values by name in every digit.
fn exact(values: &Value) -> String {
    let fields = values.as_object().into_iter().flatten();
    let parts: Vec<String> = fields.map(|(name, v)| format!("{name} {v}")).collect();
    parts.join("  ")
}

/// `best`.
///
/// # Errors
/// When the API does not answer, or there is no best trial yet.
pub async fn best(options: &OfTask, settings: &Settings) -> Result<(), Failure> {
    let client = Client::new(&options.api, settings)?;
    let trial = client.get(&path(options.id, "/best")).await?;
    if options.api.json {
        return Ok(output::document(&trial)?);
    }
    output::say(format!("#{}  {}", trial["number"], named(&trial["values"])))?;
    output::say(named(&trial["params"]))?;
    if has_several(&trial["values"]) {
        let front = client.get(&path(options.id, "/pareto-front")).await?;
        for line in front_lines(&front) {
            output::say(line)?;
        }
    }
    let empty = serde_json::Map::new();
    let metrics = trial["metrics"].as_object().unwrap_or(&empty).iter();
    let rows: Vec<_> = metrics
        .map(|(name, v)| vec![name.clone(), figures::value(v)])
        .collect();
    for line in output::columns(&rows) {
        output::say(format!("  {line}"))?;
    }
    Ok(())
}

/// The first members of a front, and how many there are.
fn front_lines(front: &Value) -> Vec<String> {
    const SHOWN: usize = 10;
    let size = count(front["size"].as_u64().unwrap_or_default());
    let items = front["items"].as_array().map_or(&[][..], Vec::as_slice);
    let shown = items.get(..SHOWN).unwrap_or(items);
    let head = match shown.len() == items.len() {
        true => format!("one of the front of {size}:"),
        false => format!("one of the front of {size}; its first {SHOWN}, by the first objective:"),
    };
    let row = |item: &Value| {
        vec![
            format!("#{}", item["trial_number"]),
            named(&item["objectives"]),
        ]
    };
    let rows: Vec<_> = shown.iter().map(row).collect();
    let rows = output::columns(&rows).into_iter();
    std::iter::once(head)
        .chain(rows.map(|line| format!("  {line}")))
        .collect()
}

/// `trials`: page by page, so that a million of them need no memory. With `--json` each is a line.
///
/// # Errors
/// When the API does not answer, or has no such task.
pub async fn trials(options: &Trials, settings: &Settings) -> Result<(), Failure> {
    let client = Client::new(&options.api, settings)?;
    let mut left = options.limit.unwrap_or(usize::MAX);
    let mut cursor = None;
    while left > 0 {
        let mut query = format!("?limit={}", left.min(PAGE));
        if let Some(state) = &options.state {
            query.push_str(&format!("&state={}", encoded(state)));
        }
        if let Some(cursor) = cursor {
            query.push_str(&format!("&cursor={cursor}"));
        }
        let page = client
            .get(&path(options.id, &format!("/trials{query}")))
            .await?;
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        for trial in items {
            output::say(if options.api.json {
                trial.to_string()
            } else {
                trial_line(trial)
            })?;
        }
        left = left.saturating_sub(items.len());
        cursor = page["next_cursor"].as_u64();
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}

fn trial_line(trial: &Value) -> String {
    let number = trial["number"].as_u64().unwrap_or_default();
    let state = trial["state"].as_str().unwrap_or_default();
    let reason = trial["infeasible"]
        .as_str()
        .map(|reason| format!("infeasible: {reason}"));
    let reason = reason.or_else(|| trial["failure"]["message"].as_str().map(str::to_owned));
    let values = named(&trial["values"]);
    let result = [Some(values).filter(|values| !values.is_empty()), reason];
    let result: Vec<String> = result.into_iter().flatten().collect();
    format!(
        "#{number:<6} {state:<9}  {}  |  {}",
        named(&trial["params"]),
        result.join("  ")
    )
}

/// `cancel`, `pause` and `resume`.
///
/// # Errors
/// When the API does not answer, or the state of the task does not allow it.
pub async fn control(options: &OfTask, verb: &str, settings: &Settings) -> Result<(), Failure> {
    let client = Client::new(&options.api, settings)?;
    let task = client.post(&path(options.id, &format!("/{verb}"))).await?;
    if options.api.json {
        return Ok(output::document(&task)?);
    }
    let status = task["status"].as_str().unwrap_or("told");
    let stopping = task["stop_reason"]
        .as_str()
        .is_some_and(|_| status == "running");
    let remark = if stopping { ", stopping" } else { "" };
    Ok(output::say(format!(
        "task {} is {status}{remark}",
        options.id
    ))?)
}

/// `explain`.
///
/// # Errors
/// When the API does not answer, or has no such task.
pub async fn explain(options: &OfTask, settings: &Settings) -> Result<(), Failure> {
    let answer = Client::new(&options.api, settings)?
        .get(&path(options.id, "/explain"))
        .await?;
    if options.api.json {
        return Ok(output::document(&answer)?);
    }
    output::say(format!(
        "status  {}",
        answer["status"].as_str().unwrap_or_default()
    ))?;
    for reason in answer["reasons"].as_array().into_iter().flatten() {
        output::say(format!("reason  {}", figures::value(&reason["text"])))?;
        if let Some(remedy) = reason["remedy"].as_str() {
            output::say(format!("do      {remedy}"))?;
        }
    }
    Ok(output::say(format!("units   {}", named(&answer["units"])))?)
}

/// `workers`.
///
/// # Errors
/// When the API does not answer.
pub async fn workers(api: &Api, settings: &Settings) -> Result<(), Failure> {
    let answer = Client::new(api, settings)?.get("/api/v1/workers").await?;
    if api.json {
        return Ok(output::document(&answer)?);
    }
    let head = [
        "NAME", "STATE", "SLOTS", "UNITS", "POOL", "VERSION", "SEEN", "WHY",
    ];
    let head = head.map(str::to_owned).to_vec();
    let row = |worker: &Value| {
        let text = |name: &str| figures::value(&worker[name]);
        let quarantine = &worker["quarantine"];
        let state = match worker["live"] == json!(true) {
            true if quarantine.is_object() => "quarantine",
            true => "live",
            false => "gone",
        };
        let why = quarantine["reason"].as_str().unwrap_or_default().to_owned();
        let state = state.to_owned();
        let [name, slots, units, pool, version, seen] = [
            "name",
            "slots",
            "leased_units",
            "pool",
            "version",
            "seen_at",
        ]
        .map(text);
        vec![name, state, slots, units, pool, version, seen, why]
    };
    let workers = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = std::iter::once(head)
        .chain(workers.iter().map(row))
        .collect();
    for line in output::columns(&rows) {
        output::say(line)?;
    }
    Ok(())
}

/// `init`: an example request on what the API has bars of, or on invented bars.
///
/// # Errors
/// When the address of the API cannot be one.
pub async fn init(api: &Api, settings: &Settings) -> Result<(), Failure> {
    let client = Client::new(api, settings)?;
    let stored = match client.get("/api/v1/market-data").await {
        Ok(answer) => stored_bars(&answer),
        Err(error) => {
            output::note(format!("note: {error}"));
            None
        }
    };
    let (symbols, from, to) = stored.unwrap_or_else(|| {
        output::note(
            "note: the request names invented bars; bring them in with `trialmill data generate`",
        );
        (
            example::symbols(),
            example::first_day(),
            example::last_day(),
        )
    });
    let name = "an example: two moving averages";
    let request = example::request(name, &symbols, from, to, 200, example::SEARCH_SEED);
    Ok(output::document(&request)?)
}

/// A few daily series that the API has, and the days that all of them cover.
fn stored_bars(answer: &Value) -> Option<(Vec<String>, NaiveDate, NaiveDate)> {
    /// The fewest days that an example is worth.
    const LEAST_DAYS: i64 = 365;
    let day = |value: &Value| {
        value
            .as_str()
            .and_then(|text| text.parse::<NaiveDate>().ok())
    };
    let mut found: Option<(Vec<String>, NaiveDate, NaiveDate)> = None;
    let daily = answer["items"]
        .as_array()?
        .iter()
        .filter(|item| item["frequency"] == "1d");
    for item in daily {
        let (symbol, first, last) = (
            item["symbol"].as_str()?,
            day(&item["first_date"])?,
            day(&item["last_date"])?,
        );
        let (mut symbols, from, to) = found.take().unwrap_or((Vec::new(), first, last));
        let common = (from.max(first), to.min(last));
        if (common.1 - common.0).num_days() >= LEAST_DAYS {
            symbols.push(symbol.to_owned());
            found = Some((symbols, common.0, common.1));
        } else if !symbols.is_empty() {
            found = Some((symbols, from, to));
        }
        if found
            .as_ref()
            .is_some_and(|(symbols, _, _)| symbols.len() == EXAMPLE_SYMBOLS)
        {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_names_series_that_share_a_year_and_skips_the_others() {
        let item = |symbol: &str, first: &str, last: &str| json!({"symbol": symbol, "frequency": "1d", "first_date": first, "last_date": last});
        let answer = json!({"items": [
            item("NEW", "2023-06-01", "2023-12-29"),
            item("A", "2010-01-04", "2023-12-29"),
            item("GONE", "2000-01-04", "2008-12-29"),
            item("B", "2015-01-05", "2022-12-30"),
        ]});
        let (symbols, from, to) = stored_bars(&answer).unwrap();
        assert_eq!(symbols, ["A", "B"]);
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("2015-01-05".into(), "2022-12-30".into())
        );
        assert_eq!(stored_bars(&json!({"items": []})), None);
    }

    #[test]
    fn the_trial_that_is_used_is_told_with_its_own_number_values_and_parameters() {
        let mut task = json!({"best_score": 0.5, "best_trial_number": 3, "best_params": {"x": 1},
            "best_values": {"value": 0.5}, "result": null});
        let best = |task: &Value| {
            let told = lines(task);
            let at = told.iter().position(|line| line.starts_with("best"));
            at.map(|at| told[at..at + 2].to_vec())
        };
        assert_eq!(best(&task).unwrap(), ["best      #3  0.5", "          x 1"]);
        task["result"] = json!({"best": {"trial_number": 8, "values": {"value": 0.7},
            "params": {"x": 2}}});
        assert_eq!(
            best(&task).unwrap(),
            ["best      #8  value 0.7", "          x 2"]
        );
    }

    #[test]
    fn of_several_objectives_the_front_and_the_selected_trial_are_told() {
        let mut task = json!({"best_score": null, "best_trial_number": null, "best_params": null,
            "best_values": {"max_drawdown": 0.118, "sharpe_ratio": 0.92}, "result": null});
        let leads = "leads     max_drawdown 0.118  sharpe_ratio 0.92";
        assert!(
            lines(&task).contains(&leads.to_owned()),
            "{:?}",
            lines(&task)
        );
        task["result"] = json!({"best": {"trial_number": 17, "params": {"lookback": 75}},
            "pareto_front": [{"trial_number": 17}, {"trial_number": 20}]});
        let told = lines(&task);
        let expected = [
            "front     2 trials that no other one dominates",
            "selected  #17  max_drawdown 0.118  sharpe_ratio 0.92",
            "          lookback 75",
        ];
        assert!(told.windows(3).any(|lines| lines == expected), "{told:?}");
        let items: Vec<Value> = (0..12)
            .map(|n| json!({"trial_number": n, "objectives": {"f1": n, "f2": 3}}))
            .collect();
        let told = front_lines(&json!({"size": 12, "items": items}));
        assert_eq!(
            told[0],
            "one of the front of 12; its first 10, by the first objective:"
        );
        assert_eq!((told.len(), told[1].as_str()), (11, "  #0  f1 0  f2 3"));
    }

    #[test]
    fn a_failed_trial_is_listed_with_its_reason() {
        let trial = json!({"number": 3, "state": "failed", "params": {"x": 1}, "values": {},
            "infeasible": null, "failure": {"message": "the objective panicked: no"}});
        assert_eq!(
            trial_line(&trial),
            "#3      failed     x 1  |  the objective panicked: no"
        );
    }
}
