//! One suite for both stores: what [`trialmill_store::Store`] promises, and each interleaving
//! that the protocol guards against. The model they are compared with is
//! `trialmill_common::protocol::board`.
//!
//! PostgreSQL is the server of `DATABASE_URL` (see `scripts/test`).

mod announced;
mod concurrency;
mod control;
mod database;
mod given;
mod leases;
mod market;
mod pages;
mod planted;
mod relay;
mod submission;
mod walk;

macro_rules! conformance {
    ($($module:ident: $($test:ident),+;)+) => {
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::database::on_sqlite(crate::$module::$test).await;
            })+)+
        }
        mod postgresql {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::database::on_postgresql(crate::$module::$test).await;
            })+)+
        }
    };
}

conformance! {
    walk: every_random_walk_ends_where_the_model_ends;
}
