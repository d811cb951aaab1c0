//! The adapter to a table of DynamoDB.
//!
//! Inserts go as PartiQL statements, 25 a call: the only batched write of DynamoDB that is conditional, and with one
//! write unit for each KiB as cheap as the unconditional one. A statement whose key exists is answered `DuplicateItem`
//! on its own and leaves its neighbours alone.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementErrorCodeEnum, BatchStatementRequest, DeleteRequest,
    KeysAndAttributes, PutRequest, WriteRequest,
};
use shared::outcome::Cause;

use crate::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, Table, Value};

/// Calls for one batch of keys until DynamoDB has dealt with every one; it may leave some out under load.
const BATCH_ROUNDS: usize = 4;
/// Items of a page of a query. It bounds what one page holds in memory, at DynamoDB's 1 MB at the most.
const QUERY_PAGE: i32 = 250;
/// Items of a page of a scan, which holds 1 MB at the most.
const SCAN_PAGE: i32 = 100;

/// A table of DynamoDB with a partition key `pk` and a sort key `sk`, both texts.
#[derive(Clone, Debug)]
pub struct DynamoTable {
    client: Client,
    name: String,
}

impl DynamoTable {
    /// The table of that name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    fn statement(&self, item: &Item) -> BatchStatementRequest {
        let mut names = String::from("'pk':?,'sk':?");
        let mut parameters = vec![AttributeValue::S(item.key.pk.clone()), AttributeValue::S(item.key.sk.clone())];
        for (name, value) in &item.attributes {
            names.push_str(",'");
            names.push_str(name);
            names.push_str("':?");
            parameters.push(attribute(value));
        }
        let text = format!("INSERT INTO \"{}\" VALUE {{{names}}}", self.name);
        BatchStatementRequest::builder()
            .statement(text)
            .set_parameters(Some(parameters))
            .build()
            .expect("a statement has been given")
    }

    async fn insert_one_call(&self, items: &[Item]) -> Result<Vec<Insert>, Failure> {
        let statements = items.iter().map(|item| self.statement(item)).collect();
        let reply = self.client.batch_execute_statement().set_statements(Some(statements)).send().await;
        let reply = reply.map_err(|error| Failure::of("insert", &error))?;
        let mut results: Vec<Insert> =
            reply.responses().iter().map(|response| response.error().map_or(Insert::Done, statement_failure)).collect();
        // What the reply does not mention is not known to be there.
        results.resize(items.len(), Insert::Failed(Cause::Unavailable));
        Ok(results)
    }

    /// Makes writes that hang on no condition, again as long as DynamoDB leaves some out.
    async fn write(&self, call: &'static str, mut wanted: Vec<WriteRequest>) -> Result<(), Cause> {
        for _ in 0..BATCH_ROUNDS {
            if wanted.is_empty() {
                return Ok(());
            }
            let reply = self.client.batch_write_item().request_items(&self.name, wanted).send().await;
            let reply = reply.map_err(|error| Failure::of(call, &error).cause())?;
            wanted = reply.unprocessed_items().and_then(|tables| tables.get(&self.name)).cloned().unwrap_or_default();
        }
        if wanted.is_empty() { Ok(()) } else { Err(Cause::Throttled) }
    }

    /// Reads items, again as long as DynamoDB leaves some out.
    async fn read(
        &self,
        keys: &[Key],
        only: Option<&'static str>,
        consistent: bool,
    ) -> Result<HashMap<Key, Attributes>, Cause> {
        let mut found = HashMap::new();
        let mut wanted: Vec<HashMap<String, AttributeValue>> = keys.iter().map(key_attributes).collect();
        for _ in 0..BATCH_ROUNDS {
            if wanted.is_empty() {
                return Ok(found);
            }
            let mut request = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(consistent);
            if let Some(name) = only {
                request = request
                    .projection_expression("#pk, #sk, #only")
                    .expression_attribute_names("#pk", "pk")
                    .expression_attribute_names("#sk", "sk")
                    .expression_attribute_names("#only", name);
            }
            let request = request.build().expect("keys have been given");
            let reply = self.client.batch_get_item().request_items(&self.name, request).send().await;
            let reply = reply.map_err(|error| Failure::of("get", &error).cause())?;
            for item in reply.responses().and_then(|tables| tables.get(&self.name)).into_iter().flatten() {
                if let Some((key, attributes)) = read(item) {
                    found.insert(key, attributes);
                }
            }
            let left = reply.unprocessed_keys().and_then(|tables| tables.get(&self.name));
            wanted = left.map(|left| left.keys().to_vec()).unwrap_or_default();
        }
        if wanted.is_empty() { Ok(found) } else { Err(Cause::Throttled) }
    }
}

impl Table for DynamoTable {
    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        match self.insert_one_call(items).await {
            Ok(results) => results,
            Err(Failure::Retryable(cause)) => vec![Insert::Failed(cause); items.len()],
            // The call was refused for one of its items; which of them, each one tells when it comes alone.
            Err(Failure::Invalid(_)) if items.len() > 1 => {
                let mut results = Vec::with_capacity(items.len());
                for item in items {
                    results.push(match self.insert_one_call(std::slice::from_ref(item)).await {
                        Ok(mut alone) => alone.pop().unwrap_or(Insert::Failed(Cause::Unavailable)),
                        Err(Failure::Retryable(cause)) => Insert::Failed(cause),
                        Err(Failure::Invalid(detail)) => Insert::Refused(detail),
                    });
                }
                results
            }
            Err(Failure::Invalid(detail)) => vec![Insert::Refused(detail); items.len()],
        }
    }

    async fn get(&self, keys: &[Key], only: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        self.read(keys, only, true).await
    }

    async fn get_eventually(
        &self,
        keys: &[Key],
        only: Option<&'static str>,
    ) -> Result<HashMap<Key, Attributes>, Cause> {
        self.read(keys, only, false).await
    }

    async fn replace(&self, item: &Item, guard: Guard) -> Result<bool, Replace> {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(item_attributes(item)));
        let request = match guard {
            Guard::Absent => request.condition_expression("attribute_not_exists(pk)"),
            Guard::Equals(name, number) => request
                .condition_expression("#guard = :guard")
                .expression_attribute_names("#guard", name)
                .expression_attribute_values(":guard", AttributeValue::N(number.to_string())),
        };
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(match Failure::of("replace", &error) {
                Failure::Retryable(cause) => Replace::Failed(cause),
                Failure::Invalid(detail) => Replace::Refused(detail),
            }),
        }
    }

    async fn query(&self, partition: &str, prefix: &str, after: Option<&str>) -> Result<Page, Cause> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let start =
            after.map(|sort| HashMap::from([("pk".to_owned(), text(partition)), ("sk".to_owned(), text(sort))]));
        let reply = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(partition))
            .expression_attribute_values(":prefix", text(prefix))
            .set_exclusive_start_key(start)
            .limit(QUERY_PAGE)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Failure::of("query", &error).cause())?;
        let items = reply.items().iter().filter_map(read).collect();
        Ok(Page { items, is_last: reply.last_evaluated_key().is_none() })
    }

    async fn scan(&self, after: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        let request = self.client.scan().table_name(&self.name).limit(SCAN_PAGE).consistent_read(true);
        let request = request.set_exclusive_start_key(after.map(key_attributes));
        let reply = request.send().await.map_err(|error| Failure::of("scan", &error).cause())?;
        Ok(reply.items().iter().filter_map(read).collect())
    }

    async fn put(&self, items: &[Item]) -> Result<(), Cause> {
        let put = |item| {
            let put = PutRequest::builder().set_item(Some(item_attributes(item))).build();
            WriteRequest::builder().put_request(put.expect("an item has been given")).build()
        };
        self.write("put", items.iter().map(put).collect()).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), Cause> {
        let delete = |key| {
            let delete = DeleteRequest::builder().set_key(Some(key_attributes(key))).build();
            WriteRequest::builder().delete_request(delete.expect("a key has been given")).build()
        };
        self.write("delete", keys.iter().map(delete).collect()).await
    }
}

/// A value as DynamoDB takes it.
#[must_use]
pub fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Text(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Flag(flag) => AttributeValue::Bool(*flag),
        Value::Bytes(bytes) => AttributeValue::B(Blob::new(bytes.clone())),
    }
}

fn item_attributes(item: &Item) -> HashMap<String, AttributeValue> {
    let mut attributes = key_attributes(&item.key);
    attributes.extend(item.attributes.iter().map(|(name, value)| ((*name).to_owned(), attribute(value))));
    attributes
}

fn key_attributes(key: &Key) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.pk.clone())),
        ("sk".to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}

/// Reads an item: `None` if it has no key of ours. Attributes of kinds that we do not write are left out.
#[must_use]
pub fn read(item: &HashMap<String, AttributeValue>) -> Option<(Key, Attributes)> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let key = Key { pk: text("pk")?, sk: text("sk")? };
    let mut attributes = Attributes::new();
    for (name, value) in item {
        if let Ok(text) = value.as_s() {
            attributes.insert(name.clone(), Value::Text(text.clone()));
        } else if let Some(number) = value.as_n().ok().and_then(|number| number.parse().ok()) {
            attributes.insert(name.clone(), Value::Number(number));
        } else if let Ok(flag) = value.as_bool() {
            attributes.insert(name.clone(), Value::Flag(*flag));
        } else if let Ok(bytes) = value.as_b() {
            attributes.insert(name.clone(), Value::Bytes(bytes.as_ref().to_vec()));
        }
    }
    Some((key, attributes))
}

/// Why a call that has no item of ours in it failed: such a request is never at fault for an event.
pub fn cause<E>(call: &'static str, error: &SdkError<E>) -> Cause
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    Failure::of(call, error).cause()
}

/// A failed call, classified once.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// It may pass, by itself or with a person's help.
    Retryable(Cause),
    /// The request itself is at fault.
    Invalid(String),
}

impl Failure {
    fn of<E>(call: &'static str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let failure = match error {
            SdkError::TimeoutError(_) => Failure::Retryable(Cause::TimedOut),
            SdkError::ServiceError(service) => Self::of_code(service.err().code(), service.err().message()),
            // No connection, a reply that cannot be read, and what later versions of the SDK may add.
            SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => {
                Failure::Retryable(Cause::Unavailable)
            }
        };
        if let Failure::Retryable(cause) = &failure {
            let code = error.code();
            tracing::warn!(call, cause = cause.tag(), code, "the table did not take a call");
        }
        failure
    }

    /// Why a call without an item of ours in it failed: a request of such a call is never at fault for an event.
    fn cause(self) -> Cause {
        match self {
            Failure::Retryable(cause) => cause,
            Failure::Invalid(_) => Cause::Denied,
        }
    }

    fn of_code(code: Option<&str>, message: Option<&str>) -> Self {
        match code.unwrap_or_default() {
            "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded" => {
                Failure::Retryable(Cause::Throttled)
            }
            "TransactionConflictException" => Failure::Retryable(Cause::Contended),
            "AccessDeniedException"
            | "ResourceNotFoundException"
            | "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException" => Failure::Retryable(Cause::Denied),
            "ValidationException" | "ItemCollectionSizeLimitExceededException" | "SerializationException" => {
                Failure::Invalid(message.unwrap_or("the item is not valid").to_owned())
            }
            // What is not known to be final is not final.
            _ => Failure::Retryable(Cause::Unavailable),
        }
    }
}

fn statement_failure(error: &BatchStatementError) -> Insert {
    use BatchStatementErrorCodeEnum as Code;
    match error.code() {
        Some(Code::DuplicateItem | Code::ConditionalCheckFailed) => Insert::Exists,
        Some(Code::ValidationError | Code::ItemCollectionSizeLimitExceeded) => {
            Insert::Refused(error.message().unwrap_or("the item is not valid").to_owned())
        }
        Some(Code::ProvisionedThroughputExceeded | Code::RequestLimitExceeded | Code::ThrottlingError) => {
            Insert::Failed(Cause::Throttled)
        }
        Some(Code::AccessDenied | Code::ResourceNotFound) => Insert::Failed(Cause::Denied),
        Some(Code::TransactionConflict) => Insert::Failed(Cause::Contended),
        // An internal error, and codes of the future: what is not known to be final is not final.
        _ => Insert::Failed(Cause::Unavailable),
    }
}
