//! The name of a letter: its key as one word, to be copied from a list into a command.

use consume::dead_letter::UNKNOWN_PROJECT;
use consume::table::Key;
use shared::clock::Timestamp;
use shared::keys::is_project;

use super::error::Error;

/// A letter's name: its project and its sort key, which begins with its time; the day in the partition key is that time's.
#[must_use]
pub fn name(key: &Key) -> String {
    let project = key.pk.split('#').next().unwrap_or_default();
    format!("{project}#{}", key.sk)
}

/// The key of the letter with this name.
///
/// # Errors
/// [`Error::NotAName`].
pub fn parse_name(text: &str) -> Result<Key, Error> {
    let not_a_name = || Error::NotAName { text: text.to_owned() };
    let (project, sk) = text.split_once('#').ok_or_else(not_a_name)?;
    let (time, id) = sk.split_once('#').ok_or_else(not_a_name)?;
    let time: Timestamp = time.parse().map_err(|_| not_a_name())?;
    if id.is_empty() || !(is_project(project) || project == UNKNOWN_PROJECT) {
        return Err(not_a_name());
    }
    Ok(Key { pk: format!("{project}#{}", time.day()), sk: sk.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_key() {
        for (pk, id) in [("dev#2023-11-14", "r1.0"), ("?#2023-11-14", "m:5f#x")] {
            let key = Key { pk: pk.to_owned(), sk: format!("2023-11-14T22:13:20.000Z#{id}") };
            assert_eq!(parse_name(&name(&key)).unwrap(), key);
        }
        for text in [
            "",
            "dev",
            "dev#r1.0",
            "dev#2023-11-14#r1.0",
            "dev#2023-11-14T22:13:20.000Z#",
            "A#2023-11-14T22:13:20.000Z#r",
        ] {
            assert!(matches!(parse_name(text), Err(Error::NotAName { .. })), "{text}");
        }
    }
}
