//! What SQS says of a queue.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::QueueAttributeName;

use super::{CallError, Clients};

impl Clients {
    /// All attributes of a queue, by their names.
    ///
    /// # Errors
    /// There is no such queue, or the call failed.
    pub async fn queue_attributes(&self, url: &str) -> Result<BTreeMap<String, String>, CallError> {
        let request = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let reply = request.send().await.map_err(|error| CallError::of("sqs:GetQueueAttributes", &error))?;
        let attributes = reply.attributes().into_iter().flatten();
        Ok(attributes.map(|(name, value)| (name.as_str().to_owned(), value.clone())).collect())
    }
}
