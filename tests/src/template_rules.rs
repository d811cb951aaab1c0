//! What the template must say for the code to keep its promises, and what no linter of AWS checks.
//!
//! Each rule takes the template and returns the violations it finds, each with the resource it is about.

mod access;
mod alarms;
mod data;
mod delivery;
mod document;
mod settings;

use document::Document;
use local::template::Template;

/// The violations of all rules in a template, against the runbook that its alarms point to. Empty means that all is well.
///
/// A template that cannot be read is one violation.
#[must_use]
pub fn violations(template: &str, runbook: &str) -> Vec<String> {
    let typed = match Template::parse(template) {
        Ok(typed) => typed,
        Err(error) => return vec![format!("the template: {error:#}")],
    };
    let document = match Document::parse(template) {
        Ok(document) => document,
        Err(error) => return vec![format!("the template: {error}")],
    };
    let mut found = Vec::new();
    delivery::check(&typed, &document, &mut found);
    settings::check(&typed, &document, &mut found);
    data::check(&document, &mut found);
    access::check(&document, &mut found);
    alarms::check(&document, runbook, &mut found);
    found
}
