//! `multipart/form-data` (RFC 7578) → pairs of name and value.
//!
//! A parser of our own, since the crates for it are made for uploads: asynchronous, over a stream, with files. Here the
//! whole body is in memory, its size is bounded, and all that counts is text.

use crate::form::PAIRS_MAX;
use crate::response::Problem;

/// The longest boundary in characters (RFC 2046, section 5.1.1).
const BOUNDARY_CHARS_MAX: usize = 70;

/// Reads the parts of a body, in their order. A part that is a file counts as its text.
///
/// # Errors
/// There is no boundary in the content type, or the body does not keep to it.
pub fn pairs<'a>(body: &'a str, content_type: &str) -> Result<Vec<(String, &'a str)>, Problem> {
    let boundary = parameter(content_type, "boundary").filter(|text| (1..=BOUNDARY_CHARS_MAX).contains(&text.len()));
    let delimiter = format!("--{}", boundary.ok_or_else(|| broken("it has no boundary"))?);
    // What stands before the first delimiter belongs to no part.
    let mut rest = body.split_once(&delimiter).ok_or_else(|| broken("its boundary is not in it"))?.1;
    let mut pairs = Vec::new();
    while !rest.starts_with("--") {
        if pairs.len() == PAIRS_MAX {
            return Err(Problem::Malformed(format!("more than {PAIRS_MAX} parameters")));
        }
        let (headers, after) = headers(rest)?;
        let (content, next) = content(after, &delimiter)?;
        pairs.push((headers.ok_or_else(|| broken("a part has no name"))?, content));
        rest = next;
    }
    Ok(pairs)
}

/// Reads the rest of a delimiter's line and the headers of a part up to the empty line. Returns the part's name, and
/// what follows.
fn headers(text: &str) -> Result<(Option<String>, &str), Problem> {
    let ended = || broken("it ends within a part's headers");
    let (after_delimiter, mut rest) = text.split_once('\n').ok_or_else(ended)?;
    if !after_delimiter.trim().is_empty() {
        return Err(broken("a boundary does not end its line"));
    }
    let mut name = None;
    loop {
        let (line, next) = rest.split_once('\n').ok_or_else(ended)?;
        rest = next;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((name, rest));
        }
        match line.split_once(':') {
            Some((header, value)) if header.trim().eq_ignore_ascii_case("content-disposition") => {
                name = parameter(value, "name").map(|name| unescaped(&name));
            }
            _ => {}
        }
    }
}

/// Reads the content of a part: everything before the line that begins with the delimiter. Returns it, and what follows
/// the delimiter.
fn content<'a>(text: &'a str, delimiter: &str) -> Result<(&'a str, &'a str), Problem> {
    // The content may be empty, and the delimiter then right at the front.
    if let Some(next) = text.strip_prefix(delimiter) {
        return Ok(("", next));
    }
    let (content, next) = text.split_once(&format!("\n{delimiter}")).ok_or_else(|| broken("it ends within a part"))?;
    Ok((content.strip_suffix('\r').unwrap_or(content), next))
}

/// A parameter of a header's value, out of its quotes.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    loop {
        rest = rest.split_once(';')?.1.trim_start();
        let (found, after) = rest.split_once('=')?;
        let (text, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), &after[end..])
            }
        };
        if found.trim().eq_ignore_ascii_case(name) {
            return Some(text);
        }
        rest = next;
    }
}

/// The text up to the closing quote, without the backslashes that quote a quote or a backslash; and what follows.
fn quoted_text(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((position, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[position + 1..])),
            '\\' if text[position + 1..].starts_with(['"', '\\']) => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// Browsers write these three, and only these, in a name as percent escapes (WHATWG HTML, multipart/form-data encoding).
fn unescaped(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

fn broken(what: &str) -> Problem {
    Problem::Malformed(format!("not multipart/form-data: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Result<Vec<(String, String)>, Problem> {
        let pairs = pairs(body, "multipart/form-data; boundary=b")?;
        Ok(pairs.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
    }

    #[test]
    fn parts_are_read_in_the_forms_that_clients_write() {
        let form = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        for (body, expected) in [
            (format!("--b\r\n{}1\r\n--b\r\n{}2\r\n--b--\r\n", form("x"), form("y")), vec![("x", "1"), ("y", "2")]),
            // The end of a line as some write it, text before and after, no line end at the end.
            (format!("before\n--b\n{}1\n--b--after", form("x").replace('\r', "")), vec![("x", "1")]),
            (format!("--b \r\n{}\r\n--b--", form("x")), vec![("x", "")]),
            (format!("--b\r\n{}--b--", form("x")), vec![("x", "")]),
            (format!("--b\r\n{}a\r\n\r\n--not\r\nz\r\n--b--", form("x")), vec![("x", "a\r\n\r\n--not\r\nz")]),
            (format!("--b\r\n{}1\r\n--b--", form("identity[id]")), vec![("identity[id]", "1")]),
            (format!("--b\r\n{}1\r\n--b--", form(r#"a%22\"\\\n;%0D%0A"#)), vec![("a\"\"\\\\n;\r\n", "1")]),
            (
                "--b\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION:form-data;filename=\"f;\";name=x;z=1\r\n\r\n1\r\n--b--".into(),
                vec![("x", "1")],
            ),
            ("--b--".into(), vec![]),
        ] {
            let read = read(&body).unwrap();
            let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(read, expected, "{body:?}");
        }
        for content_type in [
            "multipart/form-data; boundary=\"a b\"",
            "multipart/form-data;charset=utf-8;Boundary=\"a b\"; x=y",
            "multipart/form-data; boundary=a b",
        ] {
            assert_eq!(pairs("--a b--", content_type), Ok(vec![]), "{content_type}");
        }
    }

    #[test]
    fn what_is_broken_is_said() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1";
        for (body, what) in [
            ("", "its boundary is not in it"),
            ("{}", "its boundary is not in it"),
            ("--b", "it ends within a part's headers"),
            ("--b\r\n", "it ends within a part's headers"),
            ("--b\r\nContent-Disposition: form-data; name=\"x\"\r\n", "it ends within a part's headers"),
            (part, "it ends within a part"),
            ("--bc\r\n\r\n\r\n--b--", "a boundary does not end its line"),
            ("--b\r\n\r\n1\r\n--b--", "a part has no name"),
            ("--b\r\nContent-Disposition: form-data; name=\"x\r\n\r\n1\r\n--b--", "a part has no name"),
            ("--b\r\nContent-Disposition\r\n\r\n1\r\n--b--", "a part has no name"),
        ] {
            assert_eq!(read(body), Err(broken(what)), "{body:?}");
        }
        for content_type in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\""]
        {
            assert_eq!(pairs(part, content_type), Err(broken("it has no boundary")), "{content_type}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(BOUNDARY_CHARS_MAX + 1));
        assert_eq!(pairs(part, &long), Err(broken("it has no boundary")));
        let many = format!("{}\r\n--b--", vec![part; PAIRS_MAX + 1].join("\r\n"));
        assert_eq!(read(&many), Err(Problem::Malformed("more than 10000 parameters".into())));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(body in "(--b|\r\n|\n|Content-Disposition:|;|name=|\"|\\\\|\\PC){0,40}", content_type in "\\PC{0,40}") {
            let _ = read(&body);
            let _ = pairs(&body, &content_type);
        }

        #[test]
        fn what_was_written_is_read_back(values in prop::collection::vec("[^\r\n\"\\\\%]{0,20}", 1..10)) {
            let part = |(n, value): (usize, &String)| format!("--b\r\nContent-Disposition: form-data; name=\"{value}{n}\"\r\n\r\n{value}\r\n");
            let body: String = values.iter().enumerate().map(part).collect();
            let read = read(&format!("{body}--b--\r\n")).unwrap();
            let expected: Vec<_> = values.iter().enumerate().map(|(n, value)| (format!("{value}{n}"), value.clone())).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
