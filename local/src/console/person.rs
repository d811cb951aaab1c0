//! What is known of a person, and what they have done, for the page.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use cli::people::{self, Error, Order};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Console;
use super::error::Refused;

/// Events of a page of the timeline.
const EVENTS: usize = 25;

/// Whom to look up, and from where in their timeline.
#[derive(Deserialize)]
pub(super) struct Whom {
    project: String,
    id: String,
    after: Option<String>,
}

/// The profile of a person, and a page of their timeline, the latest first.
///
/// # Errors
/// It is no project, or no place in a timeline, or the table does not answer.
pub(super) async fn look_up(
    State(console): State<Arc<Console>>,
    Query(whom): Query<Whom>,
) -> Result<Json<Value>, Refused> {
    let id = whom.id.trim();
    if id.is_empty() {
        return Err(Refused::bad("say whom to look up: a user id, an anonymous id or an e-mail address"));
    }
    let after = whom.after.as_deref().map(str::parse).transpose().map_err(|error| refused(&error))?;
    let homes = people::homes(&console.events, &whom.project, id).await.map_err(|error| refused(&error))?;
    let known = people::known(&console.events, &whom.project, id, &homes).await.map_err(|error| refused(&error))?;
    let project = whom.project;
    let query = people::Query { project, homes, order: Order::NewestFirst, since: None, until: None, count: EVENTS };
    let page = people::page(&console.timelines, &query, after.as_ref()).await.map_err(|error| refused(&error))?;
    let next = page.next.map(|next| next.to_string());
    Ok(Json(json!({"known": known, "events": page.events, "next": next})))
}

fn refused(error: &Error) -> Refused {
    match error {
        Error::NoProject { .. } | Error::NoPage { .. } | Error::NoCursor { .. } => Refused::bad(error.to_string()),
        Error::Unread { .. } | Error::Damaged { .. } => Refused::away(error.to_string()),
    }
}
