//! Path and method → which call of which protocol.

use percent_encoding::percent_decode_str;
use shared::event::Kind;

use crate::response::Problem;

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// May a page of another origin call this?
    Preflight,
    /// Does the function run?
    Health,
    /// Would an event be taken?
    Ready,
    /// Vero's own way to ask whether its API is up.
    Heartbeat,
    /// How is a source set up? SDKs of Segment ask before they send.
    Settings,
    /// A call of Segment's HTTP API.
    Segment(SegmentCall),
    /// A call of Segment's pixel API: everything in the query, and the answer is an image.
    Pixel(Kind),
    /// What Segment's Webhooks destinations send.
    Webhook,
    /// A call of Vero's Track API v2.
    Vero(VeroCall),
}

/// The calls of Segment's HTTP API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentCall {
    /// One event, whose kind the path tells.
    Single(Kind),
    /// Many events, each with its `type`.
    Batch,
}

/// The calls of Vero's Track API v2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VeroCall {
    /// A user did something.
    EventsTrack,
    /// A user is somebody.
    UsersTrack,
    /// A user has another id from now on.
    UsersReidentify,
    /// Some properties of a user change.
    UsersEdit,
    /// Tags are put on a user, or taken off.
    UsersTagsEdit,
    /// A user wants no more mail.
    UsersUnsubscribe,
    /// A user wants mail again.
    UsersResubscribe,
    /// A user is to be forgotten.
    UsersDelete,
}

/// The segment of a path that stands for a write key.
const WRITE_KEY: &str = "{writeKey}";

/// A path, the methods that it takes (as its `Allow` header), and what it asks for.
pub type Row = (&'static str, &'static str, Route);

/// Every path, without the variations that [`route`] takes off. Besides its methods, every path takes `OPTIONS`.
pub const ROUTES: &[Row] = &[
    ("/health", "GET, HEAD", Route::Health),
    ("/ready", "GET, HEAD", Route::Ready),
    ("/v1/track", "POST", Route::Segment(SegmentCall::Single(Kind::Track))),
    ("/v1/identify", "POST", Route::Segment(SegmentCall::Single(Kind::Identify))),
    ("/v1/page", "POST", Route::Segment(SegmentCall::Single(Kind::Page))),
    ("/v1/screen", "POST", Route::Segment(SegmentCall::Single(Kind::Screen))),
    ("/v1/group", "POST", Route::Segment(SegmentCall::Single(Kind::Group))),
    ("/v1/alias", "POST", Route::Segment(SegmentCall::Single(Kind::Alias))),
    ("/v1/t", "POST", Route::Segment(SegmentCall::Single(Kind::Track))),
    ("/v1/i", "POST", Route::Segment(SegmentCall::Single(Kind::Identify))),
    ("/v1/p", "POST", Route::Segment(SegmentCall::Single(Kind::Page))),
    ("/v1/s", "POST", Route::Segment(SegmentCall::Single(Kind::Screen))),
    ("/v1/g", "POST", Route::Segment(SegmentCall::Single(Kind::Group))),
    ("/v1/a", "POST", Route::Segment(SegmentCall::Single(Kind::Alias))),
    ("/v1/batch", "POST", Route::Segment(SegmentCall::Batch)),
    ("/v1/b", "POST", Route::Segment(SegmentCall::Batch)),
    ("/v1/import", "POST", Route::Segment(SegmentCall::Batch)),
    ("/v1/pixel/track", "GET, HEAD", Route::Pixel(Kind::Track)),
    ("/v1/pixel/identify", "GET, HEAD", Route::Pixel(Kind::Identify)),
    ("/v1/pixel/page", "GET, HEAD", Route::Pixel(Kind::Page)),
    ("/v1/pixel/screen", "GET, HEAD", Route::Pixel(Kind::Screen)),
    ("/v1/pixel/group", "GET, HEAD", Route::Pixel(Kind::Group)),
    ("/v1/pixel/alias", "GET, HEAD", Route::Pixel(Kind::Alias)),
    ("/v1/projects/{writeKey}/settings", "GET, HEAD", Route::Settings),
    ("/webhooks/segment", "POST, PUT, PATCH", Route::Webhook),
    ("/webhooks/segment/{writeKey}", "POST, PUT, PATCH", Route::Webhook),
    ("/api/v2/events/track", "POST", Route::Vero(VeroCall::EventsTrack)),
    ("/api/v2/users/track", "POST", Route::Vero(VeroCall::UsersTrack)),
    ("/api/v2/users/reidentify", "PUT, POST", Route::Vero(VeroCall::UsersReidentify)),
    ("/api/v2/users/edit", "PUT, POST", Route::Vero(VeroCall::UsersEdit)),
    ("/api/v2/users/tags/edit", "PUT, POST", Route::Vero(VeroCall::UsersTagsEdit)),
    ("/api/v2/users/unsubscribe", "POST", Route::Vero(VeroCall::UsersUnsubscribe)),
    ("/api/v2/users/resubscribe", "POST", Route::Vero(VeroCall::UsersResubscribe)),
    ("/api/v2/users/delete", "POST, DELETE", Route::Vero(VeroCall::UsersDelete)),
    ("/api/v2/heartbeat", "GET, HEAD", Route::Heartbeat),
];

/// What a path and a method lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// What is asked for.
    pub route: Route,
    /// The write key in the path, if its place is there.
    pub write_key: Option<String>,
}

/// Finds what a request asks for. A slash at the end is taken off, as is `.json` on Vero's paths: clients differ.
///
/// # Errors
/// [`Problem::NotFound`] or [`Problem::MethodNotAllowed`].
pub fn route(method: &str, path: &str) -> Result<Found, Problem> {
    if method == "OPTIONS" {
        // Whatever the path: only after this does a browser let its page see the 404.
        return Ok(Found { route: Route::Preflight, write_key: None });
    }
    let ((_, allow, route), write_key) = row(path).ok_or(Problem::NotFound)?;
    if !allow.split(", ").any(|allowed| allowed == method) {
        return Err(Problem::MethodNotAllowed { allow });
    }
    let write_key = write_key.map(|key| percent_decode_str(key).decode_utf8_lossy().into_owned());
    Ok(Found { route: *route, write_key })
}

/// The path as [`ROUTES`] has it: the text for logs, since what was sent may carry a write key. `None` if it is not
/// among them.
#[must_use]
pub fn template(path: &str) -> Option<&'static str> {
    row(path).map(|((template, _, _), _)| *template)
}

/// The row of a path, and the text in the place of the write key.
fn row(path: &str) -> Option<(&'static Row, Option<&str>)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = match path.strip_suffix(".json") {
        Some(bare) if path.starts_with("/api/v2/") => bare,
        _ => path,
    };
    ROUTES.iter().find_map(|row| matched(row.0, path).map(|write_key| (row, write_key)))
}

/// Whether a path has the form of a template: `Some` of the text in the place of the write key, if it has that place.
fn matched<'a>(template: &str, path: &'a str) -> Option<Option<&'a str>> {
    let (mut segments, mut write_key) = (path.split('/'), None);
    for expected in template.split('/') {
        let segment = segments.next()?;
        if expected == WRITE_KEY && !segment.is_empty() {
            write_key = Some(segment);
        } else if expected != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(write_key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn found(route: Route) -> Result<Found, Problem> {
        Ok(Found { route, write_key: None })
    }

    #[test]
    fn paths_lead_to_calls() {
        let track = || found(Route::Segment(SegmentCall::Single(Kind::Track)));
        let batch = || found(Route::Segment(SegmentCall::Batch));
        let vero = |call| found(Route::Vero(call));
        let keyed = |route, key: &str| Ok(Found { route, write_key: Some(key.into()) });
        for (method, path, expected) in [
            ("POST", "/v1/track", track()),
            ("POST", "/v1/track/", track()),
            ("POST", "/v1/t", track()),
            ("POST", "/v1/batch", batch()),
            ("POST", "/v1/b", batch()),
            ("POST", "/v1/import/", batch()),
            ("POST", "/api/v2/events/track", vero(VeroCall::EventsTrack)),
            ("POST", "/api/v2/events/track.json", vero(VeroCall::EventsTrack)),
            ("POST", "/api/v2/events/track.json/", vero(VeroCall::EventsTrack)),
            ("PUT", "/api/v2/users/tags/edit.json", vero(VeroCall::UsersTagsEdit)),
            ("POST", "/api/v2/users/tags/edit", vero(VeroCall::UsersTagsEdit)),
            ("PUT", "/api/v2/users/edit", vero(VeroCall::UsersEdit)),
            ("POST", "/api/v2/users/reidentify", vero(VeroCall::UsersReidentify)),
            ("DELETE", "/api/v2/users/delete", vero(VeroCall::UsersDelete)),
            ("POST", "/api/v2/users/delete.json", vero(VeroCall::UsersDelete)),
            ("GET", "/api/v2/heartbeat.json", found(Route::Heartbeat)),
            ("HEAD", "/api/v2/heartbeat", found(Route::Heartbeat)),
            ("GET", "/v1/pixel/page", found(Route::Pixel(Kind::Page))),
            ("GET", "/health", found(Route::Health)),
            ("GET", "/v1/projects/abc/settings", keyed(Route::Settings, "abc")),
            ("POST", "/webhooks/segment", found(Route::Webhook)),
            ("POST", "/webhooks/segment/", found(Route::Webhook)),
            ("PATCH", "/webhooks/segment/a+b%2Fc/", keyed(Route::Webhook, "a+b/c")),
            ("PUT", "/webhooks/segment/%ff", keyed(Route::Webhook, "\u{FFFD}")),
            ("OPTIONS", "/v1/track", found(Route::Preflight)),
            ("OPTIONS", "/nowhere", found(Route::Preflight)),
            ("GET", "/v1/track", Err(Problem::MethodNotAllowed { allow: "POST" })),
            ("DELETE", "/api/v2/users/track", Err(Problem::MethodNotAllowed { allow: "POST" })),
            ("post", "/v1/track", Err(Problem::MethodNotAllowed { allow: "POST" })),
            ("POST", "/v1/Track", Err(Problem::NotFound)),
            ("POST", "/v1/track.json", Err(Problem::NotFound)),
            ("POST", "/v1/track//", Err(Problem::NotFound)),
            ("GET", "/v1/projects//settings", Err(Problem::NotFound)),
            ("GET", "/v1/projects/a/b/settings", Err(Problem::NotFound)),
            ("POST", "/webhooks/segment/a/b", Err(Problem::NotFound)),
            ("POST", "/", Err(Problem::NotFound)),
            ("POST", "", Err(Problem::NotFound)),
            ("POST", "/api/v2/", Err(Problem::NotFound)),
        ] {
            assert_eq!(route(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_table_is_well_formed() {
        let paths: HashSet<&str> = ROUTES.iter().map(|row| row.0).collect();
        assert_eq!(paths.len(), ROUTES.len(), "each path stands in it once");
        for (path, allow, expected) in ROUTES {
            assert!(path.starts_with('/') && !path.ends_with(['/', '}']) || path.ends_with("/{writeKey}"), "{path}");
            let methods: HashSet<&str> = allow.split(", ").collect();
            assert_eq!(methods.contains("GET"), methods.contains("HEAD"), "{path}: HEAD is where GET is");
            for method in methods {
                assert_eq!(route(method, path).unwrap().route, *expected, "{method} {path} leads to its own row");
            }
        }
    }

    #[test]
    fn a_path_in_the_log_carries_no_write_key() {
        assert_eq!(template("/webhooks/segment/secret/"), Some("/webhooks/segment/{writeKey}"));
        assert_eq!(template("/v1/projects/secret/settings"), Some("/v1/projects/{writeKey}/settings"));
        assert_eq!(template("/nowhere"), None);
    }
}
