//! `verify`: promises 3 to 5 over the database.

use crate::args::OfDatabase;
use crate::config::Settings;
use crate::database::Place;
use crate::failure::Failure;
use crate::output;
use serde_json::json;
use trialmill_store::verify::RULES;

/// Prints a line for each violation.
///
/// # Errors
/// [`Failure::Said`] with 1 when there is one; else why the database cannot be asked.
pub async fn run(options: &OfDatabase, settings: &Settings) -> Result<(), Failure> {
    let place = Place::of(options.data_dir.as_deref(), settings);
    let violations = place.open(false).await?.verify().await?;
    if options.json {
        let ok = violations.is_empty();
        output::document(&json!({"ok": ok, "rules": RULES.len(), "violations": violations}))?;
    } else {
        for violation in &violations {
            let (rule, task, detail) = (violation.rule, &violation.task_id, &violation.detail);
            output::say(format!("{rule}  task {task}  {detail}"))?;
        }
    }
    if violations.is_empty() {
        output::note(format!("{}: all {} rules hold", place.name(), RULES.len()));
        return Ok(());
    }
    output::note(format!("{}: {} violations", place.name(), violations.len()));
    Err(Failure::Said(1))
}
