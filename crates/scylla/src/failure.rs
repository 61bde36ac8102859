//! What the driver's errors mean to whoever called.

use std::time::Duration;

use parlance_core::{ports::Unavailable, store::WriteError};
use scylla::errors::{
    BadQuery, DbError, DeserializationError, ExecutionError, IntoRowsResultError,
    RequestAttemptError, RowsError,
};

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The store said so, or nothing.
    #[error("reading from the store failed: {0}")]
    Asked(#[from] Box<ExecutionError>),
    /// Not in time.
    #[error("the store did not answer within {0:?}")]
    TooLate(Duration),
    /// It answered with what no version of this program wrote.
    #[error("the store holds what cannot be read: {0}")]
    Garbled(String),
}

impl ReadError {
    /// Whether the store did answer, though not with what was asked for: it is not down.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Garbled(_) => true,
            Self::TooLate(_) => false,
            Self::Asked(error) => is_refusal(error) || is_about_one_partition(error),
        }
    }
}

impl From<ExecutionError> for ReadError {
    fn from(error: ExecutionError) -> Self {
        Self::Asked(Box::new(error))
    }
}

impl From<IntoRowsResultError> for ReadError {
    fn from(error: IntoRowsResultError) -> Self {
        Self::Garbled(error.to_string())
    }
}

impl From<RowsError> for ReadError {
    fn from(error: RowsError) -> Self {
        Self::Garbled(error.to_string())
    }
}

impl From<DeserializationError> for ReadError {
    fn from(error: DeserializationError) -> Self {
        Self::Garbled(error.to_string())
    }
}

/// The error of a write whose outcome is not known, or that was not tried.
pub(crate) fn unavailable(error: &ExecutionError) -> WriteError {
    WriteError::Unavailable(Unavailable::new(error))
}

/// Whether the server says that it will never take this, or the driver that it cannot be sent. All
/// else is in doubt: a timeout may have been applied, an overload ends, a right may be granted.
pub(crate) fn is_refusal(error: &ExecutionError) -> bool {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the driver may add errors, and what is not known is in doubt"
    )]
    match error {
        ExecutionError::BadQuery(
            BadQuery::SerializationError(_) | BadQuery::ValuesTooLongForKey(..),
        ) => true,
        ExecutionError::LastAttemptError(error) => match error {
            RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_) => true,
            RequestAttemptError::DbError(error, reason) => match error {
                DbError::Invalid => true,
                // How a mutation above the bound of the commit log is answered by some versions.
                DbError::ServerError | DbError::WriteFailure { .. } => is_about_size(reason),
                _ => false,
            },
            _ => false,
        },
        _ => false,
    }
}

/// Whether it was refused because too many ask for this partition, which says nothing of others.
fn is_about_one_partition(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::RateLimitReached { .. },
            _
        ))
    )
}

/// `Rejected an oversized mutation (…)` by Cassandra, `Mutation of … bytes is too large …` by
/// ScyllaDB.
fn is_about_size(reason: &str) -> bool {
    reason.contains("oversized mutation") || reason.contains("is too large for the maximum size")
}

#[cfg(test)]
mod tests {
    use scylla::errors::OperationType;

    use super::*;

    fn answered(error: DbError, reason: &str) -> ExecutionError {
        let error = RequestAttemptError::DbError(error, reason.to_owned());
        ExecutionError::LastAttemptError(error)
    }

    #[test]
    fn a_partition_that_is_asked_too_often_does_not_stand_for_the_store() {
        let too_often = DbError::RateLimitReached {
            op_type: OperationType::Read,
            rejected_by_coordinator: true,
        };
        let is_answer = |error| ReadError::from(answered(error, "")).is_answer();
        assert!(is_answer(too_often));
        assert!(!is_answer(DbError::Overloaded));
        assert!(is_answer(DbError::Invalid));
    }

    #[test]
    fn only_what_will_never_be_taken_is_refused() {
        assert!(is_refusal(&answered(DbError::Invalid, "Batch too large")));
        let oversized = "Rejected an oversized mutation (3/2) for keyspace: parlance";
        assert!(is_refusal(&answered(DbError::ServerError, oversized)));
        for doubt in [
            answered(DbError::ServerError, "java.lang.NullPointerException"),
            answered(DbError::Overloaded, ""),
            answered(DbError::IsBootstrapping, ""),
            answered(DbError::Unauthorized, "no MODIFY permission"),
            answered(DbError::Other(0x4242), ""),
            ExecutionError::RequestTimeout(Duration::from_secs(3)),
            ExecutionError::EmptyPlan,
        ] {
            assert!(!is_refusal(&doubt), "{doubt}");
        }
    }
}
