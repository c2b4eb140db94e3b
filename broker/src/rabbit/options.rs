//! What a process says when it connects, and its time limits.

use super::{AmqpUrls, CA_SETTING};
use std::time::Duration;
use trialmill_tls::Trust;

/// How a process connects. The names are what an operator reads in the management screen.
#[derive(Clone, Debug)]
pub struct RabbitOptions {
    /// The brokers, tried in turn.
    pub urls: AmqpUrls,
    /// Whose certificates are believed at `amqps://` addresses. The system's authorities.
    pub trust: Trust,
    /// The program, for the client properties and the `app_id` of messages: `trialmill-worker`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The connections' name, to which ` (publish)` or ` (consume)` is added:
    /// `trialmill-worker@host:pid`.
    pub connection_name: String,
    /// Pools whose queues are declared as soon as there is a connection. Others are declared when
    /// they are first used.
    pub pools: Vec<String>,
    /// The heartbeat asked for; a silent partition is noticed after about two of them. 15 s: below
    /// 5 s a busy machine looks dead. A `heartbeat` in the URL wins.
    pub heartbeat: Duration,
    /// The time within which a publish (of a whole batch) is confirmed or counts as failed. 10 s.
    pub publish_timeout: Duration,
    /// The time within which any other operation is answered, connecting included. 10 s.
    pub operation_timeout: Duration,
    /// The shortest wait before a new attempt to connect or consume. 0.25 s.
    pub backoff_least: Duration,
    /// The longest one. 10 s: a slot consumes again within 15 s of the broker's return, the
    /// handshake and a refused attempt included.
    pub backoff_most: Duration,
    /// A consumer that has got nothing for this long asks whether messages wait. 5 s: a question a
    /// slot and five seconds is no load, and no slot is deaf for longer than 15 s.
    pub first_look: Duration,
    /// If they do, it asks again after this long, and is started again if they still do. 2 s: what was
    /// on its way is there by then.
    pub second_look: Duration,
}

impl RabbitOptions {
    /// Options with the default limits.
    #[must_use]
    pub fn new(urls: AmqpUrls, product: &str, version: &str, connection_name: &str) -> Self {
        Self {
            urls,
            trust: Trust::system(CA_SETTING),
            product: product.to_owned(),
            version: version.to_owned(),
            connection_name: connection_name.to_owned(),
            pools: Vec::new(),
            heartbeat: Duration::from_secs(15),
            publish_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(10),
            backoff_least: Duration::from_millis(250),
            backoff_most: Duration::from_secs(10),
            first_look: Duration::from_secs(5),
            second_look: Duration::from_secs(2),
        }
    }
}
