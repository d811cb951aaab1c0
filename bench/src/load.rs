//! What a subject is given to do, and the payloads of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::subject::{Function, Kind};
use crate::workload::{
    TYPICAL_BYTES, http_payload, packed_messages, personal_batch, segment_batch, single_message, sqs_payload,
};

/// So many payloads take turns, so that no two invocations in a row are the same.
const VARIANTS: u64 = 8;
/// The project that stands in payloads for the one of the turn; all names are of this length.
const PLACEHOLDER: &str = "project-000000";

/// Work of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Load {
    /// Who has to do it.
    pub function: Function,
    /// Messages of a batch; 1 for `ingest`, whose unit is a request.
    pub messages: usize,
    /// Events of a request, or of each message.
    pub events: usize,
    /// About how large each event is, as its producer wrote it.
    pub event_bytes: usize,
    /// How many projects take turns.
    pub projects: usize,
    /// Whether all events of a request, or of a message, are about one person; otherwise each is about another.
    pub personal: bool,
}

impl Load {
    /// Requests of so many typical events.
    #[must_use]
    pub const fn request(events: usize) -> Self {
        Self {
            function: Function::Ingest,
            messages: 1,
            events,
            event_bytes: TYPICAL_BYTES,
            projects: 1,
            personal: false,
        }
    }

    /// Batches of so many messages with so many typical events each.
    #[must_use]
    pub const fn batch(messages: usize, events: usize) -> Self {
        Self { function: Function::Consume, messages, events, event_bytes: TYPICAL_BYTES, projects: 1, personal: false }
    }

    /// The same with events of another size.
    #[must_use]
    pub const fn of_bytes(self, event_bytes: usize) -> Self {
        Self { event_bytes, ..self }
    }

    /// The same from so many projects.
    #[must_use]
    pub const fn of_projects(self, projects: usize) -> Self {
        Self { projects, ..self }
    }

    /// The same with requests that are each about one person.
    #[must_use]
    pub const fn of_one_person(self) -> Self {
        Self { personal: true, ..self }
    }

    /// The events of one invocation.
    #[must_use]
    pub fn total(&self) -> usize {
        self.messages * self.events
    }

    /// Whether a subject can be given it: messages with several events are ours alone, and only those of one person are
    /// worth packing.
    #[must_use]
    pub fn suits(&self, kind: Kind) -> bool {
        match kind {
            Kind::Packed => self.personal,
            Kind::Holdfast => true,
            Kind::Floor | Kind::NaiveRust | Kind::Node | Kind::Python => {
                self.function == Function::Ingest || self.events == 1
            }
        }
    }

    fn body(&self, first: u64) -> String {
        if self.personal {
            personal_batch(first, self.events, self.event_bytes)
        } else {
            segment_batch(first, self.events, self.event_bytes)
        }
    }

    /// The payloads of it for a subject.
    ///
    /// # Errors
    /// Our own `ingest` refuses the events.
    pub fn payloads(&self, kind: Kind) -> anyhow::Result<Payloads> {
        let templates = (0..VARIANTS).map(|variant| self.payload(kind, variant)).collect::<anyhow::Result<_>>()?;
        Ok(Payloads { templates, projects: self.projects })
    }

    fn payload(&self, kind: Kind, variant: u64) -> anyhow::Result<String> {
        let first = |message: usize| variant * 1_000_000 + (message * self.events) as u64;
        if self.function == Function::Ingest {
            let body = self.body(first(0));
            return text(&http_payload(&body, PLACEHOLDER));
        }
        let mut messages = Vec::new();
        for message in 0..self.messages {
            let project = project(message % self.projects);
            if kind.is_ours() {
                messages.extend(packed_messages(&project, &self.body(first(message)))?);
            } else {
                messages.push(single_message(&project, first(message), self.event_bytes));
            }
        }
        text(&sqs_payload(&messages))
    }
}

fn text(payload: &Bytes) -> anyhow::Result<String> {
    Ok(std::str::from_utf8(payload)?.to_owned())
}

fn project(number: usize) -> String {
    format!("project-{number:06}")
}

/// The payloads of a load, in an endless row.
pub struct Payloads {
    templates: Vec<String>,
    projects: usize,
}

impl Payloads {
    /// The one for the invocation of that number.
    #[must_use]
    pub fn at(&self, number: usize) -> Bytes {
        let template = &self.templates[number % self.templates.len()];
        if self.projects == 1 {
            return Bytes::from(template.clone());
        }
        let (from, to) = (credentials(PLACEHOLDER), credentials(&project(number % self.projects)));
        Bytes::from(template.replacen(&from, &to, 1))
    }
}

/// A write key as it stands in the header of a request.
fn credentials(write_key: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("{write_key}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_take_turns() {
        let payloads = Load::request(1).of_projects(3).payloads(Kind::Holdfast).unwrap();
        let has = |number: usize, of: usize| {
            std::str::from_utf8(&payloads.at(number)).unwrap().contains(&credentials(&project(of)))
        };
        assert!(has(0, 0) && has(4, 1) && has(5, 2) && !has(5, 1));
    }

    #[test]
    fn only_ours_packs_several_events_into_a_message() {
        assert!(Load::batch(10, 10).suits(Kind::Holdfast) && !Load::batch(10, 10).suits(Kind::Node));
        assert!(Load::batch(10, 1).suits(Kind::Node) && Load::request(500).suits(Kind::Python));
        let payload = Load::batch(2, 3).payloads(Kind::Holdfast).unwrap().at(0);
        let event: aws_lambda_events::sqs::SqsEvent = serde_json::from_slice(&payload).unwrap();
        assert_eq!(event.records.len(), 2);
    }
}
