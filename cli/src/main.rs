//! `trialmill`: the demo, everything in one process, and the client commands.
//!
//! Results go to standard output, progress and notes to standard error. The exit code is 0 when the
//! command did what was asked, else 1 with the reason; `watch` gives 2 for a cancelled task.

mod args;
mod client;
mod config;
mod data;
mod database;
mod dead;
mod demo;
mod doctor;
mod example;
mod failure;
mod figures;
mod judged;
mod keys;
mod output;
mod progress;
mod reference;
mod sse;
mod task;
mod up;
mod verify;
mod watch;

use crate::args::{Arguments, Command};
use crate::config::Settings;
use crate::failure::Failure;
use clap::Parser;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use trialmill_broker::rabbit::LOG_LIMITS;

fn main() -> ExitCode {
    // A worker in this process runs suspicious trials in a child: this program, started again.
    if let Some(code) = trialmill_worker::child::main_if_child() {
        return code;
    }
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text() {
                output::note(format!("error: {text}"));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = Settings::of_process()?;
    log(&arguments.command, &settings)?;
    for name in &settings.unknown {
        output::note(format!(
            "warning: {name} is no setting of this program; see --help"
        ));
    }
    match arguments.command {
        Command::Demo(options) => demo::run(&options, &settings).await,
        Command::Data(command) => data::run(command, &settings).await,
        Command::Keys(command) => keys::run(command, &settings).await,
        Command::Up(options) => up::run(&options, &settings).await,
        Command::Init(api) => task::init(&api, &settings).await,
        Command::Submit(options) => task::submit(&options, &settings).await,
        Command::Watch(options) => task::watch(&options, &settings).await,
        Command::List(options) => task::list(&options, &settings).await,
        Command::Show(options) => task::show(&options, &settings).await,
        Command::Best(options) => task::best(&options, &settings).await,
        Command::Trials(options) => task::trials(&options, &settings).await,
        Command::Cancel(options) => task::control(&options, "cancel", &settings).await,
        Command::Pause(options) => task::control(&options, "pause", &settings).await,
        Command::Resume(options) => task::control(&options, "resume", &settings).await,
        Command::Retry(options) => task::retry(&options, &settings).await,
        Command::Clone(options) => task::clone(&options, &settings).await,
        Command::Extend(options) => task::extend(&options, &settings).await,
        Command::Explain(options) => task::explain(&options, &settings).await,
        Command::Replay(options) => task::replay(&options, &settings).await,
        Command::Backtest(options) => reference::run(&options),
        Command::Workers(api) => task::workers(&api, &settings).await,
        Command::Dead(command) => dead::run(command, &settings).await,
        Command::Verify(options) => verify::run(&options, &settings).await,
        Command::Migrate => database::migrate(&settings).await,
        Command::Doctor(options) => doctor::run(&options, &settings).await,
    }
}

/// Sends the log to standard error: everything that matters of a server, and of the other commands
/// what went wrong.
fn log(command: &Command, settings: &Settings) -> Result<(), Failure> {
    let usual = if matches!(command, Command::Up(_)) {
        "info"
    } else {
        "error"
    };
    let filter = settings.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::reason(format!(
            "TRIALMILL_LOG cannot be read: {error}; write it like info"
        ))
    })?;
    let filter = LOG_LIMITS.iter().fold(filter, |filter, limit| {
        filter.add_directive(limit.parse().expect("a directive"))
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::notes_have_colour(settings.no_colour))
        .init();
    Ok(())
}
