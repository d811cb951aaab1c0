//! Measures Holdfast side by side with the same job in Python, in Node and in plain Rust, on one machine and in one run.
//!
//! Every subject runs as Lambda runs it: a process of its own that asks a Runtime API for work. All of them call the same
//! stand-in for SQS and DynamoDB, over TLS. So figures of one run can be compared with each other; those of two runs
//! cannot.

pub mod bill;
pub mod budget;
pub mod cold;
pub mod compare;
pub mod cost;
pub mod environment;
pub mod figure;
pub mod load;
pub mod machine;
pub mod plot;
pub mod prepare;
pub mod prices;
pub mod report;
pub mod run;
pub mod runtime_api;
pub mod sink;
pub mod stats;
pub mod stored;
pub mod subject;
pub mod target;
pub mod warm;
pub mod workload;
