//! The functions' log lines, told to a person: one line for each stored event, duplicate and dead letter.

mod voice;

use serde_json::Value;

pub use voice::Voice;

/// What to say of one line that a function wrote; `None` if it is nothing to tell a person.
#[must_use]
pub fn narrate(function: &str, line: &str) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
        // Not one of our log lines: a panic's message, say.
        return (!line.trim().is_empty()).then(|| format!("{function}: {line}"));
    };
    if fields.contains_key("_aws") {
        return None;
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match (text("message"), text("level")) {
        ("event", _) => {
            let outcome = match text("outcome") {
                "stored" => "stored     ",
                // An earlier delivery has been told already.
                "stored_before" => return None,
                "duplicate" => "duplicate  ",
                other => other,
            };
            let name = fields.get("name").and_then(Value::as_str).map(|name| format!(" {name:?}")).unwrap_or_default();
            Some(format!("{outcome} {}{name}  project {}  id {}", text("kind"), text("project"), text("event_id")))
        }
        ("dead-lettered", _) => {
            Some(format!("dead letter {}  project {}  id {}", text("reason"), text("project"), text("id")))
        }
        // The refusal comes round again as a dead letter.
        ("item refused", _) => None,
        (message, "WARN" | "ERROR") => {
            let known = ["timestamp", "level", "message", "target"];
            let details = fields.iter().filter(|(name, _)| !known.contains(&name.as_str()));
            let details: String = details.map(|(name, value)| format!("  {name} {value}")).collect();
            Some(format!("{function}: {message}{details}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_of_fates_and_troubles_and_of_nothing_else() {
        for (line, told) in [
            (
                r#"{"timestamp":"t","level":"DEBUG","message":"event","outcome":"stored","kind":"track","name":"Signed Up","event_id":"m1","project":"dev","target":"consume::deliver"}"#,
                Some("stored      track \"Signed Up\"  project dev  id m1"),
            ),
            (
                r#"{"level":"DEBUG","message":"event","outcome":"duplicate","kind":"identify","event_id":"m1","project":"dev"}"#,
                Some("duplicate   identify  project dev  id m1"),
            ),
            (r#"{"level":"DEBUG","message":"event","outcome":"stored_before","kind":"track"}"#, None),
            (
                r#"{"level":"WARN","message":"dead-lettered","reason":"event_not_defined","project":"dev","id":"r.1"}"#,
                Some("dead letter event_not_defined  project dev  id r.1"),
            ),
            (r#"{"level":"INFO","message":"answered","status":200}"#, None),
            (r#"{"_aws":{},"EventsStored":1}"#, None),
            (
                r#"{"timestamp":"t","level":"ERROR","message":"events could not be enqueued","error":"down"}"#,
                Some("ingest: events could not be enqueued  error \"down\""),
            ),
            ("thread 'main' panicked", Some("ingest: thread 'main' panicked")),
            ("", None),
        ] {
            assert_eq!(narrate("ingest", line).as_deref(), told, "{line}");
        }
    }
}
