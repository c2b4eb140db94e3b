//! The names of our environment variables: one list, since the programs share an environment and
//! each warns of names that belong to none of them. Reading them is each program's own affair.

/// Every `TRIALMILL_*` variable of the programs and scripts.
pub const VARIABLES: &[&str] = &[
    // API, worker and CLI.
    "TRIALMILL_LEASE_SECONDS",
    "TRIALMILL_KEEP_EVENTS_DAYS",
    "TRIALMILL_KEEP_TASKS_DAYS",
    "TRIALMILL_LOG",
    "TRIALMILL_DATABASE_CA_FILE",
    "TRIALMILL_AMQP_CA_FILE",
    // API and worker.
    "TRIALMILL_LOG_FORMAT",
    // API and worker, in builds with fail points.
    #[cfg(feature = "failpoints")]
    "TRIALMILL_FAILPOINT",
    // API and `trialmill up`.
    "TRIALMILL_TLS_CERT_FILE",
    "TRIALMILL_TLS_KEY_FILE",
    // Worker and `trialmill up`.
    "TRIALMILL_SLOTS",
    // API.
    "TRIALMILL_LISTEN",
    "TRIALMILL_API_KEY",
    "TRIALMILL_API_KEY_FILE",
    "TRIALMILL_RATE_PER_SECOND",
    "TRIALMILL_RATE_BURST",
    "TRIALMILL_MAX_ACTIVE_TASKS",
    "TRIALMILL_MAX_BACKLOG_TRIALS",
    // Worker.
    "TRIALMILL_POOL",
    "TRIALMILL_DRAIN_SECONDS",
    "TRIALMILL_FLUSH_MS",
    "TRIALMILL_UNIT_SECONDS",
    "TRIALMILL_ACK_EARLY_SECONDS",
    "TRIALMILL_CACHE_MB",
    "TRIALMILL_HISTORY_MB",
    "TRIALMILL_LUCK_SECONDS",
    "TRIALMILL_TRIAL_MEMORY_MB",
    "TRIALMILL_MEMORY_MB",
    "TRIALMILL_STATUS_FILE",
    "TRIALMILL_CHILD",
    // CLI.
    "TRIALMILL_URL",
    "TRIALMILL_CA_FILE",
    "TRIALMILL_DATA_DIR",
    // docker-compose.yml and the scripts.
    "TRIALMILL_POSTGRES_PASSWORD",
    "TRIALMILL_RABBITMQ_PASSWORD",
    "TRIALMILL_RABBITMQ_MANAGEMENT_URL",
    "TRIALMILL_SERVICES_DIR",
    "TRIALMILL_SERVICES_ENGINE",
    "TRIALMILL_SERVICES_FSYNC",
    "TRIALMILL_SERVICES_RABBITMQ_ADVANCED",
    "TRIALMILL_SERVICES_TLS",
];

/// Whether a variable looks like ours and is none: probably misspelt.
///
/// ```
/// use trialmill_common::environment::is_unknown;
///
/// assert!(is_unknown("TRIALMILL_SLOT"));
/// assert!(!is_unknown("TRIALMILL_SLOTS"));
/// assert!(!is_unknown("HOME"));
/// ```
#[must_use]
pub fn is_unknown(name: &str) -> bool {
    name.starts_with("TRIALMILL_") && !VARIABLES.contains(&name)
}
