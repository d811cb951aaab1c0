//! Errors that DynamoDB answers with when nothing is wrong with the request.

use http::StatusCode;
use serde_json::{Value, json};

/// Why a call, or one statement of a batch, is refused. All but [`Self::AccessDenied`] pass with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The table's or a partition's throughput is used up (400).
    ProvisionedThroughputExceeded,
    /// Requests come faster than a table on demand can scale (400).
    Throttling,
    /// The account's throughput is used up (400).
    RequestLimitExceeded,
    /// The role lacks a permission (400).
    AccessDenied,
    /// DynamoDB itself failed (500).
    InternalServerError,
}

impl Refusal {
    /// The status of an answer that refuses the whole call.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::ProvisionedThroughputExceeded
            | Self::Throttling
            | Self::RequestLimitExceeded
            | Self::AccessDenied => StatusCode::BAD_REQUEST,
            Self::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The body of an answer that refuses the whole call.
    pub(super) fn body(self) -> Value {
        // AccessDeniedException and ThrottlingException come from layers in front of DynamoDB in other namespaces;
        // clients read only what follows the `#`.
        let name = match self {
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::Throttling => "ThrottlingException",
            Self::RequestLimitExceeded => "RequestLimitExceeded",
            Self::AccessDenied => "AccessDeniedException",
            Self::InternalServerError => "InternalServerError",
        };
        json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": self.message() })
    }

    /// The entry of `BatchExecuteStatement`'s answer that refuses one statement (`BatchStatementErrorCodeEnum` of the
    /// API reference).
    pub(super) fn statement_response(self) -> Value {
        let code = match self {
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceeded",
            Self::Throttling => "ThrottlingError",
            Self::RequestLimitExceeded => "RequestLimitExceeded",
            Self::AccessDenied => "AccessDenied",
            Self::InternalServerError => "InternalServerError",
        };
        json!({ "Error": { "Code": code, "Message": self.message() } })
    }

    fn message(self) -> &'static str {
        match self {
            Self::ProvisionedThroughputExceeded => "The level of configured provisioned throughput was exceeded.",
            Self::Throttling => "Throughput exceeds the current capacity of the table.",
            Self::RequestLimitExceeded => "Throughput exceeds the current throughput limit of the account.",
            Self::AccessDenied => "The role is not authorized to perform this action.",
            Self::InternalServerError => "Internal server error.",
        }
    }
}
