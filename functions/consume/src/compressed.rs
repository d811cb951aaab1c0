//! Bytes as fewer bytes: zlib, which any language reads.

use std::cell::RefCell;
use std::io::Read;

use flate2::read::ZlibDecoder;
use flate2::{Compress, Compression, FlushCompress};

/// The most bytes that are read back: far more than anything that is written here, and few enough to be held.
pub const INFLATED_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// How hard repetitions are looked for, from 1 to 9. Of a hundred events of a person, 2 leaves half as much again as this,
/// and 6 a twentieth less.
const LEVEL: u32 = 3;
/// What compression may add to what does not compress: five bytes for each block of it, and a frame.
const ADDED_BYTES: usize = 64;

thread_local! {
    /// Its tables are larger than most of what is compressed, and are made once.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), true));
}

/// Compresses bytes.
#[must_use]
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1_000 + ADDED_BYTES);
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let status = compress.compress_vec(bytes, &mut out, FlushCompress::Finish);
        assert_eq!(status.ok(), Some(flate2::Status::StreamEnd), "there is room for all of it");
    });
    out.shrink_to_fit();
    out
}

/// Reads bytes back; `None` if they are none that were compressed here, or are more than [`INFLATED_BYTES_MAX`].
#[must_use]
pub fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    let most = u64::try_from(INFLATED_BYTES_MAX).ok()?;
    let mut decoder = ZlibDecoder::new(bytes).take(most + 1);
    decoder.read_to_end(&mut inflated).ok().filter(|read| *read <= INFLATED_BYTES_MAX)?;
    Some(inflated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            prop_assert_eq!(inflate(&deflate(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn much_that_does_not_compress_comes_back() {
        let mut bits = 1_u32;
        let mut next = || {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bits.to_be_bytes()[0]
        };
        let bytes: Vec<u8> = (0..500_000).map(|_| next()).collect();
        assert_eq!(inflate(&deflate(&bytes)), Some(bytes));
    }

    #[test]
    fn what_is_damaged_or_endless_is_nothing() {
        let bytes = deflate(b"some text");
        assert_eq!(inflate(&bytes[..bytes.len() - 1]), None);
        assert_eq!(inflate(b"some text"), None);
        assert_eq!(inflate(&deflate(&vec![b' '; INFLATED_BYTES_MAX + 1])), None);
    }
}
