//! The page: its files are in the program, and it may load nothing else.

use axum::response::{IntoResponse as _, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, StatusCode};

/// What a page of the console may do: load its own files, and call this server. It has no text as HTML, so that the
/// browser runs nothing that came with an event.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files, by their names under `/console/`.
const FILES: [(&str, &str, &str); 12] = [
    ("", HTML, include_str!("page/console.html")),
    ("console.css", "text/css; charset=utf-8", include_str!("page/console.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("flow.js", SCRIPT, include_str!("page/flow.js")),
    ("feed.js", SCRIPT, include_str!("page/feed.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("switches.js", SCRIPT, include_str!("page/switches.js")),
    ("send.js", SCRIPT, include_str!("page/send.js")),
    ("letters.js", SCRIPT, include_str!("page/letters.js")),
    ("person.js", SCRIPT, include_str!("page/person.js")),
];

/// A file of the page; 404 if there is none of that name.
pub(super) fn file(name: &str) -> Response {
    match FILES.iter().find(|(known, _, _)| *known == name) {
        Some((_, content_type, text)) => secured(([(CONTENT_TYPE, *content_type)], *text).into_response()),
        None => {
            secured((StatusCode::NOT_FOUND, "There is no such page. The console is at /console.\n").into_response())
        }
    }
}

/// Adds what tells a browser to keep the answer to itself.
pub(super) fn secured(mut response: Response) -> Response {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (RESOURCE_POLICY, "same-origin"),
        (OPENER_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    response
}
