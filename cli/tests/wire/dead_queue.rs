//! A work queue that is there and answers nobody, as RabbitMQ leaves one that it was killed over.

use crate::sleeping;
use trialmill_chaos::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_answers_nobody_is_replaced_and_its_task_ends() {
    let mut cluster = Cluster::start("dead-queue", 1).await;
    let id = cluster.submit(&sleeping(60, 0.01, 31)).await;
    cluster.ended(&id).await;
    cluster.servers().deaden_queue().await.unwrap();
    let id = cluster.submit(&sleeping(60, 0.01, 32)).await;
    let status = cluster.ended(&id).await;
    assert_eq!(status["stop_reason"], "n_trials", "{status:#}");
    assert_eq!(cluster.trials(&id).await.len(), 60);
    let logs = cluster.logs();
    assert!(logs.contains("it is deleted and declared anew"), "{logs}");
    cluster.verify();
}
