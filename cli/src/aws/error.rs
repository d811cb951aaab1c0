//! Calls of AWS that came to nothing, told to a person.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// A call that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {detail}")]
pub struct CallError {
    /// The call, as IAM names its permission.
    pub call: &'static str,
    /// The service's code; `None` if it did not answer.
    pub code: Option<String>,
    /// What went wrong.
    pub detail: String,
}

impl CallError {
    /// A call that the SDK reports as failed.
    pub(super) fn of<E>(call: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let detail = match (&code, error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.clone(),
            (None, _) => unanswered(error),
        };
        Self { call, code, detail }
    }

    /// An answer in which something is missing.
    pub(super) fn incomplete(call: &'static str, detail: impl Into<String>) -> Self {
        Self { call, code: None, detail: detail.into() }
    }

    /// Whether the service says that what was asked for is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        let known = ["ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"];
        self.code.as_deref().is_some_and(|code| known.contains(&code))
    }
}

/// Why there was no answer. The SDK's own texts say only that a call failed; what it failed for is the last in the chain.
fn unanswered(error: &(dyn Error + 'static)) -> String {
    let (mut innermost, mut next) = (String::new(), Some(error));
    let mut is_unsigned = false;
    while let Some(cause) = next {
        innermost = cause.to_string();
        is_unsigned |= innermost.contains("credentials");
        next = cause.source();
    }
    if is_unsigned {
        return format!("no credentials for AWS were found: sign in, or name a --profile ({innermost})");
    }
    innermost
}
