//! The wake-up call: RabbitMQ and the in-process queue behind one trait.
//!
//! The database is the truth about what is to be done; a message only says that a unit is worth
//! claiming. So a message may be lost, doubled or late without harm, and everything here is made
//! for the operator's view, for fairness between slots and for low latency. What this crate never
//! does: decide anything about a task, retry a unit, or give a message back with a negative
//! acknowledgement (that is how queues get into loops).
//!
//! It is the only crate that names the AMQP client. Both implementations, [`InProcessBroker`] and
//! [`RabbitBroker`], pass the same conformance suite.

mod contract;
mod dead;
mod error;
mod in_process;
pub mod rabbit;

pub use contract::{
    Broker, BrokerState, Consumer, Delivery, Emptied, MAX_POOL_NAME_BYTES, QueueDepth, check_pool,
};
pub use dead::{
    DELIVERY_LIMIT_CODE, DeadLetter, DeadLetters, MAX_DEAD_BODY_SHOWN, MAX_DEAD_LISTED,
    MAX_DEAD_SEARCHED,
};
pub use error::{BrokerError, PublishError};
pub use in_process::InProcessBroker;
pub use rabbit::{AmqpUrls, RabbitBroker, RabbitOptions};
