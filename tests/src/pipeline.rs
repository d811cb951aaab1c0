//! The pipeline under test.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use consume::dead_letter::State;
use consume::decode::Delivery;
use consume::deliver::{Consume, Ports};
use consume::dynamo_table::{DynamoTable, read};
use consume::incoming::Payload;
use consume::profile::{self, Profile, Section};
use consume::sqs_queue::SqsQueue as ConsumeQueue;
use consume::store::ORIGIN;
use consume::table::Table;
use ingest::accept::{Account, Call, Ingest};
use ingest::config::Config;
use ingest::key_table::KeyTable;
use ingest::queue::SqsQueue;
use ingest::spill::SpillTable;
use lambda_runtime::{Context, LambdaEvent};
use local::provision::{self, DEV};
use local::template::{Queue, Settings, Template};
use local::{clients, dynamodb, mapping, sqs};
use receipts::answer::Receipts;
use serde_json::{Value, json};
use shared::clock::{Clock, ManualClock, Timestamp};
use shared::keys::{USER_HOME, WRITE_KEY_SORT, write_key_attribute, write_key_hash, write_key_partition};
use shared::message::Message;
use tokio::net::TcpListener;

use crate::law::{self, Ledger};
use crate::packed;

/// The moment at which every test begins.
const START_MILLIS: i64 = 1_700_000_000_000;
/// Deliveries within which everything must have been settled.
const DELIVERIES_MAX: usize = 500;

/// For how long dead letters are kept.
const LETTERS_KEPT_FOR: Duration = Duration::from_secs(90 * 86_400);

/// An item of a table.
pub type Item = HashMap<String, AttributeValue>;

/// The real functions with the real adapters, and stand-ins on loopback.
pub struct Pipeline {
    /// The clock of everything.
    pub clock: Arc<ManualClock>,
    /// The queue's switches.
    pub sqs_faults: sqs::Faults,
    /// The tables' switches.
    pub dynamodb_faults: dynamodb::Faults,
    /// The function behind the HTTP API.
    pub ingest: Ingest<KeyTable, SqsQueue, SpillTable>,
    /// The function that tells what has become of events.
    pub receipts: Receipts<KeyTable, DynamoTable>,
    consume: Consume<DynamoTable, ConsumeQueue>,
    ports: Ports<DynamoTable, ConsumeQueue>,
    sqs: sqs::Server,
    /// Held because dropping it would stop it.
    _dynamodb: dynamodb::Server,
    sqs_client: aws_sdk_sqs::Client,
    dynamodb_client: aws_sdk_dynamodb::Client,
    queue: Queue,
    quarantine: Queue,
    events: String,
    dead_letters: String,
    spill: String,
    ledger: Mutex<Ledger>,
    requests: Mutex<u32>,
    finished: bool,
}

/// What one delivery came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Messages in the batch.
    pub messages: usize,
    /// Messages that stay in the queue.
    pub kept: usize,
}

impl Pipeline {
    /// Starts an empty pipeline as the template describes it, with the project `dev` and the write key `dev`.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START_MILLIS).expect("within the range")));
        let queue_clock = Arc::clone(&clock);
        let queue_clock = Arc::new(move || queue_clock.now().as_millis());
        let sqs = sqs::Server::start(listener().await, sqs::Options { clock: queue_clock, data: None }).await;
        let sqs = sqs.expect("SQS starts");
        let dynamodb = dynamodb::Server::start(listener().await, dynamodb::Options { data: None }).await;
        let dynamodb = dynamodb.expect("DynamoDB starts");
        let settings = Settings { parameters: packed::parameters(), sqs_endpoint: sqs.endpoint() };
        let template = Template::parse_with(local::TEMPLATE, &settings).expect("the template is understood");

        // The functions' own retries within a call, but without their pauses.
        let retries = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1));
        let sqs_config = clients::sqs(&sqs.endpoint()).config().to_builder().retry_config(retries.clone()).build();
        let sqs_client = aws_sdk_sqs::Client::from_conf(sqs_config);
        let config = clients::dynamodb(&dynamodb.endpoint()).config().to_builder().retry_config(retries).build();
        let dynamodb_client = aws_sdk_dynamodb::Client::from_conf(config);

        provision::provision(&template, &sqs_client, &dynamodb_client).await.expect("queues and tables are made");
        let table = |id: &str| template.table(id).expect("a table of the template").name.clone();
        let queue = |id: &str| template.queue(id).expect("a queue of the template").clone();
        let (events, dead_letters, spill) = (table("EventsTable"), table("DeadLettersTable"), table("SpillTable"));
        provision::create_write_key(&dynamodb_client, &events, DEV, "default", DEV).await.expect("a key is made");

        let variables = BTreeMap::from([
            ("EVENTS_QUEUE_URL", queue("EventsQueue").url),
            ("EVENTS_TABLE_NAME", events.clone()),
            ("DEAD_LETTERS_TABLE_NAME", dead_letters.clone()),
            ("SPILL_TABLE_NAME", spill.clone()),
        ]);
        let ingest = Ingest::new(
            Config::from_lookup(&|name| variables.get(name).cloned()).expect("the configuration is right"),
            KeyTable::new(dynamodb_client.clone(), events.clone()),
            SqsQueue::new(sqs_client.clone(), queue("EventsQueue").url),
            SpillTable::new(dynamodb_client.clone(), spill.clone()),
            Arc::<ManualClock>::clone(&clock),
        );
        let dynamo_table = |name: &String| DynamoTable::new(dynamodb_client.clone(), name.clone());
        let ports = Ports {
            events: dynamo_table(&events),
            dead_letters: dynamo_table(&dead_letters),
            spill: dynamo_table(&spill),
            queue: ConsumeQueue::new(sqs_client.clone(), queue("EventsQueue").url),
            quarantine: ConsumeQueue::new(sqs_client.clone(), queue("QuarantineQueue").url),
        };
        let receipts = Receipts::new(
            receipts::config::Config::from_lookup(&|name| variables.get(name).cloned()).expect("so is this"),
            KeyTable::new(dynamodb_client.clone(), events.clone()),
            dynamo_table(&events),
            dynamo_table(&dead_letters),
            Arc::<ManualClock>::clone(&clock),
        );
        let consume = Consume::new(ports.clone(), LETTERS_KEPT_FOR, Arc::<ManualClock>::clone(&clock))
            .packed(packed::packed_period());
        Self {
            ports,
            sqs_faults: sqs.faults(),
            dynamodb_faults: dynamodb.faults(),
            queue: queue("EventsQueue"),
            quarantine: queue("QuarantineQueue"),
            clock,
            ingest,
            receipts,
            consume,
            sqs,
            _dynamodb: dynamodb,
            sqs_client,
            dynamodb_client,
            events,
            dead_letters,
            spill,
            ledger: Mutex::default(),
            requests: Mutex::new(0),
            finished: false,
        }
    }

    /// Sends a call of Segment's API with the key `dev`. Returns status and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_bytes(path, body.to_string().into_bytes()).await
    }

    /// Like [`Self::post`], with any bytes for a body.
    pub async fn post_bytes(&self, path: &str, body: Vec<u8>) -> (u16, Value) {
        let (status, body, _) = self.call(&Call { body, ..self.segment_call(path, &Value::Null) }).await;
        (status, body)
    }

    /// A call of Segment's API with the key `dev`.
    #[must_use]
    pub fn segment_call(&self, path: &str, body: &Value) -> Call {
        let authorization = Some("Basic ZGV2Og==".to_owned());
        let body = body.to_string().into_bytes();
        Call { method: "POST".into(), path: path.into(), authorization, body, ..Call::default() }
    }

    /// Sends any call. What is answered 200 is from now on an accepted event, which must have a fate.
    ///
    /// # Panics
    /// The answer is not JSON.
    pub async fn call(&self, call: &Call) -> (u16, Value, Account) {
        let number = {
            let mut requests = self.requests.lock().expect("no test panics while it counts");
            *requests += 1;
            *requests
        };
        let (answer, account) = self.ingest.answer(call, &format!("receipt{number:06}")).await;
        let reply = answer.reply();
        if reply.status == 200 && !account.receipt.is_empty() {
            self.ledger().accept(&account.receipt, account.events + account.refused);
        }
        (reply.status, serde_json::from_slice(&reply.body).expect("every body is JSON"), account)
    }

    /// Asks what has become of events; status and body.
    ///
    /// # Panics
    /// The answer is not JSON.
    pub async fn ask(&self, call: &Call) -> (u16, Value) {
        let reply = self.receipts.answer(call).await.0.reply();
        (reply.status, serde_json::from_slice(&reply.body).expect("every body is JSON"))
    }

    /// Delivers one batch of at most ten messages, as the event source mapping does.
    ///
    /// # Panics
    /// The queue does not answer, or `consume` says something that the mapping does not understand.
    pub async fn deliver(&self) -> Delivered {
        self.deliver_from(&self.queue, 10).await
    }

    /// Delivers one message of the quarantine, as its event source mapping does.
    ///
    /// # Panics
    /// As [`Self::deliver`].
    pub async fn deliver_quarantined(&self) -> Delivered {
        self.deliver_from(&self.quarantine, 1).await
    }

    async fn deliver_from(&self, queue: &Queue, most: i32) -> Delivered {
        let received = self
            .sqs_client
            .receive_message()
            .queue_url(&queue.url)
            .max_number_of_messages(most)
            .message_system_attribute_names("All".into())
            .message_attribute_names("All")
            .send()
            .await
            .expect("the queue answers");
        let messages = received.messages();
        if messages.is_empty() {
            return Delivered::default();
        }
        for message in messages {
            self.see(message.body().unwrap_or_default());
        }
        let event = mapping::event(messages, &queue.arn, local::lambda::REGION);
        let payload = serde_json::from_slice(&event).expect("the mapping makes an event");
        let response = self.invoke(payload).await;
        let ids: Vec<&str> = messages.iter().map(|message| message.message_id().unwrap_or_default()).collect();
        let verdict = match &response {
            Ok(response) => mapping::settle(Ok(response), &ids, true),
            Err(()) => mapping::settle(Err(()), &ids, true),
        };
        for position in &verdict.delete {
            let handle = messages[*position].receipt_handle().unwrap_or_default();
            let delete = self.sqs_client.delete_message().queue_url(&queue.url).receipt_handle(handle);
            delete.send().await.expect("the queue deletes");
        }
        Delivered { messages: messages.len(), kept: verdict.keep.len() }
    }

    /// Delivers what is in the spill table, as the mapping of its stream does; how many items there were.
    ///
    /// # Panics
    /// The table does not answer, or `consume` fails altogether.
    pub async fn deliver_spilled(&self) -> usize {
        let items = self.spilled().await;
        let records: Vec<Value> = items
            .iter()
            .enumerate()
            .map(|(position, item)| {
                self.see(&text(item, "body"));
                let keys = json!({"pk": {"S": text(item, "pk")}, "sk": {"S": text(item, "sk")}});
                json!({"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": position.to_string()}})
            })
            .collect();
        if !records.is_empty() {
            let payload = serde_json::from_value(json!({"Records": records})).expect("a payload");
            self.invoke(payload).await.expect("consume answers");
        }
        items.len()
    }

    /// Sweeps the spill table, as the schedule does; whether that succeeded.
    ///
    /// # Panics
    /// Never; the payload is fixed.
    pub async fn sweep(&self) -> bool {
        let payload = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
        self.invoke(serde_json::from_value(payload).expect("a payload")).await.is_ok()
    }

    /// Notes what a message carries, if it is one.
    fn see(&self, body: &str) {
        if let Ok(message) = Message::decode(body) {
            self.ledger().see(&message);
        }
    }

    /// Takes one message out of the queue, to be put in again later; its text.
    ///
    /// # Panics
    /// There is none.
    pub async fn deliver_later(&self) -> String {
        let received = self.sqs_client.receive_message().queue_url(&self.queue.url).send().await;
        let messages = received.expect("the queue answers").messages.unwrap_or_default();
        let message = messages.first().expect("a message is in the queue");
        let handle = message.receipt_handle().unwrap_or_default();
        let delete = self.sqs_client.delete_message().queue_url(&self.queue.url).receipt_handle(handle);
        delete.send().await.expect("the queue deletes");
        message.body().unwrap_or_default().to_owned()
    }

    /// Takes all messages out of the queue, to be delivered to an environment of one's own.
    ///
    /// # Panics
    /// The queue does not answer.
    pub async fn take(&self) -> Vec<Delivery> {
        let mut taken = Vec::new();
        loop {
            let receive = self.sqs_client.receive_message().queue_url(&self.queue.url).max_number_of_messages(10);
            let received = receive.send().await.expect("the queue answers").messages.unwrap_or_default();
            if received.is_empty() {
                return taken;
            }
            for message in received {
                let handle = message.receipt_handle().unwrap_or_default();
                let delete = self.sqs_client.delete_message().queue_url(&self.queue.url).receipt_handle(handle);
                delete.send().await.expect("the queue deletes");
                let body = message.body().unwrap_or_default().to_owned();
                self.see(&body);
                taken.push(Delivery {
                    message_id: message.message_id().unwrap_or_default().to_owned(),
                    body,
                    receive_count: 1,
                    sent_at: self.clock.now(),
                    receipt_handle: String::new(),
                    group: DEV.to_owned(),
                    redrive: None,
                });
            }
        }
    }

    /// Another environment of `consume` over the same tables and queues: `table` makes of each table what it works with.
    pub fn environment<T: Table>(
        &self,
        clock: Arc<dyn Clock>,
        table: impl Fn(DynamoTable) -> T,
    ) -> Consume<T, ConsumeQueue> {
        let Ports { events, dead_letters, spill, queue, quarantine } = self.ports.clone();
        let (events, dead_letters, spill) = (table(events), table(dead_letters), table(spill));
        let ports = Ports { events, dead_letters, spill, queue, quarantine };
        Consume::new(ports, LETTERS_KEPT_FOR, clock).packed(packed::packed_period())
    }

    /// Invokes `consume` with an event; the response as it goes over the wire, or `Err` if the invocation failed.
    pub async fn invoke(&self, payload: Payload) -> Result<Vec<u8>, ()> {
        let mut context = Context::default();
        context.deadline = u64::try_from(self.clock.now().as_millis()).unwrap_or(0) + 60_000;
        let event = LambdaEvent::new(payload, context);
        let response = consume::handler::respond(&self.consume, &self.quarantine.name, event, false).await;
        response.map(|response| serde_json::to_vec(&response).unwrap_or_default()).map_err(|_| ())
    }

    /// Delivers until queue, quarantine and spill table are empty, letting time pass where messages wait for their
    /// visibility. Returns how many batches it took.
    ///
    /// # Panics
    /// They do not become empty.
    pub async fn drain(&self) -> usize {
        for deliveries in 0..DELIVERIES_MAX {
            let (delivered, quarantined) = (self.deliver().await.messages, self.deliver_quarantined().await.messages);
            if delivered + quarantined + self.deliver_spilled().await == 0 {
                if self.waiting().await + self.quarantined().await == 0 {
                    return deliveries;
                }
                self.pass(Duration::from_secs(600));
            }
        }
        panic!("something is left after {DELIVERIES_MAX} deliveries");
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.sqs.poke();
    }

    /// Messages in the queue, in flight ones included.
    pub async fn waiting(&self) -> usize {
        self.depth(&self.queue.url).await
    }

    /// Messages in the quarantine.
    pub async fn quarantined(&self) -> usize {
        self.depth(&self.quarantine.url).await
    }

    async fn depth(&self, url: &str) -> usize {
        let reply = self.sqs_client.get_queue_attributes().queue_url(url).attribute_names("All".into()).send().await;
        let reply = reply.expect("the queue answers");
        let attributes = reply.attributes().expect("a queue has attributes");
        let counts = attributes.iter().filter(|(name, _)| name.as_str().starts_with("ApproximateNumberOfMessages"));
        counts.map(|(_, count)| count.parse::<usize>().unwrap_or(0)).sum()
    }

    /// Puts a text into the queue as somebody else might.
    ///
    /// # Panics
    /// The queue does not take it.
    pub async fn enqueue(&self, body: &str) {
        let send = self.sqs_client.send_message().queue_url(&self.queue.url).message_body(body);
        send.send().await.expect("the queue takes a message");
    }

    /// All items of the events table but write keys, with events as items of their own, whichever way they are stored.
    pub async fn items(&self) -> Vec<Item> {
        let items = self.scan(&self.events).await;
        items
            .iter()
            .flat_map(packed::events_of)
            .filter(|item| !["KEY#", "KEYS"].iter().any(|own| text(item, "pk").starts_with(own)))
            .collect()
    }

    /// The items of events that are stored, and not erased.
    pub async fn stored(&self) -> Vec<Item> {
        self.items().await.into_iter().filter(|item| item.contains_key(ORIGIN)).collect()
    }

    /// The traits of a person of the project `dev`.
    pub async fn traits(&self, subject: &str) -> Value {
        self.profile(subject, Section::Traits).await
    }

    /// A part of what is known of a person of the project `dev`, all ids that became it included, each name with its
    /// value only; `Null` if there is nothing.
    ///
    /// # Panics
    /// A profile is not one.
    pub async fn profile(&self, subject: &str, section: Section) -> Value {
        let homes = cli::people::homes(&self.events_table(), DEV, subject).await.expect("links can be read");
        let mut view = Profile::default();
        for item in self.items().await {
            let is_theirs = text(&item, "pk").split_once('#').is_some_and(|(_, id)| homes.ids.contains(id));
            if is_theirs && [profile::SORT, profile::DEVICE_SORT].contains(&text(&item, "sk").as_str()) {
                view.join(&read(&item).and_then(|(_, attributes)| Profile::read(&attributes)).expect("a profile").0);
            }
        }
        let values: BTreeMap<&str, Value> = view
            .values(section)
            .map(|(name, value)| (name, serde_json::from_str(value).expect("a value is JSON")))
            .collect();
        if values.is_empty() { Value::Null } else { json!(values) }
    }

    /// The items of the spill table.
    pub async fn spilled(&self) -> Vec<Item> {
        self.scan(&self.spill).await
    }

    /// The dead letters; parts of large ones are left out.
    pub async fn letters(&self) -> Vec<Item> {
        let items = self.scan(&self.dead_letters).await;
        items.into_iter().filter(|item| item.contains_key("reason")).collect()
    }

    /// The reasons of the dead letters, sorted.
    pub async fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self.letters().await.iter().map(|letter| text(letter, "reason")).collect();
        reasons.sort_unstable();
        reasons
    }

    /// The table of dead letters, as `consume` and an operator work with it.
    #[must_use]
    pub fn dead_letters_table(&self) -> DynamoTable {
        DynamoTable::new(self.dynamodb_client.clone(), self.dead_letters.clone())
    }

    /// The table of events, as an operator works with it.
    #[must_use]
    pub fn events_table(&self) -> DynamoTable {
        DynamoTable::new(self.dynamodb_client.clone(), self.events.clone())
    }

    /// The events in their table, as an operator reads them.
    #[must_use]
    pub fn timelines(&self) -> cli::aws::EventTable {
        cli::aws::EventTable::new(self.dynamodb_client.clone(), self.events.clone())
    }

    /// The write keys, as an operator changes them.
    #[must_use]
    pub fn write_keys(&self) -> cli::aws::WriteKeys {
        cli::aws::WriteKeys::new(self.dynamodb_client.clone(), self.events.clone())
    }

    /// The queue of events, as an operator sends to it.
    #[must_use]
    pub fn events_queue(&self) -> ConsumeQueue {
        ConsumeQueue::new(self.sqs_client.clone(), self.queue.url.clone())
    }

    /// Gives the project `dev` another write key.
    ///
    /// # Panics
    /// The table does not take it.
    pub async fn create_write_key(&self, write_key: &str) {
        let made = provision::create_write_key(&self.dynamodb_client, &self.events, DEV, write_key, write_key);
        made.await.expect("a key is made");
    }

    /// Gives the project `dev` another write key, whose events live with the user that they name.
    ///
    /// # Panics
    /// The table does not take it.
    pub async fn create_write_key_of_users(&self, write_key: &str) {
        self.create_write_key(write_key).await;
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = self.dynamodb_client.update_item().table_name(&self.events);
        let update = update.key("pk", text(&write_key_partition(&write_key_hash(write_key))));
        let update = update.key("sk", text(WRITE_KEY_SORT)).update_expression("SET #home = :user");
        let update = update.expression_attribute_names("#home", write_key_attribute::HOME);
        let update = update.expression_attribute_values(":user", text(USER_HOME));
        update.send().await.expect("the table changes the key");
    }

    /// Every item of every table, as it is stored.
    pub async fn everything(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for table in [&self.events, &self.dead_letters, &self.spill] {
            items.extend(self.scan(table).await);
        }
        items
    }

    /// Makes another project, with a write key.
    ///
    /// # Panics
    /// The table does not take it.
    pub async fn create_project(&self, project: &str, write_key: &str) {
        let made = provision::create_write_key(&self.dynamodb_client, &self.events, project, "default", write_key);
        made.await.expect("a key is made");
    }

    async fn scan(&self, table: &str) -> Vec<Item> {
        let scan = self.dynamodb_client.scan().table_name(table).consistent_read(true);
        let pages = scan.into_paginator().items().send();
        pages.collect::<Result<Vec<_>, _>>().await.expect("the table answers")
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no test panics while it writes the ledger")
    }

    /// Ends the test: faults off, everything delivered, and every accepted event with exactly one fate.
    ///
    /// # Panics
    /// An accepted event has no fate, or more than one.
    pub async fn finish(mut self) {
        self.finished = true;
        self.sqs_faults.clear();
        self.dynamodb_faults.clear_all();
        self.drain().await;
        assert_eq!(self.quarantined().await, 0, "nothing is left in the quarantine");
        let (items, mut letters) = (self.items().await, self.letters().await);
        // What was in a settled letter has another fate.
        letters.retain(|letter| text(letter, "state") != State::Settled.tag());
        let raw = self.scan(&self.events).await;
        self.ledger().verify(&raw);
        let traces = raw.iter().flat_map(packed::traces_of).collect();
        law::check(&self.ledger(), &items, &traces, &letters);
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "a test of the pipeline must end with finish()");
    }
}

/// A text attribute of an item; empty if it has none.
pub(crate) fn text(item: &Item, name: &str) -> String {
    item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// A track call with an id and a time of its own.
#[must_use]
pub fn track(user: &str, id: &str) -> Value {
    json!({
        "type": "track", "userId": user, "event": "Did It", "messageId": id, "properties": {"id": id},
        "timestamp": "2023-11-14T22:13:10.000Z",
    })
}
