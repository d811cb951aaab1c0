//! The adapter to the write keys in the events table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use shared::keys::{USER_HOME, WRITE_KEY_SORT, write_key_attribute, write_key_partition};

use crate::auth::{KeyLookup, LookupError, Owner};

/// The write keys in a table of DynamoDB.
#[derive(Clone, Debug)]
pub struct KeyTable {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl KeyTable {
    /// The keys in `table`.
    #[must_use]
    pub fn new(client: aws_sdk_dynamodb::Client, table: String) -> Self {
        Self { client, table }
    }
}

impl KeyLookup for KeyTable {
    async fn find(&self, hash: &str) -> Result<Option<Owner>, LookupError> {
        let reply = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(write_key_partition(hash)))
            .key("sk", AttributeValue::S(WRITE_KEY_SORT.to_owned()))
            // A key works from the moment that it was made.
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| LookupError(error.into()))?;
        Ok(reply.item().and_then(owner))
    }
}

/// Reads a key's item. One that names no valid project counts as no key: its events could not be told apart.
fn owner(item: &HashMap<String, AttributeValue>) -> Option<Owner> {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let disabled = item.get(write_key_attribute::DISABLED).and_then(|value| value.as_bool().ok()) == Some(&true);
    let project = text(write_key_attribute::PROJECT).filter(|project| shared::keys::is_project(project))?;
    let source = text(write_key_attribute::SOURCE).filter(|source| shared::keys::is_project(source))?;
    let secret = text(write_key_attribute::SECRET).filter(|secret| !secret.is_empty());
    let lives_with_user = text(write_key_attribute::HOME).as_deref() == Some(USER_HOME);
    (!disabled).then_some(Owner { project, source, secret, lives_with_user })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_and_enabled_key_has_an_owner() {
        let item = |pairs: &[(&str, AttributeValue)]| {
            owner(&pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let whole = [("project", text("dev")), ("source", text("web"))];
        let owner = Owner { project: "dev".into(), source: "web".into(), secret: None, lives_with_user: false };
        assert_eq!(item(&whole), Some(owner));
        let [project, source] = whole;
        for (home, expected) in [("user", true), ("device", false)] {
            let found = item(&[project.clone(), source.clone(), ("home", text(home))]).unwrap();
            assert_eq!(found.lives_with_user, expected, "{home}");
        }
        let signed = item(&[project.clone(), source.clone(), ("secret", text("s3cret"))]).unwrap();
        assert_eq!(signed.secret.as_deref(), Some("s3cret"));
        assert!(!format!("{signed:?}").contains("s3cret"), "a secret stays out of logs");
        assert!(item(&[project.clone(), source.clone(), ("disabled", AttributeValue::Bool(false))]).is_some());
        assert!(item(&[project.clone(), source.clone(), ("disabled", AttributeValue::Bool(true))]).is_none());
        assert!(item(&[project]).is_none());
        assert!(item(&[("project", text("Not A Project")), source]).is_none());
    }
}
