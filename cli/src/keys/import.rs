//! Taking over keys that exist elsewhere, such as those of Segment's sources or of a Vero account: producers then need not
//! be changed.
//!
//! A file is read as a whole before anything is written: what is wrong with it is said line by line, and nothing is done.

use consume::table::Table;
use serde::Deserialize;
use shared::clock::Timestamp;

use super::error::Error;
use super::make::{Home, Made, NewKey, check, create};

/// The most keys of one file.
pub const LINES_MAX: usize = 100_000;

/// A key of a file.
#[derive(Clone)]
pub struct Line {
    /// The number of its line, from 1.
    pub number: usize,
    /// The key.
    pub key: NewKey,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
pub struct Problem {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it; no text of the key.
    pub problem: String,
}

/// What became of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Keys that were made.
    pub new: usize,
    /// Keys that were there already, with the same project and source.
    pub before: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    key: String,
    project: String,
    source: String,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    home: Home,
}

/// Reads a file: CSV with the columns `key,project,source` and, if need be, `home` (`user` or `device`), with or without a
/// line that says so; or an object with these names, and `secret` if need be, on each line. Empty lines count for nothing.
///
/// # Errors
/// Everything that is wrong with it, line by line.
pub fn parse(text: &str) -> Result<Vec<Line>, Vec<Problem>> {
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        if lines.len() + problems.len() == LINES_MAX {
            problems.push(Problem { line: number, problem: format!("it is more than {LINES_MAX} keys; split it") });
            break;
        }
        let read = if line.trim_start().starts_with('{') { object(line) } else { columns(line, number) };
        match read
            .and_then(|new| new.map(|new| check(&new).map(|()| new).map_err(|error| error.to_string())).transpose())
        {
            Ok(Some(key)) => lines.push(Line { number, key }),
            Ok(None) => {}
            Err(problem) => problems.push(Problem { line: number, problem }),
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(problems) }
}

fn object(line: &str) -> Result<Option<NewKey>, String> {
    // The text of the error could hold a part of the key.
    let Object { key, project, source, secret, home } = serde_json::from_str(line).map_err(|error| {
        format!(
            "it is no object with the texts key, project and source, and home if need be: user or device (column {})",
            error.column()
        )
    })?;
    Ok(Some(NewKey { key, project, source, secret, home }))
}

fn columns(line: &str, number: usize) -> Result<Option<NewKey>, String> {
    let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
    match cells.as_slice() {
        ["key", "project", "source"] | ["key", "project", "source", "home"] if number == 1 => Ok(None),
        [key, project, source, home @ ..] if home.len() <= 1 => {
            let [key, project, source] = [*key, *project, *source].map(str::to_owned);
            let home = match home {
                ["user"] => Home::User,
                [] | ["" | "device"] => Home::Device,
                _ => return Err("its home is neither user nor device".to_owned()),
            };
            Ok(Some(NewKey { key, project, source, secret: None, home }))
        }
        cells => Err(format!("it has {} columns, and not key,project,source or key,project,source,home", cells.len())),
    }
}

/// Makes the keys of a file. Doing it again, after it was stopped or failed, makes what is missing.
///
/// # Errors
/// The line at which it ended, and why.
pub async fn import(
    table: &impl Table,
    lines: &[Line],
    now: Timestamp,
    mut progress: impl FnMut(usize),
) -> Result<Imported, (usize, Error)> {
    let mut imported = Imported::default();
    for (done, line) in lines.iter().enumerate() {
        progress(done);
        match create(table, &line.key, now).await.map_err(|error| (line.number, error))? {
            Made::New => imported.new += 1,
            Made::Before => imported.before += 1,
        }
    }
    progress(lines.len());
    Ok(imported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String, String)> {
        let lines = parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
        lines.into_iter().map(|Line { number, key }| (number, key.key, key.project, key.source)).collect()
    }

    #[test]
    fn both_forms_are_read_and_empty_lines_count_for_nothing() {
        let line = |number, key: &str| (number, key.to_owned(), "shop".to_owned(), "web".to_owned());
        assert_eq!(read("key,project,source\nk1,shop,web\n\n\"k2\", shop , web\n"), [line(2, "k1"), line(4, "k2")]);
        let object = r#"{"key":"k1","project":"shop","source":"web"}"#;
        assert_eq!(read(&format!("\n{object}\n")), [line(2, "k1")]);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn a_home_may_be_said_of_each_key() {
        let homes = |text: &str| -> Vec<Home> { parse(text).unwrap().iter().map(|line| line.key.home).collect() };
        let text = "key,project,source,home\nk1,shop,web,user\nk2,shop,web,device\nk3,shop,web,\nk4,shop,web\n";
        assert_eq!(homes(text), [Home::User, Home::Device, Home::Device, Home::Device]);
        let object = r#"{"key":"k1","project":"shop","source":"web","home":"user"}"#;
        assert_eq!(homes(object), [Home::User]);
        for text in ["k1,shop,web,house", "k1,shop,web,user,x", &object.replace("\"user\"", "\"house\"")] {
            assert_eq!(parse(text).err().unwrap().len(), 1, "{text}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_by_line_and_without_the_key() {
        let text =
            "s3cret,Shop,web\ns3cret,shop\n{\"key\":\"s3cret\"}\n,shop,web\nok,shop,web\n{\"key\":\"s3cret\",\"x\":1}";
        let problems = parse(text).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
        assert!(problems.iter().all(|problem| !problem.to_string().contains("s3cret")), "{problems:?}");
    }
}
