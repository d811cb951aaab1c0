//! Who may use the console: a page of its own, on this machine. Any other page in the same browser could reach the port
//! as well, under a name of its own (DNS rebinding) or by a request that it lets the browser send (CSRF).

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, StatusCode, header};
use tokio::time::timeout;

use super::error::Refused;

/// How long an answer may take. A call to the table under it is tried several times.
const DEADLINE: Duration = Duration::from_secs(20);

/// What browsers tell of where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that is not the person's own, and lets none take longer than 20 s.
pub(super) async fn guard(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/console/api/");
    if !peer.ip().is_loopback() || !is_ours(request.headers(), api) {
        let message = "the console answers only its own page, on this machine; open it as the pipeline said";
        return Refused::new(StatusCode::FORBIDDEN, "not_this_machine", message).into_response();
    }
    let late = || Refused::new(StatusCode::GATEWAY_TIMEOUT, "too_slow", "no answer in time; try again").into_response();
    timeout(DEADLINE, next.run(request)).await.unwrap_or_else(|_| late())
}

/// Whether a request's headers say that it comes from this machine's own page. A program that is no browser sends neither
/// an origin nor a site, and may do what its user may. `api` is false for the page itself, to which others may link.
fn is_ours(headers: &HeaderMap, api: bool) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(host) = text(&header::HOST).filter(|host| is_loopback(host)) else { return false };
    let same_origin = text(&header::ORIGIN).is_none_or(|origin| origin == format!("http://{host}"));
    let same_site = text(&FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none"));
    same_origin && (same_site || !api)
}

/// Whether a host, with or without a port, can only be this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_pages_of_this_very_address_may_call() {
        let ours = |pairs: &[(HeaderName, &'static str)], api| {
            is_ours(&pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect(), api)
        };
        let host = (header::HOST, "127.0.0.1:3000");
        for name in ["localhost", "LOCALHOST:3000", "127.0.0.1:3000", "[::1]", "[::1]:80"] {
            assert!(ours(&[(header::HOST, name)], true), "{name}");
        }
        for name in
            ["", "evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost.", "[::1]:x", "10.0.0.1"]
        {
            assert!(!ours(&[(header::HOST, name)], false), "{name}");
        }
        assert!(!ours(&[], true));
        assert!(ours(&[host.clone(), (header::ORIGIN, "http://127.0.0.1:3000")], true));
        for origin in
            ["null", "http://evil.example", "http://127.0.0.1:5173", "http://localhost:3000", "https://127.0.0.1:3000"]
        {
            assert!(!ours(&[host.clone(), (header::ORIGIN, origin)], true), "{origin}");
        }
        for (site, api, expected) in [
            ("same-origin", true, true),
            ("none", true, true),
            ("same-site", true, false),
            ("cross-site", true, false),
            // A link to the page.
            ("cross-site", false, true),
        ] {
            assert_eq!(ours(&[host.clone(), (FETCH_SITE, site)], api), expected, "{site} {api}");
        }
    }
}
