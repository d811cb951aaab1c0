//! One event from its request to its item, which takes everything that it has made away again.

use std::time::Duration;

use consume::bundle::{prefix_of, sort_of};
use consume::store::{EVENT_SORT, ORIGIN, partition};
use consume::table::{Key, Table, delete_all, get_all};
use shared::clock::Timestamp;
use shared::keys::{REGISTER_PARTITION, WRITE_KEY_SORT, register_sort, write_key_hash, write_key_partition};
use shared::outcome::Cause;
use tokio::time::{Instant, sleep};

use crate::http::Http;
use crate::keys::{self, Home, NewKey, create, random_key};
use crate::producer::{Delivered, Protocol, deliver, single};

/// The project of canaries: nobody else's events are in it.
pub const CANARY_PROJECT: &str = "holdfast-canary";
/// How long an event may take to be stored. A queue without a backlog takes two seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one look at the table to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// How long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// From the request to its answer.
    pub accepted: Duration,
    /// From the request to the item.
    pub stored: Duration,
}

/// Where it ended.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// It has no write key.
    #[error("it got no write key: {0}")]
    NoKey(#[from] keys::Error),
    /// It was not accepted.
    #[error("it was not accepted: {0}")]
    NotAccepted(String),
    /// It was accepted, and is not there.
    #[error("it was accepted, and is not stored after {} s; look at the queue and at the log of consume", PATIENCE.as_secs())]
    NotStored,
    /// The table could not be read.
    #[error("the events table could not be read ({})", .0.tag())]
    Unread(Cause),
    /// What it has made is still there.
    #[error("what it has made in project {CANARY_PROJECT} could not be taken away ({})", .0.tag())]
    NotTakenAway(Cause),
}

/// Sends an event with a write key of its own, waits for its item, and takes both away.
///
/// # Errors
/// Where it ended. What it has made is taken away as far as that is possible.
pub async fn canary(table: &impl Table, http: &Http, now: Timestamp) -> Result<Canary, CanaryError> {
    let (write_key, id) = (random_key(), random_key());
    let source = "doctor";
    let new = NewKey {
        key: write_key.clone(),
        project: CANARY_PROJECT.into(),
        source: source.into(),
        secret: None,
        home: Home::Device,
    };
    let hash = write_key_hash(&write_key);
    let places = places(&id, now);
    let made = [
        places[0].clone(),
        places[1].clone(),
        Key { pk: write_key_partition(&hash), sk: WRITE_KEY_SORT.into() },
        Key { pk: REGISTER_PARTITION.into(), sk: register_sort(CANARY_PROJECT, source, &hash) },
    ];
    let flown = match create(table, &new, now).await {
        Ok(_) => fly(table, http, &write_key, &places, &id, now).await,
        Err(error) => Err(error.into()),
    };
    let taken_away = delete_all(table, &made).await.map_err(CanaryError::NotTakenAway);
    let flown = flown?;
    taken_away?;
    Ok(flown)
}

/// Where its event can be: as an item of its own, or in the first bundle of a user whom nobody else knows.
fn places(id: &str, now: Timestamp) -> [Key; 2] {
    let (pk, event) = (partition(CANARY_PROJECT, id), format!("{EVENT_SORT}{now}#{id}"));
    let bundle = sort_of(&prefix_of(&event).unwrap_or_default(), 0);
    [event, bundle].map(|sk| Key { pk: pk.clone(), sk })
}

async fn fly(
    table: &impl Table,
    http: &Http,
    write_key: &str,
    places: &[Key],
    id: &str,
    now: Timestamp,
) -> Result<Canary, CanaryError> {
    // Its time makes its key known beforehand, and with its id it leaves no marker.
    let text = serde_json::json!({"userId": id, "event": "Canary", "messageId": id, "timestamp": now.to_string()});
    let call = single(Protocol::Segment, "", write_key, &text.to_string(), id);
    let call = call.map_err(|error| CanaryError::NotAccepted(error.to_string()))?;
    let began = Instant::now();
    match deliver(http, &call, || ()).await {
        Delivered::Accepted { .. } => {}
        Delivered::Refused { status, message } => return Err(CanaryError::NotAccepted(format!("{status} {message}"))),
        Delivered::Failed { message } => return Err(CanaryError::NotAccepted(message)),
    }
    let accepted = began.elapsed();
    while began.elapsed() < PATIENCE {
        let found = get_all(table, places.to_vec(), Some(ORIGIN)).await.map_err(CanaryError::Unread)?;
        if !found.is_empty() {
            return Ok(Canary { accepted, stored: began.elapsed() });
        }
        sleep(PAUSE).await;
    }
    Err(CanaryError::NotStored)
}
