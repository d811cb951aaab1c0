//! The `ingest` function: takes tracking calls over HTTP and makes them durable.
//!
//! # The accept contract
//!
//! A 200 is sent only after the queue has confirmed every event of the request, or the spill table has, where the queue
//! does not take them; items that can never be stored travel with them as refused, to become dead letters. Everything that a retry can cure is answered 503 with `Retry-After`,
//! everything that it cannot with 400, 401, 404 or 413. Either all events of a request are durable, or the producer is
//! told that it must send the request again. A request that is accepted gets the id of a receipt ([`shared::receipt`]),
//! by which its producer can ask what became of it.
//!
//! A pixel is answered with its image and 200 even where nothing of it can be kept, since nobody behind it could do
//! anything about that; but it too is 503 where its event could not be made durable.
//!
//! # Configuration
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `EVENTS_QUEUE_URL` | required | the queue that events go to |
//! | `EVENTS_TABLE_NAME` | required | the table that holds the write keys |
//! | `SPILL_TABLE_NAME` | required | the table for messages that the queue does not take |
//! | `REQUEST_BYTES_MAX` | 1048576 | the largest body, inflated |
//! | `EVENT_BYTES_MAX` | 262144 | the largest event as its producer wrote it |
//! | `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` | no check | the memory in MiB, set by Lambda; refused if [`memory`] computes more |
//! | `STACK_NAME` | `local` | the stack, as a dimension of the metrics |

pub mod accept;
pub mod auth;
pub mod body;
pub mod breaker;
pub mod config;
pub mod durable;
pub mod form;
pub mod handler;
pub mod identify;
pub mod key_table;
pub mod memory;
pub mod multipart;
pub mod pack;
pub mod parameters;
pub mod parsed;
pub mod queue;
pub mod response;
pub mod route;
pub mod segment;
pub mod settings;
pub mod spill;
pub mod time;
pub mod vero;
pub mod webhook;

pub use handler::run;
