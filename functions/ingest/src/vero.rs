//! Vero's Track API v2: bodies → events.
//!
//! As with Vero itself, parameters are checked before the credentials are, and a call that breaks a rule is answered
//! 400: there is nothing in it to keep.

use serde_json::value::RawValue;
use shared::event::{Event, Identity, Kind, corrected};
use shared::json::{Members, ObjectWriter, is_object};
use shared::limits::VERO_ID_CHARS_MAX;

use crate::parsed::{Arrival, Parsed, canonical, id, object, rest, string};
use crate::response::Problem;
use crate::route::VeroCall;
use crate::time;

/// The parameters that carry the write key, in body or query.
pub const KEY_PARAMETERS: [&str; 2] = ["auth_token", "tracking_api_key"];

/// Reads a body.
///
/// # Errors
/// What is wrong with the call.
pub fn parse(call: VeroCall, text: &str, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    let members = object(text)?;
    if text.len() > arrival.event_bytes_max {
        return Err(Problem::EventTooLarge { index: 0, limit: arrival.event_bytes_max });
    }
    let event = match call {
        VeroCall::EventsTrack => events_track(&members, arrival)?,
        VeroCall::UsersTrack => users_track(&members, arrival)?,
    };
    let write_key = KEY_PARAMETERS.iter().find_map(|name| members.get(name).and_then(string));
    Ok(Parsed { write_key, events: vec![event], refused: vec![] })
}

fn events_track(members: &Members<'_>, arrival: &Arrival<'_>) -> Result<Event, Problem> {
    let identity = members.get("identity").ok_or_else(|| bad("identity is missing"))?;
    let identity = Members::parse(identity.get()).map_err(|_| bad("identity is not an object"))?;
    let subject = subject(&identity)?;
    let name = members.get("event_name").ok_or_else(|| bad("event_name is missing"))?;
    let name = string(name).ok_or_else(|| bad("event_name is not a string"))?;
    within_limit("event_name", &name)?;
    if name.is_empty() {
        return Err(bad("event_name is empty"));
    }
    let data = optional_object(members, "data")?.map(ToOwned::to_owned);
    let taken = [KEY_PARAMETERS[0], KEY_PARAMETERS[1], "event_name", "data"];
    event(Kind::Track, subject, Some(name), data, members, &taken, arrival)
}

fn users_track(members: &Members<'_>, arrival: &Arrival<'_>) -> Result<Event, Problem> {
    let subject = subject(members)?;
    let mut traits = ObjectWriter::default();
    let own = ["email", "phone_number", "channels"];
    if let Some(data) = optional_object(members, "data")? {
        let data = Members::parse(data.get()).map_err(|_| bad("data is not an object"))?;
        // What stands beside `data` says the same more surely than a property of the same name in it.
        for (name, value) in data.iter().filter(|(name, _)| !own.contains(name) || members.get(name).is_none()) {
            traits.member(name, value);
        }
    }
    for name in own {
        if let Some(value) = members.get(name) {
            traits.member(name, value);
        }
    }
    let mut taken = vec![KEY_PARAMETERS[0], KEY_PARAMETERS[1], "id", "data"];
    taken.extend(own);
    event(Kind::Identify, subject, None, traits.finish(), members, &taken, arrival)
}

fn event(
    kind: Kind,
    subject: String,
    name: Option<String>,
    data: Option<Box<RawValue>>,
    members: &Members<'_>,
    taken: &[&str],
    arrival: &Arrival<'_>,
) -> Result<Event, Problem> {
    let extras = members.get("extras").filter(|extras| is_object(extras)).map(|extras| Members::parse(extras.get()));
    let extras = extras.transpose().map_err(|_| bad("extras is not an object"))?.unwrap_or_default();
    let client_time = extras.get("created_at").and_then(time::from_json);
    let content = canonical(data.as_deref()).map_err(|(_, detail)| bad(&detail))?;
    let mut parts = vec!["vero", kind.tag(), name.as_deref().unwrap_or_default(), &subject, &content];
    // Either of these makes a repetition of the call recognisable for ever; without them only its content is left.
    let own: Vec<&str> =
        ["created_at", "check_id"].iter().filter_map(|name| extras.get(name)).map(RawValue::get).collect();
    let identity = if own.is_empty() { Identity::Window } else { Identity::Forever };
    parts.extend(own);
    let id = shared::keys::hash(&parts);
    Ok(Event {
        index: 0,
        id,
        identity,
        kind,
        subject,
        name,
        target: None,
        data,
        context: None,
        extra: rest(members, taken, &[]),
        client_time,
        sent_at: None,
        timestamp: corrected(arrival.received_at, client_time, None),
    })
}

/// The `id`, else the `email`, of an object that must have one of them.
fn subject(members: &Members<'_>) -> Result<String, Problem> {
    let user = id(members.get("id")).map_err(|()| bad("id is neither a string nor a number"))?;
    let email =
        members.get("email").map(|email| string(email).ok_or_else(|| bad("email is not a string"))).transpose()?;
    let email = email.filter(|email| !email.is_empty());
    if let Some(user) = &user {
        within_limit("id", user)?;
    }
    if let Some(email) = &email {
        within_limit("email", email)?;
        if !is_email(email) {
            return Err(bad("email is not an e-mail address"));
        }
    }
    user.or(email).ok_or_else(|| bad("id or email is needed"))
}

/// Whether a text has the form of an e-mail address: something on both sides of its last `@`, and no white space. More
/// would refuse addresses that exist.
fn is_email(text: &str) -> bool {
    let sides = text.rsplit_once('@');
    sides.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty()) && !text.contains(char::is_whitespace)
}

fn optional_object<'a>(members: &Members<'a>, name: &str) -> Result<Option<&'a RawValue>, Problem> {
    match members.get(name) {
        Some(value) if !is_object(value) => Err(bad(&format!("{name} is not an object"))),
        value => Ok(value),
    }
}

fn within_limit(name: &str, text: &str) -> Result<(), Problem> {
    if text.chars().count() > VERO_ID_CHARS_MAX {
        return Err(bad(&format!("{name} has more than {VERO_ID_CHARS_MAX} characters")));
    }
    Ok(())
}

fn bad(what: &str) -> Problem {
    Problem::BadParameter(what.to_owned())
}

#[cfg(test)]
mod tests;
