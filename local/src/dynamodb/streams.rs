//! Reading the streams of the tables, inside this process.
//!
//! It is the engine's own interface, not its HTTP one: the faults of the tables do not reach it, as on AWS streams have an
//! endpoint of their own.

use anyhow::Context;
use dynoxide::Database;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use serde_json::Value;

/// The streams of one database. Clones read the same.
#[derive(Clone)]
pub struct Streams {
    database: Database,
}

/// What one read of a shard gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In the order in which the items were changed; at most 1,000.
    pub records: Vec<Value>,
    /// Where to read on; `None` at the end of a shard that is closed.
    pub next: Option<String>,
}

impl Streams {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The shards of a table's stream, each as an iterator at its oldest record.
    ///
    /// # Errors
    /// The table does not exist or has no stream, or the database cannot be read.
    pub async fn shards(&self, table: &str) -> anyhow::Result<Vec<String>> {
        let table = table.to_owned();
        self.blocking(move |database| {
            let wanted = ListStreamsRequest { table_name: Some(table.clone()), ..ListStreamsRequest::default() };
            let stream = database.list_streams(wanted)?.streams.into_iter().next();
            let stream_arn = stream.with_context(|| format!("the table {table} has no stream"))?.stream_arn;
            let wanted = DescribeStreamRequest { stream_arn: stream_arn.clone(), ..DescribeStreamRequest::default() };
            let shards = database.describe_stream(wanted)?.stream_description.shards;
            let iterator = |shard_id| {
                let wanted = GetShardIteratorRequest {
                    stream_arn: stream_arn.clone(),
                    shard_id,
                    shard_iterator_type: "TRIM_HORIZON".to_owned(),
                    sequence_number: None,
                };
                database.get_shard_iterator(wanted)?.shard_iterator.context("a shard without an iterator")
            };
            shards.into_iter().map(|shard| iterator(shard.shard_id)).collect()
        })
        .await
    }

    /// Reads on from an iterator.
    ///
    /// # Errors
    /// Its table does not exist any more, or the database cannot be read.
    pub async fn read(&self, iterator: &str) -> anyhow::Result<Page> {
        let wanted = GetRecordsRequest { shard_iterator: iterator.to_owned(), limit: None };
        self.blocking(move |database| {
            let read = database.get_records(wanted)?;
            let records = read.records.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
            Ok(Page { records, next: read.next_shard_iterator })
        })
        .await
    }

    /// The engine waits for the disk, and for the requests before this one, which tasks must not.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || read(&database)).await.context("the read was broken off")?
    }
}
