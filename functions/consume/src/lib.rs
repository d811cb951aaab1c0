//! The `consume` function: takes messages from the queue and gives every event in them its fate.
//!
//! # The delivery contract
//!
//! A message is reported as done only when every event in it is stored, a duplicate, or dead-lettered with its reason
//! and whole body. What may pass by itself (throttling, time-outs, missing permissions) is never a dead letter: the
//! message goes back to the queue. Each message is settled on its own; one that is poison, or whose decoding panics,
//! touches no other. All effects are conditional writes keyed by identity, so that delivering a message again, in
//! whole or in part, changes nothing.
//!
//! # Configuration
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `EVENTS_QUEUE_URL` | required | the queue that messages come from |
//! | `QUARANTINE_QUEUE_URL` | required | its dead-letter queue |
//! | `EVENTS_TABLE_NAME` | required | the table of events, profiles and markers |
//! | `DEAD_LETTERS_TABLE_NAME` | required | the table of dead letters |
//! | `SPILL_TABLE_NAME` | required | the table of messages that the queue did not take |
//! | `RECEIVES_MAX` | required | the queue's `maxReceiveCount` |
//! | `PACKED_PERIOD` | `never` | the hours whose events are kept in bundles: see [`period`] |
//! | `DEAD_LETTERS_RETENTION_DAYS` | 90 | how long a dead letter is kept |
//! | `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` | no check | the memory in MiB, set by Lambda; refused if [`memory`] computes more |
//! | `STACK_NAME` | `local` | the stack, as a dimension of the metrics |

pub mod backoff;
pub mod bundle;
pub mod claim;
pub mod compressed;
pub mod config;
pub mod dead_letter;
pub mod decode;
pub mod delete;
pub mod deliver;
pub mod dynamo_table;
pub mod erase;
pub mod fold;
pub mod handler;
pub mod incoming;
pub mod insert;
pub mod late;
pub mod letters;
pub mod links;
pub mod marker;
pub mod memory;
pub mod names;
pub mod operation;
pub mod packed;
pub mod period;
pub mod profile;
pub mod quarantine;
pub mod queue;
pub mod receipts;
pub mod redrive;
pub mod remains;
pub mod settle;
pub mod spilled;
pub mod sqs_queue;
pub mod store;
pub mod table;
pub mod tombstone;
pub mod verify;

pub use handler::run;
