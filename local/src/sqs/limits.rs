//! The numbers of SQS that the stand-in enforces, each with the AWS page it comes from.

/// The region that every ARN names.
pub(crate) const REGION: &str = "us-east-1";
/// The account that every ARN and every queue URL names.
pub(crate) const ACCOUNT: &str = "000000000000";
/// What `SenderId` says; SQS returns the id of the IAM principal, and there is none here.
pub(crate) const SENDER_ID: &str = "AIDAHOLDFASTLOCAL0000";

/// Largest message, and largest sum of a batch, in bytes (API reference, SendMessage and SendMessageBatch).
pub(crate) const MESSAGE_BYTES_MAX: usize = 1_048_576;
/// Range of `MaximumMessageSize`, in bytes (API reference, SetQueueAttributes).
pub(crate) const MAXIMUM_MESSAGE_SIZE: (i64, i64) = (1_024, 1_048_576);
/// Range of `MessageRetentionPeriod`, in seconds: a minute to 14 days (API reference, SetQueueAttributes).
pub(crate) const RETENTION_SECONDS: (i64, i64) = (60, 1_209_600);
/// Retention of a queue that does not say: 4 days (API reference, SetQueueAttributes).
pub(crate) const RETENTION_SECONDS_DEFAULT: i64 = 345_600;
/// Range of `DelaySeconds`, of a queue and of a message (API reference, SendMessage).
pub(crate) const DELAY_SECONDS: (i64, i64) = (0, 900);
/// Range of a visibility time-out, in seconds: up to 12 hours (API reference, ChangeMessageVisibility).
pub(crate) const VISIBILITY_SECONDS: (i64, i64) = (0, 43_200);
/// Visibility time-out of a queue that does not say, in seconds (API reference, SetQueueAttributes).
pub(crate) const VISIBILITY_SECONDS_DEFAULT: i64 = 30;
/// Range of `WaitTimeSeconds` (API reference, ReceiveMessage).
pub(crate) const WAIT_SECONDS: (i64, i64) = (0, 20);
/// Range of `MaxNumberOfMessages` (API reference, ReceiveMessage).
pub(crate) const RECEIVE_MESSAGES: (i64, i64) = (1, 10);
/// Most entries of any batch (API reference, SendMessageBatch).
pub(crate) const BATCH_ENTRIES_MAX: usize = 10;
/// Longest id of a batch entry, in characters (API reference, SendMessageBatchRequestEntry).
pub(crate) const BATCH_ID_CHARS_MAX: usize = 80;
/// Longest queue name, in characters (API reference, CreateQueue).
pub(crate) const QUEUE_NAME_CHARS_MAX: usize = 80;
/// Longest message group id or deduplication id, in characters (API reference, SendMessage).
pub(crate) const GROUP_ID_CHARS_MAX: usize = 128;
/// Most attributes of a message (developer guide, message metadata).
pub(crate) const MESSAGE_ATTRIBUTES_MAX: usize = 10;
/// Longest name or type of a message attribute, in characters (developer guide, message metadata).
pub(crate) const ATTRIBUTE_NAME_CHARS_MAX: usize = 256;
/// Most messages in flight, standard and FIFO (developer guide, quotas).
pub(crate) const IN_FLIGHT_MAX: usize = 120_000;
/// How long a FIFO queue recognises a deduplication id, in milliseconds (API reference, SendMessage).
pub(crate) const DEDUPLICATION_MS: i64 = 300_000;
/// How long after a deletion its name cannot be used again, in milliseconds (API reference, DeleteQueue).
pub(crate) const DELETED_RECENTLY_MS: i64 = 60_000;
/// How long after a purge another is refused, in milliseconds (API reference, PurgeQueue).
pub(crate) const PURGE_INTERVAL_MS: i64 = 60_000;
/// Range of `maxReceiveCount` (developer guide, dead-letter queues).
pub(crate) const MAX_RECEIVE_COUNT: (i64, i64) = (1, 1_000);
/// `maxReceiveCount` of a policy that does not say (API reference, SetQueueAttributes).
pub(crate) const MAX_RECEIVE_COUNT_DEFAULT: i64 = 10;
/// Most source queues that a redrive allow policy can name (API reference, SetQueueAttributes).
pub(crate) const ALLOWED_SOURCES_MAX: usize = 10;
/// Range of `KmsDataKeyReusePeriodSeconds` (API reference, SetQueueAttributes).
pub(crate) const KMS_REUSE_SECONDS: (i64, i64) = (60, 86_400);
/// Range of a move task's `MaxNumberOfMessagesPerSecond` (API reference, StartMessageMoveTask).
pub(crate) const MOVE_RATE: (i64, i64) = (1, 500);
/// Most move tasks listed, and so kept, for a source queue (API reference, ListMessageMoveTasks).
pub(crate) const MOVE_TASKS_LISTED: (i64, i64) = (1, 10);
/// Most queues on a page of a listing (API reference, ListQueues).
pub(crate) const PAGE: (i64, i64) = (1, 1_000);
/// Most tags of a queue (developer guide, cost allocation tags).
pub(crate) const TAGS_MAX: usize = 50;

/// A message group is noisy with at least this many messages of its own in flight, if these are also more than a tenth
/// of the queue's (developer guide, fair queues).
pub(crate) const NOISY_IN_FLIGHT_MIN: usize = 30;
/// Dead-letter moves that one receive may make, so that a queue full of poison cannot hold the lock for long. Ours.
pub(crate) const MOVES_PER_RECEIVE_MAX: usize = 1_000;
/// How many of the oldest messages a shuffled receive chooses from. Ours.
pub(crate) const SHUFFLE_WINDOW: usize = 100;

/// Largest HTTP body that is parsed: 1 MiB of content at JSON's worst escaping (6 for 1), and room for the envelope.
/// Ours.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1_048_576;
/// How much of a larger body is read and thrown away, so that its sender is still listening when the answer comes.
/// Ours.
pub(crate) const BODY_BYTES_DRAINED_MAX: usize = 64 * 1_048_576;
/// How long a client may take to send its body. Ours.
pub(crate) const BODY_DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
/// Most connections at once; the next one waits to be accepted. Ours.
pub(crate) const CONNECTIONS_MAX: usize = 1_024;
