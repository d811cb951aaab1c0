//! Texts that are too long for one item.

/// Splits a text into parts of at most `bytes_max`, never within a character. An empty text has one empty part.
#[must_use]
pub fn split(text: &str, bytes_max: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > bytes_max {
        let (part, after) = rest.split_at(rest.floor_char_boundary(bytes_max));
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_respects_characters() {
        assert_eq!(split("", 4), [""]);
        assert_eq!(split("abcd", 4), ["abcd"]);
        assert_eq!(split("abcde", 4), ["abcd", "e"]);
        assert_eq!(split("aéé", 4), ["aé", "é"]);
    }
}
