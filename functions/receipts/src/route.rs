//! Path and method → what is asked. The function gets every path under [`PREFIX`].

use ingest::response::Problem;

/// What every path begins with.
pub const PREFIX: &str = "/v1/receipts/";

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// May a page of another origin call this?
    Preflight,
    /// What has become of a request's events? With the id of its receipt.
    Receipt(String),
    /// Which of these events have not arrived?
    Missing,
}

/// Every path and the methods that it takes (as its `Allow` header). Besides them, every path takes `OPTIONS`.
pub const ROUTES: &[(&str, &str)] = &[("/v1/receipts/{id}", "GET, HEAD"), ("/v1/receipts/missing", "POST")];

/// Finds what a request asks for. A slash at the end is taken off.
///
/// # Errors
/// [`Problem::NotFound`] or [`Problem::MethodNotAllowed`].
pub fn route(method: &str, path: &str) -> Result<Route, Problem> {
    if method == "OPTIONS" {
        return Ok(Route::Preflight);
    }
    let (template, allow) = row(path).ok_or(Problem::NotFound)?;
    if !allow.split(", ").any(|allowed| allowed == method) {
        return Err(Problem::MethodNotAllowed { allow });
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Ok(if template.ends_with('}') { Route::Receipt(last.to_owned()) } else { Route::Missing })
}

/// The path as [`ROUTES`] has it: the text for logs, since an id says who the events are about.
#[must_use]
pub fn template(path: &str) -> &'static str {
    row(path).map_or(PREFIX, |(template, _)| template)
}

fn row(path: &str) -> Option<(&'static str, &'static str)> {
    let rest = path.strip_prefix(PREFIX)?;
    let last = rest.strip_suffix('/').unwrap_or(rest);
    let [receipt, missing] = ROUTES else { return None };
    match last {
        "missing" => Some(*missing),
        "" => None,
        id => (!id.contains('/')).then_some(*receipt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_questions() {
        for (method, path, expected) in [
            ("GET", "/v1/receipts/AQ-_x", Ok(Route::Receipt("AQ-_x".into()))),
            ("HEAD", "/v1/receipts/AQ/", Ok(Route::Receipt("AQ".into()))),
            ("POST", "/v1/receipts/missing", Ok(Route::Missing)),
            ("POST", "/v1/receipts/missing/", Ok(Route::Missing)),
            ("OPTIONS", "/v1/receipts/a/b", Ok(Route::Preflight)),
            ("GET", "/v1/receipts/missing", Err(Problem::MethodNotAllowed { allow: "POST" })),
            ("POST", "/v1/receipts/AQ", Err(Problem::MethodNotAllowed { allow: "GET, HEAD" })),
            ("GET", "/v1/receipts/", Err(Problem::NotFound)),
            ("GET", "/v1/receipts//", Err(Problem::NotFound)),
            ("GET", "/v1/receipts/a/b", Err(Problem::NotFound)),
            ("GET", "/v1/receipts", Err(Problem::NotFound)),
            ("GET", "/v1/track", Err(Problem::NotFound)),
        ] {
            assert_eq!(route(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_path_in_the_log_carries_no_receipt() {
        assert_eq!(template("/v1/receipts/AQ-_x"), "/v1/receipts/{id}");
        assert_eq!(template("/v1/receipts/missing"), "/v1/receipts/missing");
        assert_eq!(template("/v1/receipts/a/b"), "/v1/receipts/");
    }
}
