//! Which route a request takes, as an HTTP API chooses it. Pure: values in, values out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The key of the route that takes what no other does.
pub const DEFAULT_ROUTE: &str = "$default";
/// The method of a route that takes every one.
const ANY: &str = "ANY";

/// The routes of an API.
pub(super) struct Routes {
    default: String,
    others: Vec<Route>,
}

struct Route {
    key: String,
    method: String,
    segments: Vec<Segment>,
    function: String,
}

/// A part of a route's path.
enum Segment {
    Text(String),
    /// Any one part, by this name.
    Parameter(String),
    /// All parts from here on, by this name; at least one.
    Rest(String),
}

/// The route that a request takes.
pub(super) struct Found<'a> {
    /// The route's key.
    pub(super) key: &'a str,
    /// The function that it leads to.
    pub(super) function: &'a str,
    /// What stands in the request's path where the route has names.
    pub(super) parameters: BTreeMap<String, String>,
}

impl Routes {
    /// Routes that lead to `default`, but for others with their keys and functions.
    pub(super) fn new(default: String, others: Vec<(String, String)>) -> Self {
        Self { default, others: others.into_iter().map(|(key, function)| Route::new(key, function)).collect() }
    }

    /// The most specific route: by its path, and then by its method.
    pub(super) fn find(&self, method: &str, path: &str) -> Found<'_> {
        let fitting = self.others.iter().filter(|route| route.method == ANY || route.method == method);
        let fitting = fitting.filter_map(|route| Some((route, route.parameters(path)?)));
        match fitting.min_by_key(|(route, _)| (route.preference(), Reverse(route.method != ANY))) {
            Some((route, parameters)) => Found { key: &route.key, function: &route.function, parameters },
            None => Found { key: DEFAULT_ROUTE, function: &self.default, parameters: BTreeMap::new() },
        }
    }
}

impl Route {
    fn new(key: String, function: String) -> Self {
        let (method, path) = key.split_once(' ').unwrap_or((ANY, &key));
        let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            None => Segment::Text(text.to_owned()),
            Some(name) => match name.strip_suffix('+') {
                None => Segment::Parameter(name.to_owned()),
                Some(name) => Segment::Rest(name.to_owned()),
            },
        };
        let (method, segments) = (method.to_owned(), path.split('/').map(segment).collect());
        Self { key, method, segments, function }
    }

    /// For each part, how well it fits: a text better than a name, and that better than all the rest.
    fn preference(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Text(_) => 0,
            Segment::Parameter(_) => 1,
            Segment::Rest(_) => 2,
        };
        self.segments.iter().map(rank).collect()
    }

    /// What stands in a path where the route has names; `None` if the path is not of its form.
    fn parameters(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let mut parameters = BTreeMap::new();
        let mut parts = path.split('/');
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Text(text) if text == part => {}
                Segment::Text(_) => return None,
                Segment::Parameter(_) if part.is_empty() => return None,
                Segment::Parameter(name) => drop(parameters.insert(name.clone(), part.to_owned())),
                Segment::Rest(name) => {
                    let rest: Vec<&str> = std::iter::once(part).chain(parts).collect();
                    let rest = Some(rest.join("/")).filter(|rest| !rest.is_empty())?;
                    parameters.insert(name.clone(), rest);
                    return Some(parameters);
                }
            }
        }
        parts.next().is_none().then_some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_is_taken_and_the_default_otherwise() {
        let keys = ["ANY /v1/things/{path+}", "GET /v1/things/{id}", "ANY /v1/things/{id}", "POST /v1/things/lost"];
        let others = keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())).collect();
        let routes = Routes::new("front".to_owned(), others);
        for (method, path, key, parameters) in [
            ("GET", "/v1/things/a", "GET /v1/things/{id}", "id=a"),
            ("PUT", "/v1/things/a", "ANY /v1/things/{id}", "id=a"),
            ("POST", "/v1/things/lost", "POST /v1/things/lost", ""),
            ("GET", "/v1/things/lost", "GET /v1/things/{id}", "id=lost"),
            ("GET", "/v1/things/a/b", "ANY /v1/things/{path+}", "path=a/b"),
            ("GET", "/v1/things/a/", "ANY /v1/things/{path+}", "path=a/"),
            ("GET", "/v1/things/", DEFAULT_ROUTE, ""),
            ("GET", "/v1/things", DEFAULT_ROUTE, ""),
            ("POST", "/v1/track", DEFAULT_ROUTE, ""),
        ] {
            let found = routes.find(method, path);
            let said: Vec<String> = found.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!((found.key, said.join("&").as_str()), (key, parameters), "{method} {path}");
            assert_eq!(found.function, if key == DEFAULT_ROUTE { "front" } else { key });
        }
    }
}
