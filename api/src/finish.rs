//! Work that must not stop half-way when its client hangs up.

use crate::problem::{Class, Problem};

/// Does the work whether the client waits for the answer or not: what was done is told to the audit
/// in any case.
///
/// # Errors
/// Those of the work; [`Class::Internal`] when it panicked.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(Problem::new(Class::Internal, error.to_string())))
}
