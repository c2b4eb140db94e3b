//! A broker, a pool and an administrator's channel per test.

use crate::conformance::within;
use lapin::{
    Channel, Connection, ConnectionProperties, options::QueueDeleteOptions, types::FieldTable,
};
use trialmill_broker::{
    Broker, BrokerState, RabbitBroker, RabbitOptions,
    rabbit::{DEAD_EXCHANGE, DEAD_QUEUE, work_queue},
};
use uuid::Uuid;

/// What the tests are told by their environment.
pub fn told(name: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests learn from it where the broker is"
    )]
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run scripts/test"))
}

pub fn amqp_url() -> String {
    told("AMQP_URL")
}

pub fn options(urls: &str) -> RabbitOptions {
    let name = format!("trialmill-test@localhost:{}", Uuid::new_v4().simple());
    RabbitOptions::new(urls.parse().unwrap(), "trialmill-test", "0.1.0", &name)
}

pub struct Fixture {
    broker: RabbitBroker,
    pool: String,
    admin: Connection,
}

impl Fixture {
    /// A broker that is connected.
    pub async fn new() -> Self {
        Self::with(options(&amqp_url())).await.connected().await
    }

    /// A broker with these options, connected or not.
    pub async fn with(options: RabbitOptions) -> Self {
        let url = amqp_url();
        let admin = Connection::connect(&url, ConnectionProperties::default());
        let admin = within("the administrator's connection", admin)
            .await
            .unwrap();
        let pool = format!("test-{}", Uuid::new_v4().simple());
        Self {
            broker: RabbitBroker::start(options),
            pool,
            admin,
        }
    }

    pub async fn connected(self) -> Self {
        let mut state = self.broker.state();
        let connected = state.wait_for(|state| *state == BrokerState::Connected);
        within("the connection", connected).await.unwrap();
        self
    }

    pub fn broker(&self) -> &dyn Broker {
        &self.broker
    }

    pub fn pool(&self) -> &str {
        &self.pool
    }

    pub async fn admin(&self) -> Channel {
        self.admin.create_channel().await.unwrap()
    }

    pub async fn delete_queue(&self) {
        let queue = work_queue(&self.pool).as_str().into();
        self.admin()
            .await
            .queue_delete(queue, QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    /// Declares the pool's queue, as another process would.
    pub async fn declare_queue(&self) {
        let mut options = options(&amqp_url());
        options.pools = vec![self.pool.clone()];
        let other = RabbitBroker::start(options);
        let declared = other.emptied();
        within("another process declares", async {
            let mut declared = declared;
            let pool = self.pool.as_str();
            declared
                .wait_for(|pools| pools.contains_key(pool))
                .await
                .map(|_| ())
        })
        .await
        .unwrap();
        other.close().await;
    }

    pub fn emptied(&self) -> u64 {
        self.broker
            .emptied()
            .borrow()
            .get(&self.pool)
            .copied()
            .unwrap_or_default()
    }

    pub async fn clean_up(self) {
        self.broker.close().await;
        self.delete_queue().await;
        let [queue, exchange, key] = [DEAD_QUEUE, DEAD_EXCHANGE, &self.pool].map(Into::into);
        self.admin()
            .await
            .queue_unbind(queue, exchange, key, FieldTable::default())
            .await
            .unwrap();
    }
}
