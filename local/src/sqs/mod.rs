//! A stand-in for Amazon SQS: a pure queue state machine ([`Queues`]), a journal that lets acknowledged changes survive
//! `kill -9`, and an HTTP front ([`Server`]) that speaks the AWS JSON 1.0 protocol on loopback.
//!
//! The state machine knows neither a clock nor a network nor a file: the time comes in with every call, and what it
//! decided goes out as a list of changes that the front writes to the journal before it answers. Every rule is modeled
//! on what AWS documents, not on what another stand-in does. The backlog is bounded by memory alone, as SQS's is by
//! nothing; no call that sends, receives or settles is linear in it.
//!
//! Not modeled: signatures and permissions (`AddPermission` and `RemovePermission` are refused, policies are only given
//! back), encryption, throughput quotas, `ReceiveRequestAttemptId`, and the older query protocol.
//!
//! Reading order: `limits`, `error`, `names`, `attributes`, `content`, `message` (the vocabulary); `backlog`, `queue`,
//! `change`, `queues`, `listing`, `batch`, `send`, `receive`, `settle`, `move_tasks` (the state machine); `journal`;
//! `faults`; `wire`, `actions`, `selection`, `poll`, `connection`, `front`, `server`, `window` (the shell).

mod actions;
mod attributes;
mod backlog;
mod batch;
mod change;
mod connection;
mod content;
mod error;
mod faults;
mod front;
mod journal;
mod limits;
mod listing;
mod message;
mod move_tasks;
mod names;
mod poll;
mod queue;
mod queues;
mod receive;
mod selection;
mod send;
mod server;
mod settle;
mod window;
mod wire;

#[cfg(test)]
mod tests;

pub use attributes::{QueueAttributes, RedriveAllowPolicy, RedrivePermission, RedrivePolicy};
pub use batch::{Batch, Entry};
pub use content::MessageAttribute;
pub use error::{Code, Refusal};
pub use faults::{Faults, Scope, Times};
pub use listing::Page;
pub use message::Message;
pub use move_tasks::{MoveTask, TaskStatus};
pub use names::{queue_arn, queue_name_of_arn, queue_name_of_url};
pub use queue::Depth;
pub use queues::Queues;
pub use receive::{Order, Receive, Received};
pub use send::{NewMessage, Sent};
pub use server::{Options, Server};
pub use window::Window;
pub use wire::Action;
