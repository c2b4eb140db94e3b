//! The bounded pool for computing: one named thread per slot. Everything that computes runs here,
//! so that the runtime's threads are always free for leases and messages.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The thread of one slot. Dropping it lets the thread end after its current job.
#[derive(Debug)]
pub(crate) struct Lane {
    jobs: mpsc::Sender<Job>,
}

impl Lane {
    /// Starts the thread, named after its slot.
    pub(crate) fn spawn(slot: u32) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name(format!("trialmill-cpu-{slot:02}"))
            .spawn(move || {
                for job in inbox {
                    // Trials catch their own panics; what gets here is a fault of ours. The thread
                    // survives it, and the dropped answer tells the slot.
                    if catch_unwind(AssertUnwindSafe(job)).is_err() {
                        tracing::error!("a job of the CPU pool panicked outside a trial");
                    }
                }
            })?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the thread after the jobs before it. The receiver errs if it panicked.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        let span = tracing::Span::current();
        let job: Job = Box::new(move || {
            let given = span.in_scope(work);
            // Nobody waits for the answer of a thread that was given up.
            drop(answer.send(given));
        });
        // The thread ends only when this sender is gone; should it be gone all the same, the
        // answer is dropped with the job and the receiver errs.
        drop(self.jobs.send(job));
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_survives_a_panicking_job_and_says_so() {
        let lane = Lane::spawn(3).unwrap();
        assert!(lane.run(|| panic!("on purpose")).await.is_err());
        let name = lane
            .run(|| std::thread::current().name().map(str::to_owned))
            .await
            .unwrap();
        assert_eq!(name.as_deref(), Some("trialmill-cpu-03"));
    }
}
