//! Receipts: what a producer is given for an accepted request, and asks with what became of it.
//!
//! No table is searched for a receipt, since an index by it, or an item of its own for it, would double the writes of a
//! request with one event. A receipt's id says itself what it stands for: where the item of each event would be. It is
//! signed by nothing, and need not be: everything is looked up as the project's whose write key asks. An id that has no
//! room for all items is *short*: it says only how many there are, and `consume` lists them in the table, message by
//! message, in the same form. Such a list is sealed with a key that the id has and the table has not: a list names users,
//! and would outlast their erasure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::compact::{Reader, Writer};
use crate::event::{Event, Identity, Kind};
use crate::limits::{BATCH_EVENTS_MAX, EVENT_ID_BYTES_MAX, RECEIPT_BYTES_MAX, RECEIPT_ID_CHARS_MAX, SUBJECT_CHARS_MAX};
use crate::message::{Message, Refused, VERSION as MESSAGE_VERSION};

/// The header of an answer that carries the id of its receipt.
pub const HEADER: &str = "X-Holdfast-Receipt";

/// The version of ids and lists that this code writes, and the only one that it reads.
const VERSION: u64 = 1;
/// Set in an id that lists its items.
const LISTS: u64 = 1;
/// Set in an id that names its project.
const NAMES_PROJECT: u64 = 2;
/// Set in an id that has the key of its lists.
const HAS_KEY: u64 = 4;
/// The most bytes of the key of lists.
const LIST_KEY_BYTES_MAX: usize = 64;
/// The characters of a project's mark.
const MARK_BYTES: usize = 4;

/// The kinds of events by their numbers, which are as permanent as ids are.
const KINDS: [Kind; 10] = [
    Kind::Track,
    Kind::Identify,
    Kind::Page,
    Kind::Screen,
    Kind::Group,
    Kind::Alias,
    Kind::Tags,
    Kind::Unsubscribe,
    Kind::Resubscribe,
    Kind::Delete,
];
/// The kind of an item that was refused.
const REFUSED: u64 = 15;
/// The identities by their numbers.
const IDENTITIES: [Identity; 3] = [Identity::Forever, Identity::Window, Identity::Fresh];

// An item begins with a number: four bits for its kind, and then these. What is rare comes last, so that most items need
// one byte for it.
const KIND_BITS: u32 = 4;
const SAME_SUBJECT: u64 = 1 << 4;
const HAS_CLIENT_TIME: u64 = 1 << 5;
const SKIPS: u64 = 1 << 6;
const IDENTITY_SHIFT: u32 = 7;
const IDENTITY_MASK: u64 = 3;
/// Set for an event with a device, which stands behind its subject; with [`SAME_SUBJECT`] both are those of the event
/// before.
const HAS_DEVICE: u64 = 1 << 9;

/// The id of a receipt, as it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The id: letters, digits, `-` and `_`, at most [`RECEIPT_ID_CHARS_MAX`] of them.
    pub id: String,
    /// What the list of the items is to be sealed with that `consume` must write; `None` if the id itself lists them.
    pub list_key: Option<String>,
}

/// A text is no id of a receipt that this code can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a receipt")]
pub struct NoReceipt;

/// What a receipt's id says.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The receipt as messages and items have it.
    pub receipt: String,
    /// When the request came in.
    pub received_at: Timestamp,
    /// How many events and refused items it had; their indexes are those below.
    pub items: u32,
    /// Each of them, by index; `None` in a short id.
    pub listed: Option<Vec<Listed>>,
    /// What the lists of a short id are sealed with; empty in any other.
    pub list_key: String,
    mark: Option<Vec<u8>>,
}

/// An item of a request.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its position in the request.
    pub index: u32,
    /// Of an event, what its keys are made of: identity, kind, subject, device and times. What its producer wrote is not there.
    /// `None` for an item that was refused.
    pub event: Option<Event>,
}

impl Receipt {
    /// The receipt of a request; `envelope` is that of its messages. `new_key` makes what a list is sealed with: at most 64
    /// bytes that nobody can guess.
    #[must_use]
    pub fn issue(
        envelope: &Message,
        events: &[Event],
        refused: &[Refused],
        new_key: impl FnOnce() -> String,
    ) -> Issued {
        let head = |form: u64| {
            let mut writer = Writer::default();
            let names = if envelope.verified { NAMES_PROJECT } else { 0 };
            writer.number(VERSION);
            writer.number(form | names);
            if envelope.verified {
                writer.bytes(&mark(&envelope.project));
            }
            writer.signed(envelope.received_at.as_millis());
            writer.text(&envelope.receipt);
            writer
        };
        let mut long = head(LISTS);
        let fits = write_items(&mut long, envelope.received_at, events, refused, RECEIPT_ID_CHARS_MAX / 4 * 3);
        if fits {
            return Issued { id: URL_SAFE_NO_PAD.encode(long.into_bytes()), list_key: None };
        }
        let mut short = head(HAS_KEY);
        short.number((events.len() + refused.len()) as u64);
        let list_key = new_key();
        short.text(&list_key);
        Issued { id: URL_SAFE_NO_PAD.encode(short.into_bytes()), list_key: Some(list_key) }
    }

    /// Reads an id, whoever made it.
    ///
    /// # Errors
    /// It is none, or of another version.
    pub fn read(id: &str) -> Result<Self, NoReceipt> {
        if id.len() > RECEIPT_ID_CHARS_MAX {
            return Err(NoReceipt);
        }
        let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| NoReceipt)?;
        Self::from_bytes(&bytes).ok_or(NoReceipt)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.number()? != VERSION {
            return None;
        }
        let form =
            reader.number().filter(|form| *form <= LISTS | NAMES_PROJECT || *form & !NAMES_PROJECT == HAS_KEY)?;
        let mark = if form & NAMES_PROJECT == 0 { None } else { Some(reader.bytes(MARK_BYTES)?.to_vec()) };
        let received_at = Timestamp::from_millis(reader.signed()?)?;
        let receipt = reader.text(RECEIPT_BYTES_MAX).filter(|receipt| !receipt.is_empty())?;
        let (items, listed) = if form & LISTS == 0 {
            let items = reader.number().filter(|items| (1..=BATCH_EVENTS_MAX as u64).contains(items))?;
            (u32::try_from(items).ok()?, None)
        } else {
            let listed = read_items(&mut reader, received_at)?;
            // A request's indexes leave none out.
            let last = listed.last()?;
            (u32::try_from(listed.len()).ok().filter(|items| last.index + 1 == *items)?, Some(listed))
        };
        let list_key = if form & HAS_KEY == 0 { String::new() } else { reader.text(LIST_KEY_BYTES_MAX)? };
        reader.is_at_end().then_some(Self { receipt, received_at, items, listed, list_key, mark })
    }

    /// Whether the receipt may be of a project. One whose write key could not be checked when it was made names none.
    #[must_use]
    pub fn may_be_of(&self, project: &str) -> bool {
        self.mark.as_ref().is_none_or(|mark| *mark == self::mark(project))
    }

    /// Whether it was given out while the write key could not be checked.
    #[must_use]
    pub fn names_no_project(&self) -> bool {
        self.mark.is_none()
    }

    /// The envelope of the request's messages, as far as keys depend on it.
    #[must_use]
    pub fn envelope(&self, project: &str) -> Message {
        let mut envelope = Self::asking(project, self.received_at);
        envelope.receipt.clone_from(&self.receipt);
        envelope
    }

    /// An envelope as it would be of a request that came in at `received_at`, for looking up events without a receipt.
    #[must_use]
    pub fn asking(project: &str, received_at: Timestamp) -> Message {
        Message {
            version: MESSAGE_VERSION,
            project: project.to_owned(),
            source: String::new(),
            receipt: String::new(),
            received_at,
            code_version: crate::CODE_VERSION.to_owned(),
            verified: true,
            write_key_hash: None,
            lists_items: false,
            list_key: String::new(),
            events: vec![],
            refused: vec![],
        }
    }
}

/// Everything that a message carries, as a text for the table.
#[must_use]
pub fn list(message: &Message) -> Vec<u8> {
    let mut writer = Writer::default();
    write_items(&mut writer, message.received_at, &message.events, &message.refused, usize::MAX);
    writer.into_bytes()
}

/// Reads what [`list`] has written of a message that came in at `received_at`; `None` if it is no list.
#[must_use]
pub fn read_list(bytes: &[u8], received_at: Timestamp) -> Option<Vec<Listed>> {
    read_items(&mut Reader::new(bytes), received_at)
}

/// What tells an id of one project from those of others, so that a mistaken key is told so. It hides nothing and proves
/// nothing.
fn mark(project: &str) -> Vec<u8> {
    crate::keys::hash(&["receipt", project]).into_bytes()[..MARK_BYTES].to_vec()
}

/// Writes items by index, and stops beyond `bytes_max` in all; whether they fit.
fn write_items(
    writer: &mut Writer,
    received_at: Timestamp,
    events: &[Event],
    refused: &[Refused],
    bytes_max: usize,
) -> bool {
    let mut items: Vec<(u32, Option<&Event>)> = events.iter().map(|event| (event.index, Some(event))).collect();
    items.extend(refused.iter().map(|item| (item.index, None)));
    items.sort_unstable_by_key(|(index, _)| *index);
    let (mut next, mut before) = (0, None);
    for (index, event) in items {
        write_item(writer, received_at, u64::from(index).saturating_sub(next), event, before);
        next = u64::from(index) + 1;
        before = event.or(before);
        if writer.len() > bytes_max {
            return false;
        }
    }
    true
}

/// Writes an item; `before` is the event before it.
fn write_item(
    writer: &mut Writer,
    received_at: Timestamp,
    skipped: u64,
    event: Option<&Event>,
    before: Option<&Event>,
) {
    let number_of = |kind| KINDS.iter().position(|known| *known == kind).map_or(REFUSED, |position| position as u64);
    let mut begin = event.map_or(REFUSED, |event| number_of(event.kind));
    if skipped > 0 {
        begin |= SKIPS;
    }
    if let Some(event) = event {
        let identity = IDENTITIES.iter().position(|known| *known == event.identity).unwrap_or_default();
        begin |= (identity as u64) << IDENTITY_SHIFT;
        let same = before.is_some_and(|before| (&before.subject, &before.device) == (&event.subject, &event.device));
        begin |= if same { SAME_SUBJECT } else { 0 };
        begin |= if event.device.is_some() { HAS_DEVICE } else { 0 };
        begin |= if event.client_time.is_some() { HAS_CLIENT_TIME } else { 0 };
    }
    writer.number(begin);
    if skipped > 0 {
        writer.number(skipped);
    }
    let Some(event) = event else { return };
    if begin & SAME_SUBJECT == 0 {
        writer.text(&event.subject);
        if let Some(device) = &event.device {
            // Most devices have not been seen with a user yet, and are the subject.
            writer.text(if event.is_anonymous() { "" } else { device });
        }
    }
    let since = |moment: Timestamp| received_at.as_millis() - moment.as_millis();
    if let Some(client_time) = event.client_time {
        writer.signed(since(client_time));
    }
    writer.signed(since(event.timestamp));
    writer.text(&event.id);
}

fn read_items(reader: &mut Reader<'_>, received_at: Timestamp) -> Option<Vec<Listed>> {
    let (mut items, mut next, mut whom) = (Vec::new(), 0_u64, Whom::default());
    while !reader.is_at_end() {
        let begin = reader.number()?;
        let skipped = if begin & SKIPS == 0 { 0 } else { reader.number()? };
        let index = next.checked_add(skipped).filter(|index| *index < BATCH_EVENTS_MAX as u64)?;
        next = index + 1;
        let kind = begin & ((1 << KIND_BITS) - 1);
        let index = u32::try_from(index).ok()?;
        let event = if kind == REFUSED { None } else { Some(read_event(reader, received_at, begin, &mut whom)?) };
        items.push(Listed { index, event: event.map(|event| Event { index, ..event }) });
    }
    Some(items)
}

/// Subject and device of an event.
#[derive(Default)]
struct Whom {
    subject: String,
    device: Option<String>,
}

impl Whom {
    fn read(reader: &mut Reader<'_>, has_device: bool) -> Option<Self> {
        let mut id = || reader.text(4 * SUBJECT_CHARS_MAX).filter(|text| text.chars().count() <= SUBJECT_CHARS_MAX);
        let subject = id()?;
        let device = if has_device { Some(id()?) } else { None };
        let device = device.map(|device| if device.is_empty() { subject.clone() } else { device });
        Some(Self { subject, device })
    }
}

fn read_event(reader: &mut Reader<'_>, received_at: Timestamp, begin: u64, whom: &mut Whom) -> Option<Event> {
    let kind = *KINDS.get(usize::try_from(begin & ((1 << KIND_BITS) - 1)).ok()?)?;
    let identity = *IDENTITIES.get(usize::try_from(begin >> IDENTITY_SHIFT & IDENTITY_MASK).ok()?)?;
    if begin >= HAS_DEVICE << 1 {
        return None;
    }
    if begin & SAME_SUBJECT == 0 {
        *whom = Whom::read(reader, begin & HAS_DEVICE != 0)?;
    }
    let before = |millis: i64| Timestamp::from_millis(received_at.as_millis().checked_sub(millis)?);
    let client_time = if begin & HAS_CLIENT_TIME == 0 { None } else { Some(before(reader.signed()?)?) };
    let timestamp = before(reader.signed()?)?;
    let id = reader.text(EVENT_ID_BYTES_MAX).filter(|id| !id.is_empty())?;
    (!whom.subject.is_empty()).then(|| Event {
        index: 0,
        id,
        identity,
        kind,
        subject: whom.subject.clone(),
        device: whom.device.clone(),
        address: None,
        name: None,
        target: None,
        data: None,
        context: None,
        extra: None,
        client_time,
        sent_at: None,
        timestamp,
    })
}

#[cfg(test)]
mod tests;
