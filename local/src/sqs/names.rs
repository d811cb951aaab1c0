//! Names of queues: what is allowed, and how a name, an ARN and a URL become one another.

use super::error::Refusal;
use super::limits::{ACCOUNT, QUEUE_NAME_CHARS_MAX, REGION};

/// What the name of a FIFO queue ends in, and no other's can.
pub(crate) const FIFO_SUFFIX: &str = ".fifo";

/// The ARN of the queue of that name.
pub fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// The name in a queue's ARN; `None` if it is of another service, region or account.
pub fn queue_name_of_arn(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:aws:sqs:")?.strip_prefix(REGION)?.strip_prefix(':')?;
    name.strip_prefix(ACCOUNT)?.strip_prefix(':').filter(|name| !name.is_empty())
}

/// The name in a queue's URL. Only the path counts: clients reach the stand-in under names of their own (`localhost`, a
/// container's name), and the host in the URL is whichever the client saw first.
pub fn queue_name_of_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let (account, name) = path.split_once('/')?;
    let name = name.strip_suffix('/').unwrap_or(name);
    (account == ACCOUNT && !name.is_empty() && !name.contains('/')).then_some(name)
}

/// The path of a queue's URL.
pub(crate) fn queue_path(name: &str) -> String {
    format!("/{ACCOUNT}/{name}")
}

/// Refuses a name that no queue can have: 1 to 80 letters, digits, hyphens and underscores, and `.fifo` at the end of a
/// FIFO queue's and only there.
pub(crate) fn check_queue_name(name: &str, fifo: bool) -> Result<(), Refusal> {
    let stem = name.strip_suffix(FIFO_SUFFIX);
    if fifo != stem.is_some() {
        return Err(Refusal::invalid(match fifo {
            true => {
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
                     must end with .fifo suffix and be 1 to 80 in length."
            }
            false => "The name of a queue that is not FIFO cannot end with the .fifo suffix.",
        }));
    }
    let stem = stem.unwrap_or(name);
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if stem.is_empty() || name.len() > QUEUE_NAME_CHARS_MAX || !stem.chars().all(legal) {
        return Err(Refusal::invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    Ok(())
}
