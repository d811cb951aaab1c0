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

use crate::breaker::Breaker;
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
    /// Whether its events live with the user that they name, since its `anonymousId` is no device.
    pub lives_with_user: bool,
}

/// Tells whether there is a secret, but not which.
impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, source, secret, lives_with_user } = self;
        f.debug_struct("Owner")
            .field("project", project)
            .field("source", source)
            .field("signed", &secret.is_some())
            .field("lives_with_user", lives_with_user)
            .finish()
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
/// How long the table may take to tell whose a key is, with the SDK's retries.
pub const PATIENCE: Duration = Duration::from_millis(800);
/// How long it may for a key that was known before, which is then taken as it was.
const PATIENCE_KNOWN: Duration = Duration::from_millis(300);
/// The most keys that are remembered. An entry takes about 400 bytes.
pub const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("ten thousand is not zero");

type Remembered = (Option<Owner>, Timestamp);

/// What is known of a write key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is this owner's.
    Known(Owner),
    /// The table cannot be asked; what it would have been asked for.
    Unchecked {
        /// The hash of the key.
        hash: String,
    },
}

/// The keys as this environment knows them.
pub struct Keys<L> {
    lookup: L,
    cache: Mutex<LruCache<String, Remembered>>,
    breaker: Breaker,
}

impl<L: KeyLookup> Keys<L> {
    /// Keys that are looked up in `lookup`.
    pub fn new(lookup: L) -> Self {
        Self { lookup, cache: Mutex::new(LruCache::new(REMEMBERED)), breaker: Breaker::default() }
    }

    /// Finds out whose a key is.
    ///
    /// While the table cannot be asked, a key that was known before is taken as it was, however long ago, and any other
    /// is left to `consume`: a producer is not turned away for a trouble of ours.
    ///
    /// # Errors
    /// [`Problem::UnknownWriteKey`].
    pub async fn check(&self, key: &str, clock: &dyn Clock) -> Result<Checked, Problem> {
        if !is_write_key(key) {
            return Err(Problem::UnknownWriteKey);
        }
        let hash = write_key_hash(key);
        let known = self.remembered(&hash);
        if let Some((owner, asked_at)) = &known {
            let fresh = if owner.is_some() { FRESH } else { FRESH_UNKNOWN };
            // A clock that was set back makes an answer old rather than eternal.
            if clock.now() >= *asked_at && clock.now().since(*asked_at) < fresh {
                return owner.clone().map(Checked::Known).ok_or(Problem::UnknownWriteKey);
            }
        }
        let known = known.and_then(|(owner, _)| owner);
        if self.breaker.lets_through(clock.now()) {
            let patience = if known.is_some() { PATIENCE_KNOWN } else { PATIENCE };
            let found = tokio::time::timeout(patience, self.lookup.find(&hash)).await;
            match found.unwrap_or_else(|late| Err(LookupError(late.into()))) {
                Ok(owner) => {
                    self.breaker.succeeded();
                    self.cache.lock().expect(NEVER_POISONED).put(hash, (owner.clone(), clock.now()));
                    return owner.map(Checked::Known).ok_or(Problem::UnknownWriteKey);
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, known = known.is_some(), "a write key could not be checked");
                    self.breaker.failed(clock.now());
                }
            }
        }
        Ok(known.map_or(Checked::Unchecked { hash }, Checked::Known))
    }

    /// After what time the table is asked again.
    pub fn retry_after(&self, now: Timestamp) -> Duration {
        self.breaker.left(now)
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
            let (project, source) = ("dev".to_owned(), "default".to_owned());
            let owner = Owner { project, source, secret: None, lives_with_user: false };
            Ok((hash == write_key_hash("known")).then_some(owner))
        }
    }

    #[tokio::test]
    async fn a_key_is_asked_for_once_a_minute_and_outlives_an_absence_of_the_table() {
        let table = Table::default();
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000).unwrap());
        let keys = Keys::new(&table);
        for _ in 0..3 {
            assert!(is_known(&keys, &clock).await);
        }
        assert_eq!(table.asked.load(Ordering::SeqCst), 1);
        clock.advance(FRESH);
        assert!(is_known(&keys, &clock).await);
        assert_eq!(table.asked.load(Ordering::SeqCst), 2);

        table.away.store(true, Ordering::SeqCst);
        clock.advance(Duration::from_secs(3600));
        assert!(is_known(&keys, &clock).await);
        let hash = write_key_hash("never seen");
        assert_eq!(keys.check("never seen", &clock).await, Ok(Checked::Unchecked { hash }));
        assert_eq!(table.asked.load(Ordering::SeqCst), 3, "a table that is away is not asked by every request");
        table.away.store(false, Ordering::SeqCst);
        clock.advance(keys.retry_after(clock.now()));
        assert_eq!(keys.check("never seen", &clock).await, Err(Problem::UnknownWriteKey));
    }

    async fn is_known(keys: &Keys<&Table>, clock: &ManualClock) -> bool {
        matches!(keys.check("known", clock).await, Ok(Checked::Known(owner)) if owner.project == "dev")
    }

    #[tokio::test]
    async fn an_unknown_key_is_remembered_for_seconds_only() {
        let table = Table::default();
        let clock = ManualClock::new(Timestamp::from_millis(0).unwrap());
        let keys = Keys::new(&table);
        for _ in 0..3 {
            assert_eq!(keys.check("unknown", &clock).await, Err(Problem::UnknownWriteKey));
        }
        assert_eq!(table.asked.load(Ordering::SeqCst), 1);
        clock.advance(FRESH_UNKNOWN);
        assert_eq!(keys.check("unknown", &clock).await, Err(Problem::UnknownWriteKey));
        assert_eq!(table.asked.load(Ordering::SeqCst), 2);
        assert_eq!(keys.check(&"x".repeat(513), &clock).await, Err(Problem::UnknownWriteKey));
        assert_eq!(table.asked.load(Ordering::SeqCst), 2);
    }
}
