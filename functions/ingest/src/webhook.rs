//! Segment's Webhooks destinations, classic and Actions: one event, or an array of them, that Segment hands on; and the
//! signature over it.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::value::RawValue;
use sha1::Sha1;

use crate::parsed::{Arrival, Elements, Parsed, malformed};
use crate::response::Problem;
use crate::segment::{Common, items};

/// The bytes of an HMAC-SHA1.
const SIGNATURE_BYTES: usize = 20;

/// Reads a body. Each event keeps to the rules of a batch's items, and may be a deletion besides.
///
/// # Errors
/// What is wrong with the request as a whole; events that are wrong are among [`Parsed::refused`].
pub fn parse(text: &str, arrival: &Arrival<'_>) -> Result<Parsed, Problem> {
    let events = if text.trim_ascii_start().starts_with('[') {
        elements(text)?.within_limit()?
    } else {
        // An object is checked here, since what is not JSON could not even be kept as refused.
        crate::parsed::object(text)?;
        vec![serde_json::from_str(text).map_err(|error| Problem::Malformed(malformed(&error)))?]
    };
    items(&events, &Common::of_webhook(), arrival)
}

/// What a signature vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The whole body.
    Whole,
    /// The first element of an array, and no more of the others than that their sender has seen one that was signed.
    First,
}

/// Checks that whoever made `signature` (`X-Signature`) knows the secret: it is the HMAC-SHA1 of the body's bytes in
/// hexadecimal, or, of an array, of the text of its first element alone, since Segment signs a batch so.
///
/// The bytes are those that were sent, since JSON written anew could differ from them. Times do not tell how much of a
/// wrong signature is right.
///
/// # Errors
/// [`Problem::BadSignature`] if there is no signature, or a wrong one.
pub fn verify(secret: &str, signature: Option<&str>, body: &[u8]) -> Result<Signed, Problem> {
    let signature = signature.and_then(from_hexadecimal).ok_or(Problem::BadSignature)?;
    let signs = |bytes: &[u8]| {
        let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes());
        mac.is_ok_and(|mac| mac.chain_update(bytes).verify_slice(&signature).is_ok())
    };
    let signs_first = || {
        let text = crate::body::text_of_any_depth(body).ok().filter(|text| text.trim_ascii_start().starts_with('['));
        let first = text.and_then(|text| elements(text).ok()?.first().map(RawValue::get));
        first.is_some_and(|first| signs(first.as_bytes()))
    };
    if signs(body) {
        Ok(Signed::Whole)
    } else if signs_first() {
        Ok(Signed::First)
    } else {
        Err(Problem::BadSignature)
    }
}

fn elements(text: &str) -> Result<Elements<'_>, Problem> {
    Elements::parse(text).map_err(|error| Problem::Malformed(malformed(&error)))
}

fn from_hexadecimal(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let text = text.trim().as_bytes();
    let mut bytes = [0; SIGNATURE_BYTES];
    if text.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = [digits[0], digits[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use shared::clock::Timestamp;
    use shared::event::{Identity, Kind};

    use super::*;

    fn read(text: &str) -> Result<Parsed, Problem> {
        let received_at = Timestamp::from_millis(1_700_000_000_000).unwrap();
        parse(text, &Arrival { received_at, receipt: "r1", event_bytes_max: 10_000 })
    }

    #[test]
    fn one_event_and_an_array_of_events_are_read_alike() {
        let event = json!({
            "version": 1, "type": "track", "userId": "u", "event": "e", "properties": {"a": 1}, "messageId": "m",
            "timestamp": "2023-11-14T22:00:00.000Z", "writeKey": "of the source in Segment",
        });
        for text in [event.to_string(), format!(" [{event}]")] {
            let parsed = read(&text).unwrap();
            let [event] = parsed.events.as_slice() else { panic!("{text}") };
            assert_eq!((event.id.as_str(), event.kind, event.subject.as_str()), ("m", Kind::Track, "u"));
            assert_eq!(event.extra.as_ref().unwrap().get(), r#"{"version":1}"#);
        }
        let parsed = read(&format!("[{event},{{\"type\":\"track\"}},7]")).unwrap();
        let reasons: Vec<&str> = parsed.refused.iter().map(|item| item.reason.as_str()).collect();
        assert_eq!((parsed.events.len(), reasons), (1, vec!["no_user_anon_id", "bad_request"]));
    }

    #[test]
    fn a_deletion_is_about_a_user() {
        let delete = json!({"type": "delete", "userId": "u", "timestamp": "2023-11-14T22:00:00Z"});
        let parsed = read(&delete.to_string()).unwrap();
        let event = &parsed.events[0];
        assert_eq!((event.kind, event.subject.as_str(), event.identity), (Kind::Delete, "u", Identity::Forever));
        let parsed = read(r#"{"type":"delete"}"#).unwrap();
        assert_eq!(parsed.refused[0].reason, "no_user_anon_id");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for (text, reason) in [("{}", "unsupported_event_type"), (r#"{"type":"merge"}"#, "unsupported_event_type")] {
            assert_eq!(read(text).unwrap().refused[0].reason, reason);
        }
        let malformed = |what: &str| Problem::Malformed(what.into());
        for (text, expected) in [
            ("[]", Problem::EmptyBatch),
            ("7", malformed("not a JSON object (line 1, column 1)")),
            ("[{},]", malformed("malformed JSON (line 1, column 5)")),
            ("{} {}", malformed("malformed JSON (line 1, column 4)")),
            ("{\"a\":", malformed("malformed JSON (line 1, column 5)")),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(expected), "{text}");
        }
    }

    /// HMAC-SHA1 of "The quick brown fox jumps over the lazy dog" with the key "key": the example that is in every text
    /// about it.
    const FOX: (&[u8], &str) =
        (b"The quick brown fox jumps over the lazy dog", "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9");

    fn signature(secret: &str, bytes: &[u8]) -> String {
        let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap().chain_update(bytes);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn only_who_knows_the_secret_can_sign() {
        assert_eq!(verify("key", Some(FOX.1), FOX.0), Ok(Signed::Whole));
        assert_eq!(verify("key", Some(&format!(" {} ", FOX.1.to_uppercase())), FOX.0), Ok(Signed::Whole));
        let mut changed = FOX.0.to_vec();
        changed[0] ^= 1;
        let unicode = format!("{}é", &FOX.1[..38]);
        for (secret, signature, body) in [
            ("key", None, FOX.0),
            ("key", Some(""), FOX.0),
            ("key", Some(&FOX.1[..38]), FOX.0),
            ("key", Some("00000000000000000000000000000000000000"), FOX.0),
            ("key", Some("zz7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9"), FOX.0),
            ("key", Some("+e7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9"), FOX.0),
            ("key", Some(&unicode), FOX.0),
            ("other", Some(FOX.1), FOX.0),
            ("key", Some(FOX.1), &changed),
            ("key", Some(FOX.1), b""),
        ] {
            assert_eq!(verify(secret, signature, body), Err(Problem::BadSignature), "{signature:?}");
        }
    }

    #[test]
    fn of_an_array_the_text_of_the_first_element_may_be_signed_alone() {
        let first = "{\"n\": 1.0, \"s\":\"\\u00e9\"}";
        let array = format!(" [ {first} , {{\"n\":2}}]");
        let signed = |text: &str| signature("secret", text.as_bytes());
        assert_eq!(verify("secret", Some(&signed(first)), array.as_bytes()), Ok(Signed::First));
        assert_eq!(verify("secret", Some(&signed(&array)), array.as_bytes()), Ok(Signed::Whole));
        for wrong in [signed("{\"n\":2}"), signed("{\"n\":1.0,\"s\":\"é\"}"), signed("")] {
            assert_eq!(verify("secret", Some(&wrong), array.as_bytes()), Err(Problem::BadSignature));
        }
        // An object stands for itself alone.
        let inside = format!("{{\"a\":{first}}}");
        assert_eq!(verify("secret", Some(&signed(first)), inside.as_bytes()), Err(Problem::BadSignature));
        assert_eq!(verify("secret", Some(&signed("")), b"[]"), Err(Problem::BadSignature));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,60}", signature in "[0-9a-fé]{38,40}") {
            let _ = read(&text);
            let _ = verify("secret", Some(&signature), text.as_bytes());
        }
    }
}
