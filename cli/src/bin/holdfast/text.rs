//! Texts for a terminal: colours, and what others wrote made harmless.

use anstyle::{AnsiColor, Style};

/// What is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not well.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What should be looked at.
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default();
/// What stands out.
pub(crate) const STRONG: Style = Style::new().bold();
/// What stands back.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// A text in a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

/// A text of others' in one line, without what could steer a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let replaced = |character: char| match character {
        '\n' | '\t' => ' ',
        _ if is_steering(character) => '\u{FFFD}',
        _ => character,
    };
    text.chars().map(replaced).collect()
}

/// Controls, and what turns the direction of writing round.
fn is_steering(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// At most `most` characters of a text.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// JSON in lines for a person, if it is any; otherwise the text, a line at a time without what could steer a terminal.
pub(crate) fn body(text: &str) -> String {
    let pretty = serde_json::from_str::<serde_json::Value>(text).ok();
    let pretty = pretty.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let text = pretty.as_deref().unwrap_or(text);
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

/// A number of things: `1 letter`, `2 letters`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_steer_a_terminal() {
        assert_eq!(harmless("a\u{1b}[31mb\r\n\u{202e}c\té"), "a\u{FFFD}[31mb\u{FFFD} \u{FFFD}c é");
        assert_eq!(body("{\"a\":\"\\u001b[2J\"}"), "{\n  \"a\": \"\\u001b[2J\"\n}");
        assert_eq!(body("no json\u{7}\nsecond"), "no json\u{FFFD}\nsecond");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!((cut("éééé", 3).as_str(), cut("ééé", 3).as_str()), ("éé…", "ééé"));
        assert_eq!((count(1, "letter").as_str(), count(0, "letter").as_str()), ("1 letter", "0 letters"));
    }
}
