//! Listings of queues, in pages: all of them, and those that a dead-letter queue collects from.

use super::error::{Refusal, in_range};
use super::limits::PAGE;
use super::names::queue_arn;
use super::queues::Queues;

/// A page of queue names, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The names on this page.
    pub names: Vec<String>,
    /// What to pass to get the next page; `None` on the last, and always where no page size was asked for, as in SQS.
    pub next_token: Option<String>,
}

impl Queues {
    /// Lists queues whose names begin so.
    ///
    /// # Errors
    /// Refuses a page size outside 1 to 1,000.
    pub fn list_queues(&self, prefix: &str, max: Option<i64>, token: Option<&str>) -> Result<Page, Refusal> {
        let from = self.queues.range(prefix.to_owned()..).map(|(name, _)| name);
        page(from.take_while(|name| name.starts_with(prefix)), max, token)
    }

    /// Lists queues whose redrive policy names this one.
    ///
    /// # Errors
    /// Refuses a queue that does not exist, and a page size outside 1 to 1,000.
    pub fn dead_letter_sources(&self, name: &str, max: Option<i64>, token: Option<&str>) -> Result<Page, Refusal> {
        if !self.has_queue(name) {
            return Err(Refusal::no_queue());
        }
        let arn = queue_arn(name);
        page(self.sources_of(&arn), max, token)
    }

    /// Names of the queues whose redrive policy names that ARN.
    pub(crate) fn sources_of(&self, arn: &str) -> impl Iterator<Item = &String> {
        let names = self.queues.iter().filter(move |(_, queue)| {
            queue.attributes.redrive_policy.as_ref().is_some_and(|policy| policy.dead_letter_target_arn == arn)
        });
        names.map(|(name, _)| name)
    }
}

/// The token is the last name of the page before, so that a queue created between two pages shifts nothing.
fn page<'a>(names: impl Iterator<Item = &'a String>, max: Option<i64>, token: Option<&str>) -> Result<Page, Refusal> {
    let size = usize::try_from(in_range("MaxResults", max.unwrap_or(PAGE.1), PAGE)?).unwrap_or(usize::MAX);
    let mut rest = names.filter(|name| token.is_none_or(|token| name.as_str() > token)).peekable();
    let names: Vec<String> = rest.by_ref().take(size).cloned().collect();
    let more = max.is_some() && rest.peek().is_some();
    let next_token = names.last().filter(|_| more).cloned();
    Ok(Page { names, next_token })
}
