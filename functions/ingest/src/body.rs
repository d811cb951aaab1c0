//! Bytes → text: inflates what is compressed, within the limit, and checks what every parser after it relies on.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::GzDecoder;
use shared::json::nests_deeper_than;
use shared::limits::NESTING_DEPTH_MAX;

use crate::response::Problem;

/// The most members of a gzip body. One is what clients write; each costs time, even if it is empty.
const GZIP_MEMBERS_MAX: usize = 16;
/// The first bytes of gzip (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a body: inflated if it is gzip, whatever the header says, since clients and proxies get the header wrong
/// both ways. Never holds more than `bytes_max` inflated bytes.
///
/// # Errors
/// What is wrong with the body.
pub fn bytes<'a>(body: &'a [u8], content_encoding: Option<&str>, bytes_max: usize) -> Result<Cow<'a, [u8]>, Problem> {
    let encoding = content_encoding.map(|name| name.trim().to_ascii_lowercase()).unwrap_or_default();
    if !matches!(encoding.as_str(), "" | "identity" | "gzip" | "x-gzip") {
        return Err(Problem::UnsupportedEncoding(encoding.chars().take(40).collect()));
    }
    // What is larger before it is inflated than it may be afterwards is no honest gzip.
    if body.len() > bytes_max {
        return Err(Problem::RequestTooLarge { limit: bytes_max });
    }
    let bytes = if body.starts_with(&GZIP_MAGIC) { Cow::Owned(inflate(body, bytes_max)?) } else { Cow::Borrowed(body) };
    if bytes.len() > bytes_max { Err(Problem::RequestTooLarge { limit: bytes_max }) } else { Ok(bytes) }
}

/// The text of a body that must be JSON: not empty, not nested beyond [`NESTING_DEPTH_MAX`], and UTF-8.
///
/// # Errors
/// What is wrong with the body.
pub fn text(bytes: &[u8]) -> Result<&str, Problem> {
    if nests_deeper_than(NESTING_DEPTH_MAX, bytes) {
        return Err(Problem::NestedTooDeeply);
    }
    text_of_any_depth(bytes)
}

/// Like [`text`], for a body of items of which each is to be looked at alone: reading one level needs no depth.
///
/// # Errors
/// What is wrong with the body.
pub fn text_of_any_depth(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Err(Problem::EmptyBody);
    }
    utf8(bytes)
}

/// The text of a body.
///
/// # Errors
/// It is not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::Malformed("not UTF-8".to_owned()))?;
    // A byte order mark is no JSON, but some clients write one.
    Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text))
}

/// A body's bytes in UTF-8. Those that are not, of a content type that says ISO-8859-1, as Java's clients send them, are
/// taken from there; in it every byte is the character of its number.
#[must_use]
pub fn in_utf8<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Cow<'a, [u8]> {
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    let says_latin_1 = ["iso-8859-1", "latin1", "windows-1252"].iter().any(|name| content_type.contains(name));
    if !says_latin_1 || std::str::from_utf8(bytes).is_ok() {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes())
}

fn inflate(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let broken = || Problem::Malformed("broken gzip".to_owned());
    let mut bytes = Vec::new();
    let mut rest = body;
    for _ in 0..GZIP_MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        // One byte more than allowed tells "at the limit" from "beyond it" without inflating further.
        let one_over = (bytes_max + 1 - bytes.len()) as u64;
        member.by_ref().take(one_over).read_to_end(&mut bytes).map_err(|_| broken())?;
        if bytes.len() > bytes_max {
            return Ok(bytes);
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(bytes);
        }
    }
    Err(broken())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(body: &[u8], content_encoding: Option<&str>, bytes_max: usize) -> Result<String, Problem> {
        text(&bytes(body, content_encoding, bytes_max)?).map(str::to_owned)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzip_bodies_are_read_whatever_the_header_says() {
        let zipped = gzip(b"{\"a\":1}");
        for (body, header) in [
            (&b"{\"a\":1}"[..], None),
            (b"{\"a\":1}", Some("identity")),
            (b"{\"a\":1}", Some("gzip")),
            (b"\xEF\xBB\xBF{\"a\":1}", None),
            (&zipped, Some("gzip")),
            (&zipped, Some(" GZIP ")),
            (&zipped, None),
        ] {
            assert_eq!(read(body, header, 100).unwrap(), "{\"a\":1}", "{header:?}");
        }
        let two_members = [gzip(b"{\"a\""), gzip(b":1}")].concat();
        assert_eq!(read(&two_members, Some("gzip"), 100).unwrap(), "{\"a\":1}");
        let many_members = [gzip(b"{}"), gzip(b"").repeat(GZIP_MEMBERS_MAX)].concat();
        assert_eq!(read(&many_members, None, 1_000), Err(Problem::Malformed("broken gzip".into())));
        assert_eq!(read(&gzip(b"").repeat(100), None, 1_000), Err(Problem::RequestTooLarge { limit: 1_000 }));
    }

    #[test]
    fn latin_1_is_read_where_it_is_said_and_utf_8_where_it_is_sent() {
        for (bytes, content_type, text) in [
            (&b"Zo\xeb"[..], Some("text/plain; charset=ISO-8859-1"), &b"Zo\xc3\xab"[..]),
            (b"Zo\xc3\xab", Some("text/plain; charset=ISO-8859-1"), b"Zo\xc3\xab"),
            (b"Zo\xeb", Some("text/plain"), b"Zo\xeb"),
            (b"Zo\xeb", None, b"Zo\xeb"),
        ] {
            assert_eq!(&*in_utf8(bytes, content_type), text);
        }
    }

    #[test]
    fn a_gzip_bomb_is_stopped_at_the_limit() {
        let bomb = gzip(&vec![b' '; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read(&bomb, None, 1_000), Err(Problem::RequestTooLarge { limit: 1_000 }));
    }

    #[test]
    fn the_limit_itself_is_allowed_and_one_byte_more_is_not() {
        let fits = format!("\"{}\"", "x".repeat(98));
        let over = format!("\"{}\"", "x".repeat(99));
        for zip in [false, true] {
            let bytes = |text: &str| if zip { gzip(text.as_bytes()) } else { text.as_bytes().to_vec() };
            assert_eq!(read(&bytes(&fits), None, 100).unwrap(), fits);
            assert_eq!(read(&bytes(&over), None, 100), Err(Problem::RequestTooLarge { limit: 100 }));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_is_wrong() {
        let deep = "[".repeat(NESTING_DEPTH_MAX + 1);
        let zipped = gzip(b"{\"a\":1}");
        for (body, header, expected) in [
            (&b""[..], None, Problem::EmptyBody),
            (b" \r\n\t", None, Problem::EmptyBody),
            (&gzip(b""), Some("gzip"), Problem::EmptyBody),
            (b"\xff\xfe{}", None, Problem::Malformed("not UTF-8".into())),
            (&zipped[..zipped.len() - 4], None, Problem::Malformed("broken gzip".into())),
            (&[0x1f, 0x8b, 0, 0], None, Problem::Malformed("broken gzip".into())),
            (b"{}", Some("br"), Problem::UnsupportedEncoding("br".into())),
            (deep.as_bytes(), None, Problem::NestedTooDeeply),
        ] {
            assert_eq!(read(body, header, 1_000), Err(expected));
        }
    }
}
