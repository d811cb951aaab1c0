//! The adapter to the write keys, as far as they are changed.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use consume::dynamo_table::cause;
use shared::keys::{WRITE_KEY_SORT, write_key_attribute, write_key_partition};
use shared::outcome::Cause;

use crate::keys::KeySwitch;

/// The write keys in a table of DynamoDB.
#[derive(Clone, Debug)]
pub struct WriteKeys {
    client: Client,
    table: String,
}

impl WriteKeys {
    /// The keys in the table of that name.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}

impl KeySwitch for WriteKeys {
    async fn switch(&self, hash: &str, disabled: bool) -> Result<bool, Cause> {
        let updated = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(write_key_partition(hash)))
            .key("sk", AttributeValue::S(WRITE_KEY_SORT.to_owned()))
            .update_expression("SET #disabled = :disabled")
            // Otherwise it would make a key that is nobody's.
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#disabled", write_key_attribute::DISABLED)
            .expression_attribute_values(":disabled", AttributeValue::Bool(disabled))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(cause("switch a key", &error)),
        }
    }
}
