//! Text as few bytes: zlib, which any language reads.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// The most bytes of a text that is read back: far more than anything that is written here, and few enough to be held.
pub const INFLATED_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// How hard repetitions are looked for, from 1 to 9. Of a hundred events of a person, 2 leaves half as much again as this,
/// and 6 a twentieth less.
const LEVEL: u32 = 3;

/// Compresses a text.
#[must_use]
pub fn deflate(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(text.len() / 4), Compression::new(LEVEL));
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("a vector takes what is written to it")
}

/// Reads a text back; `None` if it is none that was compressed here, or has more than [`INFLATED_BYTES_MAX`] bytes.
#[must_use]
pub fn inflate(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    let most = u64::try_from(INFLATED_BYTES_MAX).ok()?;
    let mut decoder = ZlibDecoder::new(bytes).take(most + 1);
    decoder.read_to_string(&mut text).ok().filter(|read| *read <= INFLATED_BYTES_MAX)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back(text in ".{0,300}") {
            prop_assert_eq!(inflate(&deflate(&text)), Some(text));
        }
    }

    #[test]
    fn what_is_damaged_or_endless_is_no_text() {
        let bytes = deflate("some text");
        assert_eq!(inflate(&bytes[..bytes.len() - 1]), None);
        assert_eq!(inflate(b"some text"), None);
        assert_eq!(inflate(&deflate(&" ".repeat(INFLATED_BYTES_MAX + 1))), None);
    }
}
