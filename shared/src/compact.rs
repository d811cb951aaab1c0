//! Numbers and texts in few bytes: what a receipt is written with.

use uuid::Uuid;
use uuid::fmt::{Hyphenated, Simple};

/// What stands in place of a text's length where the text is a UUID of 16 bytes, written with hyphens.
const HYPHENATED: u64 = 0;
/// What stands there where it is one without hyphens.
const SIMPLE: u64 = 1;
/// What is added to the length of any other text.
const LENGTH: u64 = 2;

/// Bytes that are being written.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// How many bytes have been written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Writes a number: seven bits a byte, the lowest first, each byte but the last with its highest bit set.
    #[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits are meant")]
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Writes a number that may be negative; those near zero are short.
    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// Writes a text. Ids are UUIDs more often than not, and those take 17 bytes.
    pub fn text(&mut self, text: &str) {
        match Uuid::try_parse(text) {
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => {
                self.number(HYPHENATED);
                self.bytes(uuid.as_bytes());
            }
            Ok(uuid) if uuid.simple().encode_lower(&mut Uuid::encode_buffer()) == text => {
                self.number(SIMPLE);
                self.bytes(uuid.as_bytes());
            }
            _ => {
                self.number(text.len() as u64 + LENGTH);
                self.bytes(text.as_bytes());
            }
        }
    }
}

/// Bytes that are being read. Whatever they are, reading neither panics nor holds more than they are long; what is not
/// there is `None`.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from the first on.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes(1)?.first()?;
            let bits = u64::from(byte & 0x7f);
            // Of the tenth byte only the lowest bit has a place.
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A number that may be negative.
    pub fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A text of at most `bytes_max` bytes.
    pub fn text(&mut self, bytes_max: usize) -> Option<String> {
        match self.number()? {
            HYPHENATED => Some(Hyphenated::from_uuid(self.uuid()?).to_string()),
            SIMPLE => Some(Simple::from_uuid(self.uuid()?).to_string()),
            length => {
                let length = usize::try_from(length - LENGTH).ok().filter(|length| *length <= bytes_max)?;
                std::str::from_utf8(self.bytes(length)?).ok().map(str::to_owned)
            }
        }
    }

    fn uuid(&mut self) -> Option<Uuid> {
        Uuid::from_slice(self.bytes(16)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_common_is_short() {
        let bytes = |write: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::default();
            write(&mut writer);
            writer.len()
        };
        assert_eq!(bytes(&|writer| writer.number(127)), 1);
        assert_eq!(bytes(&|writer| writer.signed(-64)), 1);
        assert_eq!(bytes(&|writer| writer.text("018bcfe5-6800-7abc-9def-0123456789ab")), 17);
        assert_eq!(bytes(&|writer| writer.text("018bcfe568007abc9def0123456789ab")), 17);
        assert_eq!(bytes(&|writer| writer.text("018BCFE568007ABC9DEF0123456789AB")), 33);
        assert_eq!(bytes(&|writer| writer.text("ann")), 4);
    }

    #[test]
    fn what_is_too_long_or_cut_off_is_nothing() {
        assert_eq!(Reader::new(&[0xff; 20]).number(), None);
        assert_eq!(Reader::new(&[0x80; 9]).number(), None);
        assert_eq!(Reader::new(&[5, b'a', b'b', b'c']).text(3), Some("abc".to_owned()));
        assert_eq!(Reader::new(&[5, b'a', b'b', b'c']).text(2), None);
        assert_eq!(Reader::new(&[5, b'a', b'b']).text(3), None);
        assert_eq!(Reader::new(&[0, 1, 2]).text(100), None);
        assert_eq!(Reader::new(&[3, 0xff]).text(100), None);
    }

    proptest! {
        #[test]
        fn everything_reads_back(number: u64, signed: i64, text in ".{0,40}|[0-9a-f]{32}|[0-9A-Fa-f-]{36}", uuid: [u8; 16]) {
            let uuid = Uuid::from_bytes(uuid);
            let texts = [text, uuid.hyphenated().to_string(), uuid.simple().to_string(), uuid.urn().to_string()];
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            texts.iter().for_each(|text| writer.text(text));
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!((reader.number(), reader.signed()), (Some(number), Some(signed)));
            for text in &texts {
                let read = reader.text(200);
                prop_assert_eq!(read.as_ref(), Some(text));
            }
            prop_assert!(reader.is_at_end());
        }
    }
}
