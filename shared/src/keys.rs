//! Projects and write keys, and where the table keeps them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::limits::{PROJECT_BYTES_MAX, WRITE_KEY_BYTES_MAX};

/// Whether a text may name a project: lower-case letters, digits and hyphens, at most
/// [`PROJECT_BYTES_MAX`] bytes. So it never contains the `#` that ends it in a key, nor looks like one of the
/// upper-case words that other items' keys begin with.
#[must_use]
pub fn is_project(name: &str) -> bool {
    (1..=PROJECT_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a text can be a write key at all.
#[must_use]
pub fn is_write_key(key: &str) -> bool {
    (1..=WRITE_KEY_BYTES_MAX).contains(&key.len())
}

/// The SHA-256 of a write key in hexadecimal; the key itself is never stored.
#[must_use]
pub fn write_key_hash(key: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(key.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Whether a text can be what [`write_key_hash`] makes.
#[must_use]
pub fn is_write_key_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The partition key of a write key's item.
#[must_use]
pub fn write_key_partition(hash: &str) -> String {
    format!("KEY#{hash}")
}

/// The sort key of a write key's item.
pub const WRITE_KEY_SORT: &str = "KEY";

/// The partition of the register of write keys. An item in it says only that there is such a key: without it, nobody
/// could list keys but by reading the whole table. No project can have this name.
pub const REGISTER_PARTITION: &str = "KEYS";

/// What the sort keys of the register begin with.
pub const REGISTER_PREFIX: &str = "K#";

/// The sort key of a write key's item in the register: `K#<project>#<source>#<hash>`.
#[must_use]
pub fn register_sort(project: &str, source: &str, hash: &str) -> String {
    format!("{REGISTER_PREFIX}{project}#{source}#{hash}")
}

/// What [`write_key_attribute::HOME`] says of a source whose events live with the user that they name.
pub const USER_HOME: &str = "user";

/// The attributes of a write key's item.
pub mod write_key_attribute {
    /// The project that the key belongs to.
    pub const PROJECT: &str = "project";
    /// The name of the source: one write key of a project.
    pub const SOURCE: &str = "source";
    /// The secret that Segment signs the requests of this source's webhooks with (absent means that they are not signed).
    pub const SECRET: &str = "secret";
    /// Where events of the source live (text): [`USER_HOME`] for a source whose `anonymousId` is no device; absent, or any
    /// other text, for one whose `anonymousId` is.
    ///
    /// [`USER_HOME`]: super::USER_HOME
    pub const HOME: &str = "home";
    /// Whether the key is out of use (boolean, absent means in use).
    pub const DISABLED: &str = "disabled";
    /// When the key was made (RFC 3339, absent if it was not made with `holdfast`).
    pub const CREATED: &str = "created";
}

/// A 128-bit hash over parts, as 22 characters. Parts are told apart by their lengths, so that no two lists of parts
/// are taken for each other.
#[must_use]
pub fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..16])
}

/// Makes a text unreadable to whoever does not know `key`, and readable again to whoever does: `unseal` with the same key
/// and label.
///
/// What must outlast the erasure of an id is kept so, with that id as the key. It is as safe as a hash of the id, and no
/// safer: who can guess the id can read the text. A label must never be used twice with a key for different texts.
#[must_use]
pub fn seal(key: &str, label: &str, text: &[u8]) -> Vec<u8> {
    let pad = |block: usize| {
        let mut digest = Sha256::new();
        for part in ["seal", key, label] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        digest.update((block as u64).to_be_bytes());
        digest.finalize()
    };
    let blocks = text.chunks(32).enumerate();
    blocks
        .flat_map(|(block, bytes)| bytes.iter().zip(pad(block)).map(|(byte, pad)| byte ^ pad).collect::<Vec<u8>>())
        .collect()
}

/// Reads what [`seal`] has made unreadable. With another key or label it gives any bytes.
#[must_use]
pub fn unseal(key: &str, label: &str, sealed: &[u8]) -> Vec<u8> {
    seal(key, label, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_with_its_key_and_label_only() {
        let text = "an id that is longer than one block, and is nobody's business".as_bytes();
        let sealed = seal("ann", "DEVICE#1", text);
        assert_eq!(unseal("ann", "DEVICE#1", &sealed), text);
        for (key, label) in [("bob", "DEVICE#1"), ("ann", "DEVICE#2"), ("annDEVICE#1", "")] {
            assert_ne!(unseal(key, label, &sealed), text);
        }
        assert!(sealed.windows(4).all(|part| !text.windows(4).any(|plain| plain == part)));
    }

    #[test]
    fn a_project_name_cannot_be_mistaken_for_another_key() {
        for name in ["dev", "a", "team-7", &"x".repeat(PROJECT_BYTES_MAX)] {
            assert!(is_project(name), "{name}");
        }
        for name in ["", "KEY", "a#b", "Dev", "a b", "é", &"x".repeat(PROJECT_BYTES_MAX + 1)] {
            assert!(!is_project(name), "{name}");
        }
    }

    #[test]
    fn the_hash_of_a_write_key_is_the_known_one() {
        assert_eq!(write_key_hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(is_write_key_hash(&write_key_hash("")));
        assert!(!is_write_key_hash("") && !is_write_key_hash(&"A".repeat(64)) && !is_write_key_hash(&"#".repeat(64)));
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a"]), hash(&["a", ""]));
        assert_eq!(hash(&["a", "b"]).len(), 22);
    }
}
