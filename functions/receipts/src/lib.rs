//! The `receipts` function: tells producers what has become of what they sent.
//!
//! # The contract
//!
//! It reads, and changes nothing. Whoever asks sees what the project of the write key has, and nothing of others: a
//! receipt is no credential, and one that somebody made up is looked up under the asker's own project. What is told of an
//! event is what the tables say at that moment. A fate that was told stays true, but for two: what waits comes to
//! another, and what is stored may be erased.
//!
//! It depends on the libraries of the two other functions, so that write keys, items and keys of tables are read as they
//! read them; it has nothing to do with the queue.
//!
//! # Configuration
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `EVENTS_TABLE_NAME` | required | the table of events, markers and write keys |
//! | `DEAD_LETTERS_TABLE_NAME` | required | the table of dead letters |
//! | `REQUEST_BYTES_MAX` | 1048576 | the largest body, inflated |
//! | `EVENT_BYTES_MAX` | 262144 | the largest event as its producer wrote it |
//! | `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` | no check | the memory in MiB, set by Lambda; refused if [`memory`] computes more |
//! | `STACK_NAME` | `local` | the stack, as a dimension of the metrics |

pub mod answer;
pub mod config;
pub mod fates;
pub mod handler;
pub mod memory;
pub mod missing;
pub mod route;

pub use handler::run;
