//! What each of Vero's calls says: its own parameters, checked.

use serde_json::value::RawValue;
use shared::event::Kind;
use shared::json::{Members, ObjectWriter, as_object, string_text};

use super::{bad, within_limit};
use crate::parsed::{address, id, is_email, string};
use crate::response::Problem;
use crate::route::VeroCall;

/// Whom a call is about.
pub(super) struct Whom {
    /// The id, else the e-mail address.
    pub(super) subject: String,
    /// The address of a call that names nobody else. It is a home like a device: the events of whoever is known by it, and
    /// the user's whose address it turns out to be.
    pub(super) device: Option<String>,
    /// The address of a call that names an id, too.
    pub(super) address: Option<String>,
    /// The parameter that says the subject.
    member: &'static str,
}

impl Whom {
    fn user(subject: String, address: Option<String>) -> Self {
        Self { subject, device: None, address, member: "id" }
    }
}

/// What one call says, before the rules that all calls share.
pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) whom: Whom,
    pub(super) name: Option<String>,
    pub(super) target: Option<String>,
    pub(super) data: Option<Box<RawValue>>,
    /// The parameters that are in the fields above and need not be kept twice.
    pub(super) taken: Vec<&'static str>,
}

/// Reads a call's own parameters.
///
/// # Errors
/// [`Problem::BadParameter`] with what is missing or wrong.
pub(super) fn said(call: VeroCall, members: &Members<'_>) -> Result<Said, Problem> {
    match call {
        VeroCall::EventsTrack => events_track(members),
        VeroCall::UsersTrack => {
            let data = optional_object(members, "data")?;
            with_traits(members, data, "data", &["email", "phone_number", "channels"])
        }
        VeroCall::UsersEdit => {
            let changes = optional_object(members, "changes")?.ok_or_else(|| bad("changes is missing"))?;
            with_traits(members, Some(changes), "changes", &["email"])
        }
        VeroCall::UsersReidentify => users_reidentify(members),
        VeroCall::UsersTagsEdit => users_tags_edit(members),
        VeroCall::UsersUnsubscribe => about(Kind::Unsubscribe, members),
        VeroCall::UsersResubscribe => about(Kind::Resubscribe, members),
        VeroCall::UsersDelete => about(Kind::Delete, members),
    }
}

fn events_track(members: &Members<'_>) -> Result<Said, Problem> {
    let identity = optional_object(members, "identity")?.ok_or_else(|| bad("identity is missing"))?;
    let identity = Members::parse(identity.get()).map_err(|_| bad("identity is not an object"))?;
    let whom = whom(&identity)?;
    let name = members.get("event_name").ok_or_else(|| bad("event_name is missing"))?;
    let name = string(name).ok_or_else(|| bad("event_name is not a string"))?;
    within_limit("event_name", &name)?;
    if name.is_empty() {
        return Err(bad("event_name is empty"));
    }
    let data = optional_object(members, "data")?.map(ToOwned::to_owned);
    let taken = vec!["event_name", "data"];
    Ok(Said { kind: Kind::Track, whom, name: Some(name), target: None, data, taken })
}

/// A call that gives a user traits: those in `data`, the parameter called `data_member`, and those `beside` it, which
/// say the same more surely than a property of the same name in it.
fn with_traits(
    members: &Members<'_>,
    data: Option<&RawValue>,
    data_member: &'static str,
    beside: &[&'static str],
) -> Result<Said, Problem> {
    let mut whom = whom(members)?;
    let mut traits = ObjectWriter::default();
    if let Some(data) = data {
        let not_object = |_| bad(&format!("{data_member} is not an object"));
        let data = Members::parse(data.get()).map_err(not_object)?;
        if whom.address.is_none() && whom.device.is_none() {
            whom.address = address(&data);
        }
        for (name, value) in data.iter().filter(|(name, _)| !beside.contains(name) || members.get(name).is_none()) {
            traits.member(name, value);
        }
    }
    for name in beside {
        if let Some(value) = members.get(name) {
            traits.member(name, value);
        }
    }
    let taken = ["id", data_member].into_iter().chain(beside.iter().copied()).collect();
    Ok(Said { kind: Kind::Identify, whom, name: None, target: None, data: traits.finish(), taken })
}

fn users_reidentify(members: &Members<'_>) -> Result<Said, Problem> {
    let needed = |name: &str| optional_id(members, name)?.ok_or_else(|| bad(&format!("{name} is missing")));
    let (former, subject) = (needed("id")?, needed("new_id")?);
    let taken = vec!["id", "new_id"];
    let whom = Whom::user(subject, None);
    Ok(Said { kind: Kind::Alias, whom, name: None, target: Some(former), data: None, taken })
}

fn users_tags_edit(members: &Members<'_>) -> Result<Said, Problem> {
    let whom = whom(members)?;
    let (add, remove) = (members.get("add"), members.get("remove"));
    if add.is_none() && remove.is_none() {
        return Err(bad("add or remove is needed"));
    }
    let mut data = ObjectWriter::default();
    for (name, value) in [("add", add), ("remove", remove)] {
        let tags = value.map(|value| tags(value, name)).transpose()?.unwrap_or_else(|| "[]".to_owned());
        let tags: Box<RawValue> =
            RawValue::from_string(tags).map_err(|_| bad(&format!("{name} is not a list of strings")))?;
        data.member(name, &tags);
    }
    let taken = vec![whom.member, "add", "remove"];
    Ok(Said { kind: Kind::Tags, whom, name: None, target: None, data: data.finish(), taken })
}

/// Tags as a JSON array of strings. A tag alone is a list of one, since that is all that a form can say without
/// brackets; a number is its text, and an empty text no tag.
fn tags(value: &RawValue, name: &str) -> Result<String, Problem> {
    let not_tags = || bad(&format!("{name} is not a list of strings"));
    let elements: Vec<&RawValue> = match value.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(value.get()).map_err(|_| not_tags())?,
        _ => vec![value],
    };
    let tag = |element: &&RawValue| id(Some(element)).map_err(|()| not_tags()).map(Option::unwrap_or_default);
    let tags = elements.iter().map(tag).collect::<Result<Vec<String>, Problem>>()?;
    let texts: Vec<String> = tags.iter().filter(|tag| !tag.is_empty()).map(|tag| string_text(tag)).collect();
    Ok(format!("[{}]", texts.join(",")))
}

/// A call that says nothing but whom it is about.
fn about(kind: Kind, members: &Members<'_>) -> Result<Said, Problem> {
    let mut whom = whom(members)?;
    if kind == Kind::Delete {
        // A deletion is about an id, which an address is, too; it must not give an address to whom it deletes.
        (whom.device, whom.address) = (None, None);
    }
    let taken = vec![whom.member];
    Ok(Said { kind, whom, name: None, target: None, data: None, taken })
}

/// The `id`, else the `email`, of an object that must have one of them.
fn whom(members: &Members<'_>) -> Result<Whom, Problem> {
    let user = optional_id(members, "id")?;
    let email =
        members.get("email").map(|email| string(email).ok_or_else(|| bad("email is not a string"))).transpose()?;
    let email = email.filter(|email| !email.is_empty());
    if let Some(email) = &email {
        within_limit("email", email)?;
        if !is_email(email) {
            return Err(bad("email is not an e-mail address"));
        }
    }
    match (user, email) {
        (Some(user), email) => Ok(Whom::user(user, email)),
        (None, Some(email)) => Ok(Whom { subject: email.clone(), device: Some(email), address: None, member: "email" }),
        (None, None) => Err(bad("id or email is needed")),
    }
}

fn optional_id(members: &Members<'_>, name: &str) -> Result<Option<String>, Problem> {
    let user = id(members.get(name)).map_err(|()| bad(&format!("{name} is neither a string nor a number")))?;
    user.as_deref().map_or(Ok(()), |user| within_limit(name, user))?;
    Ok(user)
}

fn optional_object<'a>(members: &Members<'a>, name: &str) -> Result<Option<&'a RawValue>, Problem> {
    let object = |value| as_object(value).ok_or_else(|| bad(&format!("{name} is not an object")));
    members.get(name).map(object).transpose()
}
