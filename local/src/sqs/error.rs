//! Refusals: AWS's error codes with their three spellings (shape, query code, HTTP status), and what was wrong.

/// Why a call, or one entry of a batch, was refused. A closed list: what is not here, the stand-in never answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No queue of that name.
    QueueDoesNotExist,
    /// A queue of that name exists with other attributes.
    QueueNameExists,
    /// A queue of that name was deleted less than 60 seconds ago.
    QueueDeletedRecently,
    /// No such queue attribute.
    InvalidAttributeName,
    /// A queue attribute's value is out of range or unreadable.
    InvalidAttributeValue,
    /// A parameter is out of range or does not fit the queue.
    InvalidParameterValue,
    /// A parameter that must be there is not.
    MissingParameter,
    /// The text has characters that XML does not allow.
    InvalidMessageContents,
    /// More than 10 entries.
    TooManyEntriesInBatchRequest,
    /// No entry.
    EmptyBatchRequest,
    /// Two entries with one id.
    BatchEntryIdsNotDistinct,
    /// An entry's id is empty, too long or has characters that are not allowed.
    InvalidBatchEntryId,
    /// The entries are together larger than 1 MiB.
    BatchRequestTooLong,
    /// The receipt handle was not issued by this queue.
    ReceiptHandleIsInvalid,
    /// The message is not in flight, so it has no visibility time-out to change.
    MessageNotInflight,
    /// The queue was purged less than 60 seconds ago.
    PurgeQueueInProgress,
    /// Too many messages in flight.
    OverLimit,
    /// No such queue or task, in the calls about move tasks.
    ResourceNotFound,
    /// The operation is not possible now, or not offered here.
    UnsupportedOperation,
    /// Too many requests; try again later.
    RequestThrottled,
    /// The body is not the JSON that the action takes.
    Serialization,
    /// No such action.
    InvalidAction,
    /// The change could not be made durable.
    InternalError,
    /// The service cannot answer now.
    ServiceUnavailable,
}

impl Code {
    /// The error's shape as the `__type` of a JSON body names it.
    pub fn shape(self) -> &'static str {
        match self {
            Code::QueueDoesNotExist => "com.amazonaws.sqs#QueueDoesNotExist",
            Code::QueueNameExists => "com.amazonaws.sqs#QueueNameExists",
            Code::QueueDeletedRecently => "com.amazonaws.sqs#QueueDeletedRecently",
            Code::InvalidAttributeName => "com.amazonaws.sqs#InvalidAttributeName",
            Code::InvalidAttributeValue => "com.amazonaws.sqs#InvalidAttributeValue",
            Code::InvalidParameterValue => "com.amazon.coral.service#InvalidParameterValueException",
            Code::MissingParameter => "com.amazon.coral.service#MissingRequiredParameterException",
            Code::InvalidMessageContents => "com.amazonaws.sqs#InvalidMessageContents",
            Code::TooManyEntriesInBatchRequest => "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
            Code::EmptyBatchRequest => "com.amazonaws.sqs#EmptyBatchRequest",
            Code::BatchEntryIdsNotDistinct => "com.amazonaws.sqs#BatchEntryIdsNotDistinct",
            Code::InvalidBatchEntryId => "com.amazonaws.sqs#InvalidBatchEntryId",
            Code::BatchRequestTooLong => "com.amazonaws.sqs#BatchRequestTooLong",
            Code::ReceiptHandleIsInvalid => "com.amazonaws.sqs#ReceiptHandleIsInvalid",
            Code::MessageNotInflight => "com.amazonaws.sqs#MessageNotInflight",
            Code::PurgeQueueInProgress => "com.amazonaws.sqs#PurgeQueueInProgress",
            Code::OverLimit => "com.amazonaws.sqs#OverLimit",
            Code::ResourceNotFound => "com.amazonaws.sqs#ResourceNotFoundException",
            Code::UnsupportedOperation => "com.amazonaws.sqs#UnsupportedOperation",
            Code::RequestThrottled => "com.amazonaws.sqs#RequestThrottled",
            Code::Serialization => "com.amazon.coral.service#SerializationException",
            Code::InvalidAction => "com.amazon.coral.service#UnknownOperationException",
            Code::InternalError => "com.amazon.coral.service#InternalFailure",
            Code::ServiceUnavailable => "com.amazon.coral.service#ServiceUnavailableException",
        }
    }

    /// The code that SQS's older query protocol used: the SDKs match on it (`x-amzn-query-error`), and the `Code` of a
    /// batch's failed entry is it.
    pub fn query_code(self) -> &'static str {
        match self {
            Code::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue",
            Code::QueueNameExists => "QueueAlreadyExists",
            Code::QueueDeletedRecently => "AWS.SimpleQueueService.QueueDeletedRecently",
            Code::InvalidAttributeName => "InvalidAttributeName",
            Code::InvalidAttributeValue => "InvalidAttributeValue",
            Code::InvalidParameterValue => "InvalidParameterValue",
            Code::MissingParameter => "MissingParameter",
            Code::InvalidMessageContents => "InvalidMessageContents",
            Code::TooManyEntriesInBatchRequest => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            Code::EmptyBatchRequest => "AWS.SimpleQueueService.EmptyBatchRequest",
            Code::BatchEntryIdsNotDistinct => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            Code::InvalidBatchEntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            Code::BatchRequestTooLong => "AWS.SimpleQueueService.BatchRequestTooLong",
            Code::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Code::MessageNotInflight => "AWS.SimpleQueueService.MessageNotInflight",
            Code::PurgeQueueInProgress => "AWS.SimpleQueueService.PurgeQueueInProgress",
            Code::OverLimit => "OverLimit",
            Code::ResourceNotFound => "ResourceNotFoundException",
            Code::UnsupportedOperation => "AWS.SimpleQueueService.UnsupportedOperation",
            Code::RequestThrottled => "RequestThrottled",
            Code::Serialization => "SerializationException",
            Code::InvalidAction => "InvalidAction",
            Code::InternalError => "InternalError",
            Code::ServiceUnavailable => "ServiceUnavailable",
        }
    }

    /// The HTTP status that goes with the code: 400, but for the two that are the service's own fault.
    pub fn status(self) -> u16 {
        match self {
            Code::InternalError => 500,
            Code::ServiceUnavailable => 503,
            Code::QueueDoesNotExist
            | Code::QueueNameExists
            | Code::QueueDeletedRecently
            | Code::InvalidAttributeName
            | Code::InvalidAttributeValue
            | Code::InvalidParameterValue
            | Code::MissingParameter
            | Code::InvalidMessageContents
            | Code::TooManyEntriesInBatchRequest
            | Code::EmptyBatchRequest
            | Code::BatchEntryIdsNotDistinct
            | Code::InvalidBatchEntryId
            | Code::BatchRequestTooLong
            | Code::ReceiptHandleIsInvalid
            | Code::MessageNotInflight
            | Code::PurgeQueueInProgress
            | Code::OverLimit
            | Code::ResourceNotFound
            | Code::UnsupportedOperation
            | Code::RequestThrottled
            | Code::Serialization
            | Code::InvalidAction => 400,
        }
    }

    /// Whether the caller is to blame, which is `SenderFault` in a batch's failed entry.
    pub fn is_sender_fault(self) -> bool {
        self.status() < 500
    }
}

/// A refused call or batch entry. Nothing of it was applied, except where the code is `InternalError`: then it may have
/// been, and was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.query_code())]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// What was wrong, for a person.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(Code::InvalidParameterValue, message)
    }

    pub(crate) fn missing(parameter: &str) -> Refusal {
        Refusal::new(Code::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    pub(crate) fn no_queue() -> Refusal {
        Refusal::new(Code::QueueDoesNotExist, "The specified queue does not exist.")
    }
}

/// Refuses a number that is outside its range, in SQS's words.
pub(crate) fn in_range(parameter: &str, value: i64, (low, high): (i64, i64)) -> Result<i64, Refusal> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    Err(Refusal::invalid(format!(
        "Value {value} for parameter {parameter} is invalid. Reason: Must be between {low} and {high}, if provided."
    )))
}
