//! The standard output: JSON, or lines and tables for a person.

use std::io::Write;

use anstream::{AutoStream, stdout};
use serde::Serialize;

use crate::text::{STRONG, styled};

/// Where to, and how.
pub(crate) struct Output {
    /// Whether everything is a JSON object.
    pub(crate) json: bool,
    stream: AutoStream<std::io::Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, stream: stdout() }
    }

    /// Prints a line. Colours are left out where nobody would see them.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.stream, "{text}")?)
    }

    /// Prints an object in a line of its own.
    pub(crate) fn object(&mut self, object: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(object)?;
        self.line(&text)
    }

    /// Prints an object, or what a person reads instead.
    pub(crate) fn either(&mut self, object: &impl Serialize, text: &str) -> anyhow::Result<()> {
        if self.json { self.object(object) } else { self.line(text) }
    }

    /// Prints rows under their names, each column as wide as its widest cell.
    pub(crate) fn table(&mut self, names: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(names.get(column).map(|name| name.len())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        let padded = |cells: &[&str]| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.line(&styled(STRONG, &padded(names)))?;
        for row in rows {
            self.line(&padded(&row.iter().map(String::as_str).collect::<Vec<_>>()))?;
        }
        Ok(())
    }

    /// Empties the terminal, if it is one.
    pub(crate) fn clear(&mut self) -> anyhow::Result<()> {
        write!(self.stream, "\x1b[H\x1b[2J")?;
        Ok(self.stream.flush()?)
    }
}
