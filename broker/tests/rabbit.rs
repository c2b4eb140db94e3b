//! RabbitMQ against the conformance suite, and what only it has: connections that end, queues that are
//! deleted, dead letters, a management screen. Needs a broker: `AMQP_URL`.

mod conformance;
mod proxy;
mod rabbit_fixture;

use conformance::{consumer, next, publish, try_publish, unit, within};
use futures::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use proxy::Proxy;
use rabbit_fixture::{Fixture, amqp_url, options, told};
use std::time::Duration;
use trialmill_broker::{
    BrokerState, PublishError,
    rabbit::{DEAD_EXCHANGE, DEAD_QUEUE, WORK_EXCHANGE, work_queue},
};

conformance!(Fixture::new);

/// RabbitMQ 3.10.8 forgets to tell busy consumers that their queue was deleted when another has its
/// name at once: they are there, hold messages, and nothing ever reaches them.
#[tokio::test]
async fn slots_that_were_busy_while_their_queue_was_replaced_are_not_deaf_afterwards() {
    const SLOTS: u32 = 8;
    let fixture = Fixture::new().await;
    for round in 0..3 {
        let first = round * 1000;
        publish(fixture.broker(), fixture.pool(), first..first + SLOTS).await;
        let mut slots = Vec::new();
        for number in 0..SLOTS {
            let mut slot = consumer(fixture.broker(), fixture.pool(), number).await;
            next(&mut slot).await;
            slots.push(slot);
        }
        fixture.delete_queue().await;
        if round > 0 {
            // Somebody who is quicker than we are.
            fixture.declare_queue().await;
        }
        // More than deaf consumers could swallow.
        let fresh = first + 100..first + 100 + 3 * SLOTS;
        let mut published = false;
        while !published {
            let answers = try_publish(fixture.broker(), fixture.pool(), fresh.clone()).await;
            published = answers.iter().all(Result::is_ok);
        }
        let hearing = slots.into_iter().map(async |mut slot| {
            slot.ack().await;
            while next(&mut slot).await.message.unit < fresh.start {
                slot.ack().await;
            }
            slot.ack().await;
            slot.close().await;
        });
        within("every slot hears", futures::future::join_all(hearing)).await;
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again_and_its_consumers_come_back() {
    let fixture = Fixture::new().await;
    publish(fixture.broker(), fixture.pool(), 0..3).await;
    let mut slots = Vec::new();
    for number in 0..3 {
        let mut slot = consumer(fixture.broker(), fixture.pool(), number).await;
        next(&mut slot).await;
        slots.push(slot);
    }
    for slot in &mut slots {
        slot.ack().await;
    }
    let emptied = fixture.emptied();
    assert!(emptied >= 1);
    fixture.delete_queue().await;

    let mut changes = fixture.broker().emptied();
    let waiting: Vec<_> = slots
        .into_iter()
        .map(|mut slot| {
            tokio::spawn(async move {
                let delivery = next(&mut slot).await;
                slot.ack().await;
                (delivery, slot.restarts())
            })
        })
        .collect();
    let declared = changes.wait_for(|pools| pools[fixture.pool()] > emptied);
    within("the queue is declared again", declared)
        .await
        .unwrap();
    publish(fixture.broker(), fixture.pool(), [10, 11, 12]).await;
    let mut numbers = Vec::new();
    for slot in waiting {
        let (delivery, restarts) = within("a slot", slot).await.unwrap();
        assert!(restarts >= 1);
        numbers.push(delivery.message.unit);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [10, 11, 12]);
    // Of the slots that lost the queue only the first declared it.
    assert_eq!(fixture.emptied(), emptied + 1);
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_unroutable_message_is_not_published_and_its_queue_is_declared_again() {
    let fixture = Fixture::new().await;
    publish(fixture.broker(), fixture.pool(), [0]).await;
    let emptied = fixture.emptied();
    fixture.delete_queue().await;
    let answers = try_publish(fixture.broker(), fixture.pool(), [1, 2]).await;
    let unroutable = Err(PublishError::Unroutable {
        pool: fixture.pool().to_owned(),
    });
    assert_eq!(answers, [unroutable.clone(), unroutable]);
    assert_eq!(fixture.emptied(), emptied + 1);
    publish(fixture.broker(), fixture.pool(), [3]).await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    assert_eq!(next(&mut slot).await.message, unit(3));
    slot.ack().await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_queue_found_missing_by_a_look_is_declared_again() {
    let fixture = Fixture::new().await;
    publish(fixture.broker(), fixture.pool(), [0]).await;
    let emptied = fixture.emptied();
    fixture.delete_queue().await;
    assert_eq!(
        fixture.broker().depth(fixture.pool()).await.unwrap().ready,
        0
    );
    assert_eq!(fixture.emptied(), emptied + 1);
    publish(fixture.broker(), fixture.pool(), [1]).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_decoded_goes_to_the_dead_letter_queue_with_its_reason() {
    let fixture = Fixture::new().await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    publish(fixture.broker(), fixture.pool(), [1]).await;
    assert_eq!(next(&mut slot).await.message, unit(1));
    slot.ack().await;

    let admin = fixture.admin().await;
    admin
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let body = b"\xff not json".to_vec();
    for schema in [1_i32, 7] {
        let mut headers = FieldTable::default();
        headers.insert("x-trialmill-schema".into(), AMQPValue::LongInt(schema));
        headers.insert("x-death".into(), AMQPValue::LongString("forged".into()));
        let properties = BasicProperties::default().with_headers(headers);
        let (exchange, key) = (WORK_EXCHANGE.into(), fixture.pool().into());
        let options = BasicPublishOptions::default();
        let confirm = admin
            .basic_publish(exchange, key, options, &body, properties)
            .await;
        assert!(confirm.unwrap().await.unwrap().is_ack());
    }
    publish(fixture.broker(), fixture.pool(), [2]).await;
    assert_eq!(next(&mut slot).await.message, unit(2));
    slot.ack().await;
    assert_eq!(slot.restarts(), 0);

    // The dead-letter queue is shared; what is not ours goes back when the channel closes.
    let mut dead = admin
        .basic_consume(
            DEAD_QUEUE.into(),
            "test".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let mut reasons = Vec::new();
    while reasons.len() < 2 {
        let letter = within("a dead letter", dead.next()).await.unwrap().unwrap();
        if letter.routing_key.as_str() != fixture.pool() {
            continue;
        }
        assert_eq!(letter.data, body);
        let headers = letter.properties.headers().clone().unwrap();
        assert_eq!(headers.inner().get("x-death"), None);
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(text("x-trialmill-queue"), work_queue(fixture.pool()));
        reasons.push((text("x-trialmill-fault"), text("x-trialmill-reason")));
        assert!(letter.ack(BasicAckOptions::default()).await.unwrap());
    }
    // Another test that reads the queue may have held one of them for a while, and so turned them round.
    reasons.sort();
    assert_eq!(reasons[0].0, "malformed");
    assert!(
        reasons[0].1.starts_with("the body is not a unit message: "),
        "{reasons:?}"
    );
    assert_eq!(reasons[1].0, "unknown_schema");
    assert!(
        reasons[1].1.contains("x-trialmill-schema is 7"),
        "{reasons:?}"
    );
    fixture.clean_up().await;
}

#[tokio::test]
async fn with_the_dead_letter_binding_gone_a_message_is_put_aside_at_the_second_attempt() {
    let fixture = Fixture::new().await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    publish(fixture.broker(), fixture.pool(), [1]).await;
    next(&mut slot).await;
    slot.ack().await;
    let admin = fixture.admin().await;
    admin
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let [queue, exchange, key] = [DEAD_QUEUE, DEAD_EXCHANGE, fixture.pool()].map(Into::into);
    admin
        .queue_unbind(queue, exchange, key, FieldTable::default())
        .await
        .unwrap();
    let (exchange, key) = (WORK_EXCHANGE.into(), fixture.pool().into());
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let confirm = admin
        .basic_publish(exchange, key, options, b"?", properties)
        .await;
    assert!(confirm.unwrap().await.unwrap().is_ack());
    publish(fixture.broker(), fixture.pool(), [2]).await;
    assert_eq!(next(&mut slot).await.message, unit(2));
    slot.ack().await;
    assert_eq!(slot.restarts(), 1);
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_cut_connection_is_made_again_and_the_message_comes_back() {
    let proxy = Proxy::start(&amqp_url(), 0).await;
    let fixture = Fixture::with(options(&proxy.url())).await.connected().await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    publish(fixture.broker(), fixture.pool(), [1]).await;
    assert_eq!(next(&mut slot).await.message, unit(1));

    let mut state = fixture.broker().state();
    proxy.cut();
    let lost = state.wait_for(|state| matches!(state, BrokerState::Disconnected { .. }));
    within("the loss is seen", lost).await.unwrap();
    // Too late, and no error: the message is delivered again.
    slot.ack().await;
    let delivery = next(&mut slot).await;
    assert_eq!(delivery.message, unit(1));
    assert!(delivery.redelivered);
    assert_eq!(slot.restarts(), 1);
    slot.ack().await;
    let connected = state.wait_for(|state| *state == BrokerState::Connected);
    within("the connection", connected).await.unwrap();
    publish(fixture.broker(), fixture.pool(), [2]).await;
    assert_eq!(next(&mut slot).await.message, unit(2));
    slot.ack().await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_waiting_consumer_survives_many_cuts() {
    let proxy = Proxy::start(&amqp_url(), 0).await;
    let fixture = Fixture::with(options(&proxy.url())).await.connected().await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    let mut state = fixture.broker().state();
    for number in 0..5 {
        // Until both connections are back; a failed attempt may have arrived all the same.
        within("a publish that succeeds", async {
            while try_publish(fixture.broker(), fixture.pool(), [number]).await != [Ok(())] {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // Earlier numbers: doubles, and acknowledgements that were on their way at the cut.
        while next(&mut slot).await.message != unit(number) {
            slot.ack().await;
        }
        slot.ack().await;
        // Cut while it waits, not between two waits.
        within("a cut under a waiting consumer", async {
            proxy.cut();
            tokio::select! {
                _ = slot.next() => {}
                lost = state.wait_for(|state| *state != BrokerState::Connected) => {
                    lost.unwrap();
                }
            }
        })
        .await;
    }
    assert!(slot.restarts() >= 1);
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_early_acknowledgement_outlives_the_connection() {
    let proxy = Proxy::start(&amqp_url(), 0).await;
    let fixture = Fixture::with(options(&proxy.url())).await.connected().await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    publish(fixture.broker(), fixture.pool(), [1]).await;
    next(&mut slot).await;
    slot.ack_early().await;
    let mut state = fixture.broker().state();
    // The acknowledgement is on its way before the connection goes: a round trip behind it.
    conformance::depth_becomes(
        fixture.broker(),
        fixture.pool(),
        trialmill_broker::QueueDepth {
            ready: 0,
            consumers: 0,
        },
    )
    .await;
    proxy.cut();
    let lost = state.wait_for(|state| matches!(state, BrokerState::Disconnected { .. }));
    within("the loss is seen", lost).await.unwrap();
    let connected = state.wait_for(|state| *state == BrokerState::Connected);
    within("the connection", connected).await.unwrap();
    publish(fixture.broker(), fixture.pool(), [2]).await;
    assert_eq!(next(&mut slot).await.message, unit(2));
    slot.ack().await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn without_an_answer_a_publish_times_out_and_a_later_one_succeeds() {
    let proxy = Proxy::start(&amqp_url(), 0).await;
    let mut options = options(&proxy.url());
    options.publish_timeout = Duration::from_millis(500);
    let fixture = Fixture::with(options).await.connected().await;
    publish(fixture.broker(), fixture.pool(), [1]).await;
    proxy.stall(true);
    let answers = try_publish(fixture.broker(), fixture.pool(), [2, 3]).await;
    let late = Err(PublishError::Timeout {
        after: Duration::from_millis(500),
    });
    assert_eq!(answers, [late.clone(), late]);
    proxy.stall(false);
    within("a publish that succeeds", async {
        while try_publish(fixture.broker(), fixture.pool(), [4]).await != [Ok(())] {}
    })
    .await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_broker_that_is_down_at_the_start_is_found_when_it_comes() {
    let port = proxy::free_port().await;
    let dead = format!("amqp://guest:s3cret@127.0.0.1:{}", proxy::free_port().await);
    let late = proxy::at_port(&amqp_url(), port);
    let fixture = Fixture::with(options(&format!("{dead},{late}"))).await;
    let mut state = fixture.broker().state();
    let refused = |state: &BrokerState| match state {
        BrokerState::Disconnected { reason, .. } => reason.contains("amqp://"),
        _ => false,
    };
    within("the refusal", state.wait_for(refused))
        .await
        .unwrap();
    let BrokerState::Disconnected { reason, .. } = state.borrow().clone() else {
        panic!("connected to nothing");
    };
    assert!(!reason.contains("s3cret"), "{reason}");
    // Refused at once, not after the publish timeout; a consumer may be made all the same.
    let publishing = try_publish(fixture.broker(), fixture.pool(), [1]);
    let answers = tokio::time::timeout(Duration::from_secs(5), publishing)
        .await
        .unwrap();
    assert!(
        matches!(answers[..], [Err(PublishError::Unavailable { .. })]),
        "{answers:?}"
    );
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    let waiting = tokio::spawn(async move {
        let delivery = next(&mut slot).await;
        slot.ack().await;
        (delivery, slot.restarts())
    });

    let _proxy = Proxy::start(&amqp_url(), port).await;
    let connected = state.wait_for(|state| *state == BrokerState::Connected);
    within("the connection", connected).await.unwrap();
    publish(fixture.broker(), fixture.pool(), [1]).await;
    let (delivery, restarts) = within("the consumer", waiting).await.unwrap();
    assert_eq!((delivery.message, restarts), (unit(1), 0));
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_management_screen_is_readable_and_a_connection_closed_there_comes_back() {
    let management = told("TRIALMILL_RABBITMQ_MANAGEMENT_URL");
    let management = management.trim_end_matches('/');
    let options = options(&amqp_url());
    let name = options.connection_name.clone();
    let fixture = Fixture::with(options).await.connected().await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 7).await;
    publish(fixture.broker(), fixture.pool(), [1]).await;
    next(&mut slot).await;

    trialmill_tls::install_default();
    let http = reqwest::Client::new();
    let get = async |path: &str| -> serde_json::Value {
        let answer = http
            .get(format!("{management}/api/{path}"))
            .send()
            .await
            .unwrap();
        let body = answer.error_for_status().unwrap().bytes().await.unwrap();
        serde_json::from_slice(&body).unwrap()
    };
    // The screen's figures are some seconds old.
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    let found = within("both connections and the consumer on the screen", async {
        loop {
            pace.tick().await;
            let connections = get("connections").await;
            let ours: Vec<_> = connections
                .as_array()
                .unwrap()
                .iter()
                .filter(|entry| {
                    let shown = entry["client_properties"]["connection_name"].as_str();
                    shown.is_some_and(|shown| shown.starts_with(&name))
                })
                .cloned()
                .collect();
            let consumers = get("consumers/%2f").await;
            let consumer = consumers
                .as_array()
                .unwrap()
                .iter()
                .find(|entry| entry["queue"]["name"] == work_queue(fixture.pool()))
                .cloned();
            if let (2, Some(consumer)) = (ours.len(), consumer) {
                break (ours, consumer);
            }
        }
    })
    .await;
    let mut names: Vec<_> = found
        .0
        .iter()
        .map(|entry| &entry["user_provided_name"])
        .collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(
        names,
        [&format!("{name} (consume)"), &format!("{name} (publish)")]
    );
    for entry in &found.0 {
        assert_eq!(entry["client_properties"]["product"], "trialmill-test");
        assert_eq!(entry["client_properties"]["version"], "0.1.0");
        assert_eq!(entry["timeout"], 15, "the heartbeat");
    }
    let tag = format!("trialmill-worker.test.{}.slot-07", fixture.pool());
    assert_eq!(found.1["consumer_tag"], tag);
    assert_eq!(found.1["prefetch_count"], 1);
    assert_eq!(found.1["ack_required"], true);
    let queue = get(&format!("queues/%2f/{}", work_queue(fixture.pool()))).await;
    assert_eq!(
        queue["arguments"],
        serde_json::json!({
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": "trialmill.dead",
            "x-delivery-limit": 20
        })
    );

    let mut state = fixture.broker().state();
    for entry in &found.0 {
        let mut url = reqwest::Url::parse(&format!("{management}/api/connections")).unwrap();
        url.path_segments_mut()
            .unwrap()
            .push(entry["name"].as_str().unwrap());
        http.delete(url)
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
    }
    let lost = state.wait_for(|state| matches!(state, BrokerState::Disconnected { .. }));
    within("the loss is seen", lost).await.unwrap();
    slot.ack().await;
    let delivery = next(&mut slot).await;
    assert_eq!(delivery.message, unit(1));
    assert!(delivery.redelivered);
    slot.ack().await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_published_message_is_readable_by_an_operator() {
    let fixture = Fixture::new().await;
    publish(fixture.broker(), fixture.pool(), [3]).await;
    let admin = fixture.admin().await;
    let queue = work_queue(fixture.pool());
    let message = admin
        .basic_get(
            queue.as_str().into(),
            lapin::options::BasicGetOptions::default(),
        )
        .await
        .unwrap()
        .unwrap();
    let task = unit(3).task.to_string();
    let properties = &message.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().unwrap().to_string();
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(text(properties.kind()), "trialmill.unit");
    assert_eq!(text(properties.app_id()), "trialmill-test/0.1.0");
    assert_eq!(text(properties.correlation_id()), task);
    assert_eq!(text(properties.message_id()), format!("{task}/3"));
    let headers = properties.headers().clone().unwrap();
    assert_eq!(
        headers.inner().get("x-trialmill-schema"),
        Some(&AMQPValue::LongLongInt(1))
    );
    let body: serde_json::Value = serde_json::from_slice(&message.data).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"task_id": task, "unit": 3, "task_name": "ICBC/CCB pair"})
    );
    fixture.clean_up().await;
}

/// Publishes a message of a version that nobody knows yet, as another client would.
async fn publish_of_the_future(fixture: &Fixture, schema: i64, body: &[u8]) {
    let admin = fixture.admin().await;
    admin
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let mut headers = FieldTable::default();
    headers.insert("x-trialmill-schema".into(), AMQPValue::LongLongInt(schema));
    let properties = BasicProperties::default().with_headers(headers);
    let (exchange, key) = (WORK_EXCHANGE.into(), fixture.pool().into());
    let confirm = admin
        .basic_publish(
            exchange,
            key,
            BasicPublishOptions::default(),
            body,
            properties,
        )
        .await;
    assert!(confirm.unwrap().await.unwrap().is_ack());
}

#[tokio::test]
async fn a_message_of_an_unknown_version_is_dead_with_its_reason_and_a_replay_keeps_its_version() {
    let fixture = Fixture::new().await;
    let mut slot = consumer(fixture.broker(), fixture.pool(), 0).await;
    publish(fixture.broker(), fixture.pool(), [1]).await;
    next(&mut slot).await;
    slot.ack().await;
    let body = br#"{"task": "of tomorrow"}"#;
    publish_of_the_future(&fixture, 2, body).await;
    // The slot goes on with what it can read.
    publish(fixture.broker(), fixture.pool(), [2]).await;
    assert_eq!(next(&mut slot).await.message, unit(2));
    slot.ack().await;
    let dead = conformance::dead_becomes(fixture.broker(), fixture.pool(), 1).await;
    let letter = &dead[0];
    assert_eq!(
        (letter.code.as_str(), letter.schema),
        ("unknown_schema", Some(2))
    );
    assert!(
        letter.reason.contains("x-trialmill-schema is 2"),
        "{letter:?}"
    );
    assert_eq!(
        (letter.unit.as_ref(), letter.body.as_bytes()),
        (None, &body[..])
    );

    // Replayed, it reaches the slot again, which still cannot read it: it comes back, as another.
    let replayed = fixture.broker().replay_dead(&letter.id).await.unwrap();
    assert_eq!(replayed.as_ref(), Some(letter));
    publish(fixture.broker(), fixture.pool(), [3]).await;
    assert_eq!(next(&mut slot).await.message, unit(3));
    slot.ack().await;
    let again = conformance::dead_becomes(fixture.broker(), fixture.pool(), 1).await;
    assert_ne!(again[0].id, letter.id);
    assert_eq!((again[0].schema, &again[0].code), (Some(2), &letter.code));
    assert_eq!(slot.restarts(), 0);
    let discarded = fixture
        .broker()
        .discard_all_dead(Some(fixture.pool()))
        .await;
    assert_eq!(discarded, Ok(1));
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_letter_of_a_pool_that_is_no_more_can_be_looked_at_for_ever() {
    let fixture = Fixture::new().await;
    let dead = conformance::let_die(fixture.broker(), fixture.pool(), &[1]).await;
    fixture.delete_queue().await;
    let [queue, exchange, key] = [DEAD_QUEUE, DEAD_EXCHANGE, fixture.pool()].map(Into::into);
    fixture
        .admin()
        .await
        .queue_unbind(queue, exchange, key, FieldTable::default())
        .await
        .unwrap();
    // More often than the broker lets a message come back.
    for _ in 0..25 {
        let again = conformance::dead_becomes(fixture.broker(), fixture.pool(), 1).await;
        assert_eq!(again, dead);
    }
    let discarded = fixture.broker().discard_dead(&dead[0].id).await;
    assert_eq!(discarded, Ok(Some(dead[0].clone())));
    fixture.clean_up().await;
}

#[tokio::test]
async fn looks_and_discards_at_once_lose_nothing_that_nobody_discarded() {
    let fixture = Fixture::new().await;
    let dead = conformance::let_die(fixture.broker(), fixture.pool(), &[0, 1, 2, 3, 4, 5]).await;
    let other = trialmill_broker::RabbitBroker::start(options(&amqp_url()));
    let mut state = trialmill_broker::Broker::state(&other);
    let connected = state.wait_for(|state| *state == BrokerState::Connected);
    within("the other process", connected).await.unwrap();
    let looking = async {
        for _ in 0..40 {
            trialmill_broker::Broker::dead(&other, 1_000).await.unwrap();
        }
    };
    let discarding = async {
        for letter in &dead[..3] {
            // Held by a look at that moment, it is looked for again.
            within("a discard", async {
                while fixture
                    .broker()
                    .discard_dead(&letter.id)
                    .await
                    .unwrap()
                    .is_none()
                {}
            })
            .await;
        }
    };
    tokio::join!(looking, discarding);
    let mut left = conformance::dead_becomes(fixture.broker(), fixture.pool(), 3).await;
    left.sort_by_key(|letter| letter.unit.as_ref().map(|unit| unit.unit));
    let mut expected = dead[3..].to_vec();
    expected.sort_by_key(|letter| letter.unit.as_ref().map(|unit| unit.unit));
    let ids = |letters: &[trialmill_broker::DeadLetter]| {
        letters
            .iter()
            .map(|letter| letter.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&left), ids(&expected));
    for letter in left {
        assert!(
            fixture
                .broker()
                .discard_dead(&letter.id)
                .await
                .unwrap()
                .is_some()
        );
    }
    trialmill_broker::Broker::close(&other).await;
    fixture.clean_up().await;
}
