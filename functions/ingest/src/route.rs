//! Path and method → which call of which protocol.

use shared::event::Kind;

use crate::response::Problem;

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Does the function run?
    Health,
    /// Would an event be taken?
    Ready,
    /// A call of Segment's HTTP API.
    Segment(SegmentCall),
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
}

/// Every path, with the methods that it takes (as its `Allow` header) and what it asks for. Paths stand here without
/// the variations that [`route`] takes off.
pub const ROUTES: &[(&str, &str, Route)] = &[
    ("/health", "GET, HEAD", Route::Health),
    ("/ready", "GET, HEAD", Route::Ready),
    ("/v1/track", "POST", Route::Segment(SegmentCall::Single(Kind::Track))),
    ("/v1/identify", "POST", Route::Segment(SegmentCall::Single(Kind::Identify))),
    ("/v1/page", "POST", Route::Segment(SegmentCall::Single(Kind::Page))),
    ("/v1/screen", "POST", Route::Segment(SegmentCall::Single(Kind::Screen))),
    ("/v1/group", "POST", Route::Segment(SegmentCall::Single(Kind::Group))),
    ("/v1/alias", "POST", Route::Segment(SegmentCall::Single(Kind::Alias))),
    ("/v1/batch", "POST", Route::Segment(SegmentCall::Batch)),
    ("/v1/import", "POST", Route::Segment(SegmentCall::Batch)),
    ("/api/v2/events/track", "POST", Route::Vero(VeroCall::EventsTrack)),
    ("/api/v2/users/track", "POST", Route::Vero(VeroCall::UsersTrack)),
];

/// Finds what a request asks for. A slash at the end is taken off, as is `.json` on Vero's paths: clients differ.
///
/// # Errors
/// [`Problem::NotFound`] or [`Problem::MethodNotAllowed`].
pub fn route(method: &str, path: &str) -> Result<Route, Problem> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = match path.strip_suffix(".json") {
        Some(bare) if path.starts_with("/api/v2/") => bare,
        _ => path,
    };
    let (_, allow, route) = ROUTES.iter().find(|(known, _, _)| *known == path).ok_or(Problem::NotFound)?;
    if allow.split(", ").any(|allowed| allowed == method) {
        Ok(*route)
    } else {
        Err(Problem::MethodNotAllowed { allow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_calls() {
        let track = Ok(Route::Segment(SegmentCall::Single(Kind::Track)));
        let batch = Ok(Route::Segment(SegmentCall::Batch));
        let vero = Ok(Route::Vero(VeroCall::EventsTrack));
        for (method, path, expected) in [
            ("POST", "/v1/track", track.clone()),
            ("POST", "/v1/track/", track),
            ("POST", "/v1/batch", batch.clone()),
            ("POST", "/v1/import/", batch),
            ("POST", "/api/v2/events/track", vero.clone()),
            ("POST", "/api/v2/events/track.json", vero),
            ("GET", "/health", Ok(Route::Health)),
            ("GET", "/v1/track", Err(Problem::MethodNotAllowed { allow: "POST" })),
            ("POST", "/v1/Track", Err(Problem::NotFound)),
            ("POST", "/v1/track.json", Err(Problem::NotFound)),
            ("POST", "/v1/track//", Err(Problem::NotFound)),
            ("POST", "/", Err(Problem::NotFound)),
            ("POST", "", Err(Problem::NotFound)),
            ("POST", "/api/v2/", Err(Problem::NotFound)),
        ] {
            assert_eq!(route(method, path), expected, "{method} {path}");
        }
    }
}
