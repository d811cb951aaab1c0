//! The parameters of a call, wherever a client puts them: body and query → the text of one JSON object.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use shared::json::ObjectWriter;

use crate::form::{self, Notation};
use crate::parsed::object;
use crate::response::Problem;
use crate::{body, multipart, vero};

/// Base64 as pixels carry it: whoever puts it into a link by hand leaves the padding out, or the last bits dirty.
const PIXEL_BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads the parameters of a call of Vero's: from the body, and from the query what the body does not have.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn of_vero(body: &[u8], content_type: Option<&str>, query: &str) -> Result<String, Problem> {
    let in_query = form::object(form_urlencoded::parse(query.as_bytes()), Notation::Brackets)?;
    let in_body = if body.trim_ascii().is_empty() { None } else { Some(in_body(body, content_type)?) };
    let text = match (in_body, in_query) {
        (None, None) => return Err(Problem::EmptyBody),
        (None, Some(text)) => text,
        (Some(text), None) => text.into_owned(),
        (Some(in_body), Some(in_query)) => merged(&in_body, &in_query)?,
    };
    checked(text)
}

/// Reads the parameters of a pixel: `data`, which is a JSON object in base64, and beside it what stands in the query
/// with dotted names.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn of_pixel(query: &str) -> Result<String, Problem> {
    let is_data = |name: &str| name == "data";
    let pairs = || form_urlencoded::parse(query.as_bytes());
    let beside = form::object(pairs().filter(|(name, _)| !is_data(name)), Notation::Dots)?;
    let data = pairs().filter(|(name, _)| is_data(name)).last().map(|(_, data)| from_base64(&data)).transpose()?;
    let text = match (data, beside) {
        (None, None) => return Err(Problem::EmptyBody),
        (Some(text), None) | (None, Some(text)) => text,
        (Some(data), Some(beside)) => merged(&data, &beside)?,
    };
    checked(text)
}

/// The body as JSON. What begins as an object is one, whatever the content type says: `curl -d` calls everything a form.
fn in_body<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Result<Cow<'a, str>, Problem> {
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_form = matches!(media_type.as_str(), "application/x-www-form-urlencoded" | "multipart/form-data");
    if !is_form || bytes.trim_ascii_start().starts_with(b"{") {
        return body::text(bytes).map(Cow::Borrowed);
    }
    let text = body::utf8(bytes)?;
    let form = if media_type.starts_with("multipart") {
        form::object(multipart::pairs(text, content_type.unwrap_or_default())?, Notation::Brackets)
    } else {
        // Some clients end the form with a line break, which would become part of its last value.
        form::object(form_urlencoded::parse(text.trim_ascii().as_bytes()), Notation::Brackets)
    };
    Ok(Cow::Owned(form?.unwrap_or_else(|| "{}".to_owned())))
}

/// The members of `first`, and of `second` those that `first` does not have. Its key, too, counts only if there is none
/// in `first` under any name.
fn merged(first: &str, second: &str) -> Result<String, Problem> {
    let (first, second) = (object(first)?, object(second)?);
    let is_key = |name: &str| vero::KEY_PARAMETERS.contains(&name);
    let has_key = vero::write_key(&first).is_some();
    let mut members = ObjectWriter::default();
    let mut names = HashSet::new();
    for (name, value) in first.iter().filter(|(_, value)| value.get() != "null") {
        if !is_key(name) || has_key {
            names.insert(name);
            members.member(name, value);
        }
    }
    let is_there = |name: &str| names.contains(name) || has_key && is_key(name);
    for (name, value) in second.iter().filter(|(name, _)| !is_there(name)) {
        members.member(name, value);
    }
    Ok(members.finish().map_or_else(|| "{}".to_owned(), |object| object.get().to_owned()))
}

/// Decodes either alphabet of base64, with a plus that the query made a space; or takes JSON that is not encoded at all.
fn from_base64(data: &str) -> Result<String, Problem> {
    if data.trim_start().starts_with('{') {
        return Ok(data.to_owned());
    }
    let url_safe = data.trim().replace(['+', ' '], "-").replace('/', "_");
    let bytes = PIXEL_BASE64.decode(url_safe).map_err(|_| Problem::Malformed("data is not base64".to_owned()))?;
    Ok(body::text(&bytes)?.to_owned())
}

/// Values that are JSON in a form are nested within the form.
fn checked(text: String) -> Result<String, Problem> {
    body::text(text.as_bytes())?;
    Ok(text)
}

#[cfg(test)]
mod tests;
