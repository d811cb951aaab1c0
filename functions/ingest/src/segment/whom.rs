//! Whom an event of Segment's API is about, and on which device it happened.

use shared::json::Members;
use shared::limits::SUBJECT_CHARS_MAX;
use shared::outcome::Reason;

use super::not_an_id;
use crate::parsed::{Refusal, id};

/// Whom an event is about.
pub(crate) struct Whom {
    /// The user, else the device.
    pub(crate) subject: String,
    /// The device, where there is one.
    pub(crate) device: Option<String>,
    /// The member that says the subject.
    pub(crate) member: &'static str,
}

/// Texts that programs send as an `anonymousId` when they have none: what JavaScript, Python, Go and .NET write for a
/// missing value, the nil UUID, and words for somebody unknown. PostHog came to refuse such ids, too (PostHog/posthog, issues
/// 876 and 12008). A device of such a name would be everybody's, so an event with it has no device.
const NO_DEVICES: [&str; 18] = [
    "",
    "0",
    "-1",
    "00000000-0000-0000-0000-000000000000",
    "undefined",
    "null",
    "nil",
    "none",
    "nan",
    "<nil>",
    "false",
    "true",
    "[object object]",
    "unknown",
    "anonymous",
    "anonymousid",
    "guest",
    "test",
];

fn is_device(id: &str) -> bool {
    let id = id.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    !NO_DEVICES.iter().any(|none| none.eq_ignore_ascii_case(id))
}

/// Whom an event is about: by `userId`, else by `anonymousId`.
pub(crate) fn whom(members: &Members<'_>) -> Result<Whom, Refusal> {
    let named = |member: &'static str| -> Result<Option<String>, Refusal> {
        let id = id(members.get(member)).map_err(|()| not_an_id(member))?;
        id.as_deref().map_or(Ok(()), |id| within_limit(member, id))?;
        Ok(id)
    };
    let user = named("userId")?;
    let device = match (named("anonymousId"), &user) {
        (Ok(device), _) => device.filter(|device| is_device(device)),
        // What is no device does not lose an event that names its user.
        (Err(_), Some(_)) => None,
        (Err(refusal), None) => return Err(refusal),
    };
    match (user, device) {
        (Some(subject), device) => Ok(Whom { subject, device, member: "userId" }),
        (None, Some(device)) => Ok(Whom { subject: device.clone(), device: Some(device), member: "anonymousId" }),
        (None, None) => Err((Reason::NoUserAnonId, "neither userId nor anonymousId says who it is".to_owned())),
    }
}

/// Refuses an id that does not fit a key of the table.
pub(super) fn within_limit(member: &str, id: &str) -> Result<(), Refusal> {
    match id.chars().count() {
        0..=SUBJECT_CHARS_MAX => Ok(()),
        chars => Err((Reason::IdTooLong, format!("{member} has {chars} characters"))),
    }
}
