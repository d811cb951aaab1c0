//! The canonical event: what every protocol's calls become.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::json::{Members, ObjectWriter, string_text};

/// What a producer's call says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody did something.
    Track,
    /// Somebody is somebody: traits of a person.
    Identify,
    /// Somebody saw a page of a site.
    Page,
    /// Somebody saw a screen of an app.
    Screen,
    /// Somebody belongs to a group.
    Group,
    /// Two ids are one person: what is known of [`Event::target`], the former, holds for the subject.
    Alias,
    /// Tags are put on somebody, or taken off.
    Tags,
    /// Somebody wants no more mail.
    Unsubscribe,
    /// Somebody wants mail again.
    Resubscribe,
    /// Somebody wants to be forgotten.
    Delete,
}

impl Kind {
    /// The word for it in messages, items, logs and metrics.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Kind::Track => "track",
            Kind::Identify => "identify",
            Kind::Page => "page",
            Kind::Screen => "screen",
            Kind::Group => "group",
            Kind::Alias => "alias",
            Kind::Tags => "tags",
            Kind::Unsubscribe => "unsubscribe",
            Kind::Resubscribe => "resubscribe",
            Kind::Delete => "delete",
        }
    }
}

/// For how long two events with the same id are the same event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// For ever: the producer gave the event something of its own (an id, a time).
    Forever,
    /// For [`crate::limits::IDENTITY_WINDOW`] from the first: all there is to go by is the content.
    Window,
    /// Never: nothing distinguishes a repetition from a second event, so each call is its own. Redelivery of the same
    /// message is recognised all the same.
    Fresh,
}

/// One event of one producer. Its project, source, receipt and time of arrival are those of its [`Message`].
///
/// Free-form JSON is carried as the producer wrote it, and parsed only where a rule needs it.
///
/// [`Message`]: crate::message::Message
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Position in the request, from 0.
    pub index: u32,
    /// What makes the event itself, within its project; at most [`crate::limits::EVENT_ID_BYTES_MAX`] bytes.
    pub id: String,
    /// How long `id` tells it from others.
    pub identity: Identity,
    /// What the call says.
    pub kind: Kind,
    /// Whom it is about: a user id, else the device, else an e-mail address.
    pub subject: String,
    /// The device that it happened on: Segment's `anonymousId`, or the e-mail address of a call of Vero's that names nobody
    /// else. `None` if the call has none, or if the source of the call lives with the user (see [`Event::live_with_user`]).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// An e-mail address that the call gives to its subject. Events that name nobody but that address are the subject's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// The event's name (track), or the name of the page or screen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The other id of the call: the group of a group call, the former id of an alias.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// Properties (track, page, screen), traits (identify, group), or arrays `add` and `remove` (tags): a JSON object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<Box<RawValue>>,
    /// Segment's `context`: a JSON object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context: Option<Box<RawValue>>,
    /// Everything else that the producer sent with the event, credentials taken out: a JSON object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub extra: Option<Box<RawValue>>,
    /// When it happened by the producer's clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_time: Option<Timestamp>,
    /// When it was sent by the producer's clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sent_at: Option<Timestamp>,
    /// When it happened by our clock: see [`corrected`].
    pub timestamp: Timestamp,
}

impl Event {
    /// The id whose partition holds the event: its device, else its subject.
    ///
    /// It follows from nothing that a producer fills in between two tries. A browser's library names the user when it
    /// sends an event, and not when the event happens; so a retry can name another user, but never another device.
    #[must_use]
    pub fn home(&self) -> &str {
        self.device.as_deref().unwrap_or(&self.subject)
    }

    /// Whether the event names nobody: all that is known is the device.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.device.as_ref() == Some(&self.subject)
    }

    /// Takes the device out of an event that names a user. Sources whose `anonymousId` is no device are set to this: one
    /// constant for all their users would be one home for all of them.
    ///
    /// What was the device stays among [`Event::extra`], as its producer sent it.
    pub fn live_with_user(&mut self) {
        let Some(device) = self.device.take_if(|device| *device != self.subject) else { return };
        let mut extra = ObjectWriter::default();
        let device = string_text(&device);
        let rest = self.extra.as_ref().and_then(|extra| Members::parse(extra.get()).ok()).unwrap_or_default();
        if let Ok(device) = RawValue::from_string(device) {
            extra.member("anonymousId", &device);
        }
        rest.iter().filter(|(name, _)| *name != "anonymousId").for_each(|(name, value)| extra.member(name, value));
        self.extra = extra.finish();
    }

    /// The other homes that the event shows to be its user's: the device and the e-mail address. None if it names nobody.
    pub fn other_homes(&self) -> impl Iterator<Item = &str> {
        let homes = [self.device.as_deref(), self.address.as_deref()];
        homes.into_iter().flatten().filter(|home| *home != self.subject && !self.is_anonymous())
    }
}

/// The time of an event by our clock: `received_at − (sent_at − client_time)`, never later than `received_at`.
///
/// Without `sent_at` the producer's clock is taken at its word; without `client_time` the event happened when it came.
#[must_use]
pub fn corrected(received_at: Timestamp, client_time: Option<Timestamp>, sent_at: Option<Timestamp>) -> Timestamp {
    let moment = match (client_time, sent_at) {
        (Some(client), Some(sent)) => {
            Timestamp::from_millis_clamped(received_at.as_millis() - (sent.as_millis() - client.as_millis()))
        }
        (Some(client), None) => client,
        (None, _) => received_at,
    };
    moment.min(received_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn event(subject: &str, device: Option<&str>) -> Event {
        Event {
            index: 0,
            id: "m1".to_owned(),
            identity: Identity::Forever,
            kind: Kind::Track,
            subject: subject.to_owned(),
            device: device.map(str::to_owned),
            address: None,
            name: None,
            target: None,
            data: None,
            context: None,
            extra: None,
            client_time: None,
            sent_at: None,
            timestamp: at(0),
        }
    }

    #[test]
    fn the_home_of_an_event_is_its_device_whoever_it_names() {
        let (anonymous, named, server) = (event("d", Some("d")), event("u", Some("d")), event("u", None));
        assert_eq!([anonymous.home(), named.home(), server.home()], ["d", "d", "u"]);
        assert_eq!([&anonymous, &named, &server].map(Event::is_anonymous), [true, false, false]);
        assert_eq!(named.other_homes().collect::<Vec<_>>(), ["d"]);
        assert_eq!(anonymous.other_homes().count() + server.other_homes().count(), 0);
        for (mut event, home) in [(anonymous, "d"), (named, "u"), (server, "u")] {
            let was_other = event.home() != home;
            event.live_with_user();
            assert_eq!(event.home(), home);
            let extra = event.extra.as_ref().map(|extra| extra.get());
            assert_eq!(extra, was_other.then_some(r#"{"anonymousId":"d"}"#));
        }
    }

    #[test]
    fn the_clock_of_a_producer_is_corrected_by_what_it_says_of_itself() {
        let received = at(1_000_000);
        let cases = [
            (Some(at(400_000)), Some(at(500_000)), at(900_000), "a clock that is behind"),
            (Some(at(9_400_000)), Some(at(9_500_000)), at(900_000), "a clock that is ahead"),
            (Some(at(600_000)), Some(at(500_000)), received, "sent before it happened: never in the future"),
            (Some(at(400_000)), None, at(400_000), "no time of sending: taken at its word"),
            (Some(at(2_000_000)), None, received, "taken at its word, but never in the future"),
            (None, Some(at(500_000)), received, "no time at all"),
            (None, None, received, "nothing"),
        ];
        for (client, sent, expected, case) in cases {
            assert_eq!(corrected(received, client, sent), expected, "{case}");
        }
    }
}
