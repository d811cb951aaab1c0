//! Vero's Track API v2: parameters → events.
//!
//! As with Vero itself, parameters are checked before the credentials are, and a call that breaks a rule is answered
//! 400: there is nothing in it to keep.

mod calls;

use serde_json::value::RawValue;
use shared::event::{Event, Identity, Kind, corrected};
use shared::json::{Members, is_object};
use shared::limits::VERO_ID_CHARS_MAX;

use self::calls::{Said, said};
use crate::parsed::{Arrival, Parsed, canonical, object, rest, string};
use crate::response::Problem;
use crate::route::VeroCall;
use crate::time;

/// The parameters that carry the write key, in body or query.
pub const KEY_PARAMETERS: [&str; 2] = ["auth_token", "tracking_api_key"];

/// Reads the parameters of a call, which are one JSON object.
///
/// # Errors
/// What is wrong with the call.
pub fn parse(call: VeroCall, text: &str, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    // Before it is read: the directory of an object's members can take many times its text.
    if !arrival.has_room_for(text) {
        return Err(Problem::EventTooLarge { index: 0, limit: arrival.event_bytes_max });
    }
    let members = object(text)?;
    let event = event(call, said(call, &members)?, &members, arrival)?;
    Ok(Parsed { write_key: write_key(&members), events: vec![event], refused: vec![] })
}

/// The write key among the parameters of a call.
#[must_use]
pub fn write_key(members: &Members<'_>) -> Option<String> {
    KEY_PARAMETERS.iter().filter_map(|name| members.get(name).and_then(string)).find(|key| !key.is_empty())
}

fn event(call: VeroCall, said: Said, members: &Members<'_>, arrival: &Arrival<'_>) -> Result<Event, Problem> {
    let extras = members.get("extras").filter(|extras| is_object(extras)).map(|extras| Members::parse(extras.get()));
    let extras = extras.transpose().map_err(|_| bad("extras is not an object"))?.unwrap_or_default();
    let client_time = extras.get("created_at").and_then(time::from_json);
    let (id, identity) = identity(call, &said, &extras, arrival)?;
    let taken = [said.taken.as_slice(), &KEY_PARAMETERS].concat();
    Ok(Event {
        index: 0,
        id,
        identity,
        kind: said.kind,
        subject: said.whom.subject,
        device: said.whom.device,
        address: said.whom.address,
        name: said.name,
        target: said.target,
        data: said.data,
        context: None,
        extra: rest(members, &taken, &[]),
        client_time,
        sent_at: None,
        timestamp: corrected(arrival.received_at, client_time, None),
    })
}

/// What makes the call itself: its content, and for ever if it carries something of its own.
fn identity(
    call: VeroCall,
    said: &Said,
    extras: &Members<'_>,
    arrival: &Arrival<'_>,
) -> Result<(String, Identity), Problem> {
    if said.kind == Kind::Delete {
        // Of two deletions the second is about what came between them.
        return Ok((format!("{}-0", arrival.receipt), Identity::Fresh));
    }
    let content = canonical(said.data.as_deref()).map_err(|(_, detail)| bad(&detail))?;
    let name = said.name.as_deref().unwrap_or_default();
    let target = said.target.as_deref().unwrap_or_default();
    let mut parts = vec!["vero", tag(call), name, &said.whom.subject, target, &content];
    // Either of these makes a repetition of the call recognisable for ever; without them only its content is left. A
    // form writes what it does not have as an empty text, which is nothing of its own.
    let own = ["created_at", "check_id"].map(|name| extras.get(name).map_or("", RawValue::get));
    let own = own.map(|text| if text == "\"\"" { "" } else { text });
    let identity = if own == ["", ""] { Identity::Window } else { Identity::Forever };
    parts.extend(own);
    Ok((shared::keys::hash(&parts), identity))
}

/// The name by which calls are told apart in an identity. It must never change, or a redelivery would not be recognised.
fn tag(call: VeroCall) -> &'static str {
    match call {
        VeroCall::EventsTrack => "events/track",
        VeroCall::UsersTrack => "users/track",
        VeroCall::UsersReidentify => "users/reidentify",
        VeroCall::UsersEdit => "users/edit",
        VeroCall::UsersTagsEdit => "users/tags/edit",
        VeroCall::UsersUnsubscribe => "users/unsubscribe",
        VeroCall::UsersResubscribe => "users/resubscribe",
        VeroCall::UsersDelete => "users/delete",
    }
}

/// Refuses a text beyond Vero's limit.
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
