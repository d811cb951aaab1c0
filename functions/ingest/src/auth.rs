//! Write keys: where a request carries them, whom they belong to, and a cache in front of the table.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use lru::LruCache;
use shared::clock::{Clock, Timestamp};
use shared::keys::{is_write_key, write_key_hash};

use crate::response::Problem;

/// Whose events a write key brings.
#[derive(Clone, PartialEq, Eq)]
pub struct Owner {
    /// The project.
    pub project: String,
    /// The source of the project: one write key.
    pub source: String,
    /// What the webhooks of this source are signed with; without it they need no signature.
    pub secret: Option<String>,
}

/// Tells whether there is a secret, but not which.
impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, source, secret } = self;
        let signed = secret.is_some();
        f.debug_struct("Owner").field("project", project).field("source", source).field("signed", &signed).finish()
    }
}

/// The table of keys could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the table of write keys could not be read")]
pub struct LookupError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where write keys are looked up.
pub trait KeyLookup {
    /// Finds the owner of a key by the hash of the key; `None` if nobody has it or it is disabled.
    fn find(&self, hash: &str) -> impl Future<Output = Result<Option<Owner>, LookupError>> + Send;
}

/// How long a known key is taken for granted. It bounds how long a disabled key still works.
const FRESH: Duration = Duration::from_secs(60);
/// How long an unknown key is. It bounds how long a new key is refused that was tried before it was made.
const FRESH_UNKNOWN: Duration = Duration::from_secs(5);
/// How long a key that was known before waits for the table.
const PATIENCE_KNOWN: Duration = Duration::from_millis(300);
/// How long a key never seen does: about the SDK's three attempts.
const PATIENCE_UNKNOWN: Duration = Duration::from_millis(2_500);
/// After the table could not be asked, how long it is not asked about keys that were known before: so an outage costs
/// no request its time.
const AWAY: Duration = Duration::from_secs(5);
/// The most keys that are remembered. An entry takes about 400 bytes.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("ten thousand is not zero");

type Remembered = (Option<Owner>, Timestamp);

/// The keys as this environment knows them.
pub struct Keys<L> {
    lookup: L,
    cache: Mutex<LruCache<String, Remembered>>,
    failed_at: Mutex<Option<Timestamp>>,
}

impl<L: KeyLookup> Keys<L> {
    /// Keys that are looked up in `lookup`.
    pub fn new(lookup: L) -> Self {
        Self { lookup, cache: Mutex::new(LruCache::new(REMEMBERED)), failed_at: Mutex::new(None) }
    }

    /// Finds the owner of a key.
    ///
    /// While the table cannot be asked, a key that was known before is taken as it was, however long ago: a producer is
    /// not turned away for a trouble of ours.
    ///
    /// # Errors
    /// [`Problem::UnknownWriteKey`], or [`Problem::Unavailable`] if the table cannot be asked about a key never seen.
    pub async fn owner(&self, key: &str, clock: &dyn Clock) -> Result<Owner, Problem> {
        if !is_write_key(key) {
            return Err(Problem::UnknownWriteKey);
        }
        let hash = write_key_hash(key);
        let known = self.remembered(&hash);
        if let Some((owner, asked_at)) = &known {
            let fresh = if owner.is_some() { FRESH } else { FRESH_UNKNOWN };
            // A clock that was set back makes an answer old rather than eternal.
            if clock.now() >= *asked_at && clock.now().since(*asked_at) < fresh {
                return owner.clone().ok_or(Problem::UnknownWriteKey);
            }
        }
        let known_owner = known.and_then(|(owner, _)| owner);
        if let Some(owner) = known_owner.clone().filter(|_| self.is_away(clock.now())) {
            return Ok(owner);
        }
        let patience = if known_owner.is_some() { PATIENCE_KNOWN } else { PATIENCE_UNKNOWN };
        let found = tokio::time::timeout(patience, self.lookup.find(&hash)).await;
        match found.unwrap_or_else(|late| Err(LookupError(late.into()))) {
            Ok(owner) => {
                self.cache.lock().expect(NEVER_POISONED).put(hash, (owner.clone(), clock.now()));
                owner.ok_or(Problem::UnknownWriteKey)
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, known = known_owner.is_some(), "a write key could not be checked");
                *self.failed_at.lock().expect(NEVER_POISONED) = Some(clock.now());
                known_owner.ok_or(Problem::Unavailable)
            }
        }
    }

    /// Whether the table could not be asked a moment ago.
    fn is_away(&self, now: Timestamp) -> bool {
        let failed_at = *self.failed_at.lock().expect(NEVER_POISONED);
        failed_at.is_some_and(|failed_at| now >= failed_at && now.since(failed_at) < AWAY)
    }

    fn remembered(&self, hash: &str) -> Option<Remembered> {
        self.cache.lock().expect(NEVER_POISONED).get(hash).cloned()
    }
}

const NEVER_POISONED: &str = "nothing panics while it holds the cache";

/// The write key of an `Authorization` header: the user name of `Basic`, with or without the colon after it. Of
/// `Bearer` there is none: with it the key is in the body.
#[must_use]
pub fn from_header(authorization: &str) -> Option<String> {
    let (scheme, credentials) = authorization.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = credentials.trim();
    let bytes = STANDARD.decode(credentials).or_else(|_| STANDARD_NO_PAD.decode(credentials)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let key = text.split_once(':').map_or(text.as_str(), |(user, _)| user);
    (!key.is_empty()).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use shared::clock::ManualClock;

    use super::*;

    #[test]
    fn keys_are_found_where_clients_put_them() {
        for (header, expected) in [
            ("Basic ZGV2Og==", Some("dev")),
            ("basic ZGV2", Some("dev")),
            ("Basic ZGV2OnBhc3M=", Some("dev")),
            ("Basic ZGV2Og", Some("dev")),
            ("Basic Og==", None),
            ("Basic !!", None),
            ("Basic //79", None),
            ("Bearer abc", None),
            ("Basic", None),
            ("", None),
        ] {
            assert_eq!(from_header(header).as_deref(), expected, "{header}");
        }
    }

    /// A table with one key that can be away.
    #[derive(Default)]
    struct Table {
        away: std::sync::atomic::AtomicBool,
        asked: AtomicUsize,
    }

    impl KeyLookup for &Table {
        async fn find(&self, hash: &str) -> Result<Option<Owner>, LookupError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.away.load(Ordering::SeqCst) {
                return Err(LookupError("away".into()));
            }
            let owner = Owner { project: "dev".into(), source: "default".into(), secret: None };
            Ok((hash == write_key_hash("known")).then_some(owner))
        }
    }

    #[tokio::test]
    async fn a_key_is_asked_for_once_a_minute_and_outlives_an_absence_of_the_table() {
        let table = Table::default();
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000).unwrap());
        let keys = Keys::new(&table);
        for _ in 0..3 {
            assert_eq!(keys.owner("known", &clock).await.unwrap().project, "dev");
        }
        assert_eq!(table.asked.load(Ordering::SeqCst), 1);
        clock.advance(FRESH);
        keys.owner("known", &clock).await.unwrap();
        assert_eq!(table.asked.load(Ordering::SeqCst), 2);

        table.away.store(true, Ordering::SeqCst);
        clock.advance(Duration::from_secs(3600));
        assert!(keys.owner("known", &clock).await.is_ok());
        assert_eq!(keys.owner("never seen", &clock).await, Err(Problem::Unavailable));
    }

    #[tokio::test]
    async fn an_unknown_key_is_remembered_for_seconds_only() {
        let table = Table::default();
        let clock = ManualClock::new(Timestamp::from_millis(0).unwrap());
        let keys = Keys::new(&table);
        for _ in 0..3 {
            assert_eq!(keys.owner("unknown", &clock).await, Err(Problem::UnknownWriteKey));
        }
        assert_eq!(table.asked.load(Ordering::SeqCst), 1);
        clock.advance(FRESH_UNKNOWN);
        assert_eq!(keys.owner("unknown", &clock).await, Err(Problem::UnknownWriteKey));
        assert_eq!(table.asked.load(Ordering::SeqCst), 2);
        assert_eq!(keys.owner(&"x".repeat(513), &clock).await, Err(Problem::UnknownWriteKey));
        assert_eq!(table.asked.load(Ordering::SeqCst), 2);
    }
}
