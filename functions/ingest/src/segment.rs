//! Segment's HTTP API: bodies → events and refused items.
//!
//! As with Segment itself, an item that breaks a rule does not spoil its batch, nor is its call answered with an
//! error: it is kept with Segment's own discard code as its reason.

mod whom;

use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::event::{Event, Identity, Kind, corrected};
use shared::json::{Members, ObjectWriter, as_object, is_object, nests_deeper_than};
use shared::limits::{NESTING_DEPTH_MAX, REFUSED_BYTES_MAX, SHARED_BYTES_MAX};
use shared::message::Refused;
use shared::outcome::Reason;

use crate::parsed::{
    Arrival, Elements, Parsed, Refusal, WRITE_KEY, address, canonical, fitting_event_id, id, malformed, object, refuse,
    rest, string,
};
use crate::response::Problem;
use crate::route::SegmentCall;
use crate::time;

use self::whom::within_limit;
pub(crate) use self::whom::{Whom, whom};

/// What holds for all items of a request.
#[derive(Default)]
pub(crate) struct Common<'a> {
    context: Option<(&'a RawValue, Members<'a>)>,
    integrations: Option<&'a RawValue>,
    sent_at: Option<&'a RawValue>,
    /// Whether these are the events of a webhook, of which one may be a deletion.
    webhook: bool,
}

impl Common<'_> {
    /// What each item is the larger by, at the most.
    fn bytes(&self) -> usize {
        self.context.as_ref().map_or(0, |(context, _)| context.get().len())
            + self.integrations.map_or(0, |integrations| integrations.get().len())
    }

    /// What holds for the events of a webhook, which say everything themselves.
    pub(crate) fn of_webhook() -> Self {
        Self { webhook: true, ..Self::default() }
    }

    /// The name under which [`reread`] takes an item of these.
    fn call(&self) -> &'static str {
        if self.webhook { WEBHOOK } else { BATCH }
    }

    /// Keeps an item that can never be stored, with what was said for all of them: so it can be read again alone.
    fn refuse(&self, index: u32, item: &RawValue, refusal: Refusal, arrival: &Arrival<'_>) -> Result<Refused, Problem> {
        let refused = refuse(index, self.call(), item, refusal, arrival)?;
        let Ok(members) = Members::parse(refused.body.get()) else { return Ok(refused) };
        let context = context(&members, self.context.as_ref()).ok().flatten();
        let mut whole = ObjectWriter::default();
        for (name, value) in members.iter().filter(|(name, _)| *name != "context" || context.is_none()) {
            whole.member(name, value);
        }
        let shared = [("integrations", self.integrations), ("sentAt", self.sent_at)];
        let absent = shared.into_iter().filter(|(name, _)| members.get(name).is_none());
        for (name, value) in [("context", context.as_deref())].into_iter().chain(absent) {
            if let Some(value) = value {
                whole.member(name, value);
            }
        }
        let whole = whole.finish();
        match whole.filter(|whole| whole.get().len() <= REFUSED_BYTES_MAX) {
            Some(body) => Ok(Refused { body, ..refused }),
            None => Ok(refused),
        }
    }
}

/// The name of a batch's items among the calls of refused items.
pub(crate) const BATCH: &str = "batch";
/// The name of a webhook's events among the calls of refused items.
const WEBHOOK: &str = "webhook";

/// Reads a refused item once more, by the rules as they are now. `call` and `item` are those of its [`Refused`].
///
/// # Errors
/// Why it can still not be stored.
pub fn reread(call: &str, index: u32, item: &RawValue, arrival: &Arrival<'_>) -> Result<Event, Refusal> {
    let common = Common { webhook: call == WEBHOOK, ..Common::default() };
    if call == BATCH || call == WEBHOOK {
        return self::item(index, item, &common, arrival, &mut None);
    }
    let kind = KINDS.into_iter().find(|kind| kind.tag() == call);
    let kind = kind.ok_or_else(|| (Reason::UnsupportedEventType, "the call is none of those known".to_owned()))?;
    let members = Members::parse(item.get()).map_err(|error| (Reason::BadRequest, malformed(&error)))?;
    event(index, kind, &members, &common, arrival)
}

/// The kinds of event that have a path of their own.
const KINDS: [Kind; 6] = [Kind::Track, Kind::Identify, Kind::Page, Kind::Screen, Kind::Group, Kind::Alias];

/// Reads a body.
///
/// # Errors
/// What is wrong with the request as a whole; items that are wrong are among [`Parsed::refused`].
pub fn parse(call: SegmentCall, text: &str, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    match call {
        SegmentCall::Single(kind) => single(kind, text, arrival),
        SegmentCall::Batch => batch(text, arrival),
    }
}

fn single(kind: Kind, text: &str, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    // Before it is read: the directory of an object's members can take many times its text.
    if !arrival.has_room_for(text) {
        return Err(Problem::EventTooLarge { index: 0, limit: arrival.event_bytes_max });
    }
    let members = object(text)?;
    let mut parsed = Parsed { write_key: members.get(WRITE_KEY).and_then(string), ..Parsed::default() };
    match event(0, kind, &members, &Common::default(), arrival) {
        Ok(event) => parsed.events.push(event),
        Err(refusal) => {
            let item =
                serde_json::from_str::<&RawValue>(text).map_err(|error| Problem::Malformed(malformed(&error)))?;
            parsed.refused.push(refuse(0, kind.tag(), item, refusal, arrival)?);
        }
    }
    Ok(parsed)
}

fn batch(text: &str, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    let (members, items) = batch_body(text)?;
    let shared = ["context", "integrations"].iter().filter_map(|name| members.get(name));
    if shared.into_iter().any(|value| nests_deeper_than(NESTING_DEPTH_MAX, value.get().as_bytes())) {
        return Err(Problem::NestedTooDeeply);
    }
    let context = members.get("context").filter(|context| is_object(context));
    let common = Common {
        context: context.map(|context| Ok((context, object(context.get())?))).transpose()?,
        integrations: members.get("integrations"),
        sent_at: members.get("sentAt"),
        webhook: false,
    };
    let mut parsed = self::items(&items, &common, arrival)?;
    parsed.write_key = members.get(WRITE_KEY).and_then(string).filter(|key| !key.is_empty()).or(parsed.write_key);
    Ok(parsed)
}

/// The items of a batch's body, and its other members.
///
/// # Errors
/// It is no object, there is no batch, or it has more items than it may have.
fn batch_body(text: &str) -> Result<(Members<'_>, Vec<&RawValue>), Problem> {
    match Members::parse_apart::<Option<Elements<'_>>>(text, "batch") {
        Ok((members, items)) => Ok((members, items.flatten().ok_or_else(no_batch)?.within_limit()?)),
        // Reading one after the other tells which of the two is wrong.
        Err(_) => {
            let members = object(text)?;
            let items = batch_items(&members)?;
            Ok((members, items))
        }
    }
}

/// The items among the members of a batch's body.
///
/// # Errors
/// There is no batch, or it has more items than it may have.
pub fn batch_items<'a>(members: &Members<'a>) -> Result<Vec<&'a RawValue>, Problem> {
    let items = Elements::parse(members.get("batch").ok_or_else(no_batch)?.get());
    items.map_err(|_| Problem::Malformed("the batch is not an array".to_owned()))?.within_limit()
}

fn no_batch() -> Problem {
    Problem::Malformed("no batch in it".to_owned())
}

/// Reads items that each say their `type`. The write key is the first that an item carries: some clients put it into
/// each item and none beside them.
///
/// # Errors
/// There are none, or one is too large even to be kept as refused.
pub(crate) fn items(items: &[&RawValue], common: &Common<'_>, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    if items.is_empty() {
        return Err(Problem::EmptyBatch);
    }
    // What is said once and stored many times: the batch is small, but what it asks for may not be.
    if common.bytes().saturating_mul(items.len()) > SHARED_BYTES_MAX {
        return Err(Problem::BatchTooLarge { limit: SHARED_BYTES_MAX });
    }
    let mut parsed = Parsed::default();
    for (index, item) in (0..).zip(items) {
        match self::item(index, item, common, arrival, &mut parsed.write_key) {
            Ok(event) => parsed.events.push(event),
            Err(refusal) => parsed.refused.push(common.refuse(index, item, refusal, arrival)?),
        }
    }
    Ok(parsed)
}

fn item(
    index: u32,
    item: &RawValue,
    common: &Common<'_>,
    arrival: &Arrival<'_>,
    write_key: &mut Option<String>,
) -> Result<Event, Refusal> {
    let limit = arrival.event_bytes_max;
    if !arrival.has_room_for(item.get()) || item.get().len() + 2 * common.bytes() > limit {
        return Err((
            Reason::EventTooLarge,
            format!("the event is larger than {limit} bytes, with what its batch says"),
        ));
    }
    if nests_deeper_than(NESTING_DEPTH_MAX, item.get().as_bytes()) {
        return Err((Reason::BadRequest, format!("the event nests deeper than {NESTING_DEPTH_MAX} levels")));
    }
    let members = Members::parse(item.get()).map_err(|error| (Reason::BadRequest, malformed(&error)))?;
    if write_key.is_none() {
        *write_key = members.get(WRITE_KEY).and_then(string).filter(|key| !key.is_empty());
    }
    let kind = match members.get("type").and_then(string).as_deref() {
        Some("track") => Kind::Track,
        Some("identify") => Kind::Identify,
        Some("page") => Kind::Page,
        Some("screen") => Kind::Screen,
        Some("group") => Kind::Group,
        Some("alias") => Kind::Alias,
        Some("delete") if common.webhook => Kind::Delete,
        Some(_) => return Err((Reason::UnsupportedEventType, "the type is none of those known".to_owned())),
        None => return Err((Reason::UnsupportedEventType, "the type is missing or not a string".to_owned())),
    };
    event(index, kind, &members, common, arrival)
}

fn event(
    index: u32,
    kind: Kind,
    members: &Members<'_>,
    common: &Common<'_>,
    arrival: &Arrival<'_>,
) -> Result<Event, Refusal> {
    let Whom { subject, device, member: subject_member } = whom(members)?;
    let name = name(kind, members)?;
    let (data, address) = data(kind, members)?;
    let target_member = target_member(kind);
    let target = target_member.map(|member| target(member, members)).transpose()?;
    let client = client_time(members);
    let client_time = client.map(|(time, _, _)| time);
    let own_sent_at = timed(members, "sentAt").map(|(time, _, _)| time);
    let sent_at = own_sent_at.or_else(|| common.sent_at.and_then(time::from_json));
    let (id, identity) = match (message_id(members)?, client) {
        (Some(id), _) => (id, Identity::Forever),
        (None, Some((time, _, written))) => {
            let category = members.get("category").and_then(string).unwrap_or_default();
            let parts = [
                "segment",
                kind.tag(),
                name.as_deref().unwrap_or_default(),
                &category,
                // Whom it names, a library may fill in between two tries.
                device.as_deref().unwrap_or(&subject),
                target.as_deref().unwrap_or_default(),
                &canonical(data)?,
                &time.to_string(),
                time::beyond_millis(written),
            ];
            (shared::keys::hash(&parts), Identity::Forever)
        }
        (None, None) => (format!("{}-{index}", arrival.receipt), Identity::Fresh),
    };
    let has_device = device.is_some() && kind != Kind::Delete;
    // Only what has found its place elsewhere is left out of the rest.
    let taken = [
        Some("type"),
        Some("messageId"),
        Some("context"),
        Some(WRITE_KEY),
        Some(subject_member),
        has_device.then_some("anonymousId"),
        Some(data_member(kind).0),
        name.as_ref().map(|_| if kind == Kind::Track { "event" } else { "name" }),
        target_member,
        client.map(|(_, member, _)| member),
        own_sent_at.map(|_| "sentAt"),
    ];
    let taken: Vec<&str> = taken.into_iter().flatten().collect();
    Ok(Event {
        index,
        id,
        identity,
        kind,
        subject,
        // A deletion is about an id, wherever it is said.
        device: device.filter(|_| kind != Kind::Delete),
        // Whose it is, only a call tells that names a user.
        address: address.filter(|_| subject_member == "userId"),
        name,
        target,
        data: data.map(ToOwned::to_owned),
        context: context(members, common.context.as_ref())?,
        extra: rest(members, &taken, &[("integrations", common.integrations)]),
        client_time,
        sent_at,
        timestamp: corrected(arrival.received_at, client_time, sent_at),
    })
}

/// When an event happened by its producer's clock, with the member that says so and its value.
pub(crate) fn client_time<'a>(members: &Members<'a>) -> Option<(Timestamp, &'static str, &'a RawValue)> {
    timed(members, "originalTimestamp").or_else(|| timed(members, "timestamp"))
}

fn timed<'a>(members: &Members<'a>, name: &'static str) -> Option<(Timestamp, &'static str, &'a RawValue)> {
    members.get(name).and_then(|value| Some((time::from_json(value)?, name, value)))
}

/// The event id that the producer gave it, as keys have it.
pub(crate) fn message_id(members: &Members<'_>) -> Result<Option<String>, Refusal> {
    Ok(id(members.get("messageId")).map_err(|()| not_an_id("messageId"))?.map(fitting_event_id))
}

fn not_an_id(member: &str) -> Refusal {
    (Reason::IdNotString, format!("{member} is neither a string nor a number"))
}

fn name(kind: Kind, members: &Members<'_>) -> Result<Option<String>, Refusal> {
    match kind {
        Kind::Track => {
            let event = members.get("event").ok_or((Reason::EventNotDefined, "no event".to_owned()))?;
            let name = string(event).ok_or((Reason::EventNotString, "event is not a string".to_owned()))?;
            if name.is_empty() { Err((Reason::EventNotDefined, "event is empty".to_owned())) } else { Ok(Some(name)) }
        }
        Kind::Page | Kind::Screen => {
            if members.get("category").is_some_and(|category| string(category).is_none()) {
                return Err((Reason::CategoryNotString, "category is not a string".to_owned()));
            }
            let not_string = || (Reason::NameNotString, "name is not a string".to_owned());
            members.get("name").map(|name| string(name).ok_or_else(not_string)).transpose()
        }
        Kind::Identify
        | Kind::Group
        | Kind::Alias
        | Kind::Tags
        | Kind::Unsubscribe
        | Kind::Resubscribe
        | Kind::Delete => Ok(None),
    }
}

/// The member that holds the data of a call, and the reason if it is not an object.
fn data_member(kind: Kind) -> (&'static str, Reason) {
    match kind {
        Kind::Identify | Kind::Group => ("traits", Reason::TraitsNotObject),
        Kind::Track
        | Kind::Page
        | Kind::Screen
        | Kind::Alias
        | Kind::Tags
        | Kind::Unsubscribe
        | Kind::Resubscribe
        | Kind::Delete => ("properties", Reason::PropertiesNotObject),
    }
}

/// The data of a call, and the e-mail address that it gives to its subject.
fn data<'a>(kind: Kind, members: &Members<'a>) -> Result<(Option<&'a RawValue>, Option<String>), Refusal> {
    let (member, reason) = data_member(kind);
    let object = |value| as_object(value).ok_or_else(|| (reason, format!("{member} is not an object")));
    let data = members.get(member).map(object).transpose()?;
    let Some(traits) = data.filter(|_| kind == Kind::Identify) else { return Ok((data, None)) };
    // Traits are taken apart later, and a name that no text can hold could not be.
    let traits = Members::parse(traits.get())
        .map_err(|_| (Reason::BadRequest, "the name of a trait is not valid Unicode".to_owned()))?;
    Ok((data, address(&traits)))
}

/// The member with the other id that a call needs: the group of a group call, the former id of an alias.
fn target_member(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Group => Some("groupId"),
        Kind::Alias => Some("previousId"),
        Kind::Track
        | Kind::Identify
        | Kind::Page
        | Kind::Screen
        | Kind::Tags
        | Kind::Unsubscribe
        | Kind::Resubscribe
        | Kind::Delete => None,
    }
}

fn target(member: &str, members: &Members<'_>) -> Result<String, Refusal> {
    let target = id(members.get(member)).map_err(|()| not_an_id(member))?;
    let target = target.ok_or_else(|| (Reason::IdRequired, format!("no {member}")))?;
    within_limit(member, &target)?;
    Ok(target)
}

/// The item's own context over the batch's.
fn context(members: &Members<'_>, common: Option<&(&RawValue, Members<'_>)>) -> Result<Option<Box<RawValue>>, Refusal> {
    let object = |value| as_object(value).ok_or_else(|| (Reason::BadRequest, "context is not an object".to_owned()));
    let own = members.get("context").map(object).transpose()?;
    let (own, common) = match (own, common) {
        (Some(own), Some((_, common))) => (own, common),
        (own, common) => return Ok(own.or(common.map(|(text, _)| *text)).map(ToOwned::to_owned)),
    };
    let own = Members::parse(own.get()).map_err(|error| (Reason::BadRequest, malformed(&error)))?;
    let names: std::collections::HashSet<&str> = own.iter().map(|(name, _)| name).collect();
    let mut merged = ObjectWriter::default();
    for (name, value) in common.iter().filter(|(name, _)| !names.contains(name)).chain(own.iter()) {
        merged.member(name, value);
    }
    Ok(merged.finish())
}

#[cfg(test)]
mod tests;
