//! `openapi.yaml` against the code: the same paths and methods, the same errors, and examples that are answered as it
//! says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ingest::response::{Answer, Problem};
use ingest::route::{ROUTES, route};
use serde_json::{Map, Value, json};
use tests::Pipeline;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The specification with every reference replaced by what it refers to.
fn spec() -> Value {
    let text = include_str!("../../openapi.yaml");
    let spec: Value = serde_yaml_ng::from_str(text).unwrap();
    inlined(&spec, &spec, 0)
}

fn inlined(spec: &Value, value: &Value, depth: usize) -> Value {
    assert!(depth < 100, "references go round in circles");
    let inner = |value: &Value| inlined(spec, value, depth + 1);
    if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| spec.pointer(pointer));
        inner(target.unwrap_or_else(|| panic!("{reference} refers to nothing")))
    } else if let Some(members) = value.as_object() {
        members.iter().map(|(name, member)| (name.clone(), inner(member))).collect::<Map<_, _>>().into()
    } else if let Some(elements) = value.as_array() {
        elements.iter().map(inner).collect::<Vec<_>>().into()
    } else {
        value.clone()
    }
}

/// The members of an object; none if there is no object.
fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every operation: path, method, the item of the path, the operation.
fn operations(spec: &Value) -> Vec<(&str, String, &Value, &Value)> {
    let of_item = |(path, item)| {
        let methods = members(item).map(|(name, operation)| (name.to_ascii_uppercase(), operation));
        let methods = methods.filter(|(name, _)| METHODS.contains(&name.as_str()));
        methods.map(move |(method, operation)| (path, method, item, operation))
    };
    members(&spec["paths"]).flat_map(of_item).collect()
}

#[test]
fn paths_and_methods_are_those_of_the_router() {
    let spec = spec();
    let with_methods = |(path, allow): (&'static str, &'static str)| {
        allow.split(", ").chain(["OPTIONS"]).map(move |method| format!("{method} {path}"))
    };
    let of_ingest = ROUTES.iter().map(|row| (row.0, row.1));
    let routed: BTreeSet<String> =
        of_ingest.chain(receipts::route::ROUTES.iter().copied()).flat_map(with_methods).collect();
    let specified: BTreeSet<String> =
        operations(&spec).iter().map(|(path, method, ..)| format!("{method} {path}")).collect();
    let missing: Vec<_> = routed.difference(&specified).collect();
    let unrouted: Vec<_> = specified.difference(&routed).collect();
    assert!(missing.is_empty() && unrouted.is_empty(), "missing: {missing:?}; routed nowhere: {unrouted:?}");
    assert_eq!(spec["info"]["version"], env!("CARGO_PKG_VERSION"));
    // The variations that its description names.
    for (path, method, ..) in operations(&spec) {
        if path.starts_with(receipts::route::PREFIX) {
            let found = receipts::route::route(&method, path);
            assert_eq!(receipts::route::route(&method, &format!("{path}/")), found);
            continue;
        }
        let found = route(&method, path);
        assert_eq!(route(&method, &format!("{path}/")), found);
        if path.starts_with("/api/v2/") {
            assert_eq!(route(&method, &format!("{path}.json")), found);
        }
    }
}

/// The problem after this one, in the order in which they are declared; the first after none. So none can be forgotten
/// here that is added there.
fn problem_after(problem: Option<&Problem>) -> Option<Problem> {
    Some(match problem {
        None => Problem::EmptyBody,
        Some(Problem::EmptyBody) => Problem::Malformed("why".to_owned()),
        Some(Problem::Malformed(_)) => Problem::UnsupportedEncoding("br".to_owned()),
        Some(Problem::UnsupportedEncoding(_)) => Problem::NestedTooDeeply,
        Some(Problem::NestedTooDeeply) => Problem::EmptyBatch,
        Some(Problem::EmptyBatch) => Problem::BatchTooLong { items: 2_501 },
        Some(Problem::BatchTooLong { .. }) => Problem::BatchTooLarge { limit: 7 },
        Some(Problem::BatchTooLarge { .. }) => Problem::RequestTooLarge { limit: 7 },
        Some(Problem::RequestTooLarge { .. }) => Problem::EventTooLarge { index: 0, limit: 7 },
        Some(Problem::EventTooLarge { .. }) => Problem::BadParameter("id".to_owned()),
        Some(Problem::BadParameter(_)) => Problem::NoWriteKey,
        Some(Problem::NoWriteKey) => Problem::UnknownWriteKey,
        Some(Problem::UnknownWriteKey) => Problem::BadSignature,
        Some(Problem::BadSignature) => Problem::NotFound,
        Some(Problem::NotFound) => Problem::MethodNotAllowed { allow: "POST" },
        Some(Problem::MethodNotAllowed { .. }) => Problem::unavailable(Duration::ZERO),
        Some(Problem::Unavailable { .. }) => Problem::Internal,
        Some(Problem::Internal) => return None,
    })
}

/// Status and code of every error that a schema allows.
fn errors(schema: &Value) -> BTreeSet<(u64, String)> {
    let parts: Vec<&Value> = elements(&schema["allOf"]).collect();
    let status = parts.iter().find_map(|part| part["properties"]["status"]["const"].as_u64());
    let codes = parts.iter().flat_map(|part| elements(&part["properties"]["code"]["enum"]));
    let own = codes.filter_map(|code| Some((status?, code.as_str()?.to_owned())));
    own.chain(elements(&schema["oneOf"]).flat_map(errors)).collect()
}

fn errors_of(response: &Value) -> BTreeSet<(u64, String)> {
    members(&response["content"]).flat_map(|(_, media)| errors(&media["schema"])).collect()
}

/// Asserts that an answer has exactly the headers that the response names, with their values where these are fixed. One
/// that the response says in so many words is not required may be missing.
fn assert_headers(response: &Value, headers: &BTreeMap<String, String>, what: &str) {
    let named: BTreeSet<String> = members(&response["headers"]).map(|(name, _)| name.to_ascii_lowercase()).collect();
    let sent: BTreeSet<String> = headers.keys().filter(|name| *name != "content-type").cloned().collect();
    let optional = members(&response["headers"]).filter(|(_, header)| header["required"] == json!(false));
    let absent: BTreeSet<String> =
        optional.map(|(name, _)| name.to_ascii_lowercase()).filter(|name| !sent.contains(name)).collect();
    assert_eq!(sent.union(&absent).cloned().collect::<BTreeSet<_>>(), named, "{what}");
    for (name, header) in members(&response["headers"]) {
        if absent.contains(&name.to_ascii_lowercase()) {
            continue;
        }
        if let Some(value) = header["schema"]["const"].as_str() {
            assert_eq!(headers[&name.to_ascii_lowercase()], value, "{what}: {name}");
        }
    }
}

#[test]
fn errors_are_those_of_the_code() {
    let spec = spec();
    let problems: Vec<Problem> = std::iter::successors(problem_after(None), |last| problem_after(Some(last))).collect();
    let coded: BTreeSet<(u64, String)> =
        problems.iter().map(|problem| (u64::from(problem.status()), problem.code().to_owned())).collect();
    let responses = &spec["components"]["responses"];
    let specified: BTreeSet<(u64, String)> = members(responses).flat_map(|(_, response)| errors_of(response)).collect();
    assert_eq!(specified, coded);
    for (path, method, _, operation) in operations(&spec) {
        for (status, response) in members(&operation["responses"]) {
            let misplaced = errors_of(response).into_iter().find(|(own, _)| own.to_string() != status);
            assert_eq!(misplaced, None, "{method} {path}: under {status}");
        }
    }
    for problem in problems {
        let error = (u64::from(problem.status()), problem.code().to_owned());
        let reply = Answer::Problem(problem).reply();
        let headers = reply.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        for (name, response) in members(responses).filter(|(_, response)| errors_of(response).contains(&error)) {
            assert_headers(response, &headers, &format!("{} in {name}", error.1));
        }
    }
}

/// A request that the specification gives as an example.
#[derive(Clone, Debug, Default)]
struct Request {
    /// The name of the example; empty where there is none and the operation is called as it is.
    name: String,
    path: String,
    query: String,
    content_type: String,
    body: Vec<u8>,
}

/// The examples of an operation: of its bodies, and of its parameters where several of one name belong together.
fn requests(path: &str, item: &Value, operation: &Value) -> Vec<Request> {
    let parameters: Vec<&Value> = elements(&item["parameters"]).chain(elements(&operation["parameters"])).collect();
    let bodies = members(&operation["requestBody"]["content"]).flat_map(|(content_type, media)| {
        members(&media["examples"]).map(move |(name, example)| (name, content_type, &example["value"]))
    });
    let mut requests: Vec<Request> = bodies
        .map(|(name, content_type, value)| {
            let (content_type, body) = encoded_body(content_type, value);
            Request { name: name.to_owned(), content_type, body, ..Request::default() }
        })
        .collect();
    let names: BTreeSet<&str> =
        parameters.iter().flat_map(|parameter| members(&parameter["examples"]).map(|(name, _)| name)).collect();
    requests.extend(names.iter().map(|name| Request { name: (*name).to_owned(), ..Request::default() }));
    if requests.is_empty() {
        requests.push(Request::default());
    }
    for request in &mut requests {
        request.path = path.to_owned();
        let mut pairs = vec![];
        for parameter in &parameters {
            let named = parameter["examples"].get(&request.name).map(|example| &example["value"]);
            let Some(value) = named.or(parameter.get("example")) else { continue };
            let name = parameter["name"].as_str().unwrap();
            if parameter["in"] == "path" {
                request.path = path.replace(&format!("{{{name}}}"), value.as_str().unwrap());
            } else if value.is_object() {
                pairs.extend(texts(value));
            } else {
                pairs.push((name, value.as_str().unwrap()));
            }
        }
        request.query = urlencoded(&pairs);
    }
    requests
}

fn texts(value: &Value) -> Vec<(&str, &str)> {
    members(value).map(|(name, value)| (name, value.as_str().expect("a form's values are texts"))).collect()
}

fn urlencoded(pairs: &[(&str, &str)]) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}

/// The content type as it is sent, and the body.
fn encoded_body(content_type: &str, value: &Value) -> (String, Vec<u8>) {
    let (sent_type, body) = match content_type {
        "application/x-www-form-urlencoded" => (content_type.to_owned(), urlencoded(&texts(value))),
        "multipart/form-data" => {
            let part = |(name, value)| {
                format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            let parts: String = texts(value).into_iter().map(part).collect();
            (format!("{content_type}; boundary=limit"), format!("{parts}--limit--\r\n"))
        }
        "text/plain" => (content_type.to_owned(), value.as_str().unwrap().to_owned()),
        _ => (content_type.to_owned(), value.to_string()),
    };
    (sent_type, body.into_bytes())
}

/// Adds the key `dev` to a request that carries none, as the operation's security says.
fn with_key(mut request: Request, operation: &Value) -> (Request, Option<&'static str>) {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let takes = |scheme: &str| elements(&operation["security"]).any(|option| option.get(scheme).is_some());
    let has_key = ["auth_token", "tracking_api_key"].iter().any(|name| body.contains(name));
    // The examples of Vero's queries have the key among the rest.
    if takes("authToken") && !has_key && request.query.is_empty() {
        request.query = "auth_token=dev".to_owned();
    }
    let authorization = (takes("basic") && !body.contains("writeKey")).then_some("Basic ZGV2Og==");
    (request, authorization)
}

/// What a request is answered: status, headers by their names in lower case, and body.
async fn answer(
    pipeline: &Pipeline,
    method: &str,
    request: &Request,
    authorization: Option<&str>,
) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let mut headers = json!({"host": "127.0.0.1:3000", "content-type": request.content_type});
    if let Some(authorization) = authorization {
        headers["authorization"] = json!(authorization);
    }
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": request.path, "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": "0", "apiId": "local", "domainName": "127.0.0.1", "domainPrefix": "127", "stage": "$default",
            "http": {
                "method": method, "path": request.path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                "userAgent": "test",
            },
            "requestId": "id", "routeKey": "$default", "time": "14/Nov/2023:22:13:20 +0000", "timeEpoch": 1,
        },
        "body": STANDARD.encode(&request.body), "isBase64Encoded": true,
    });
    let event = lambda_http::request::from_str(&event.to_string()).unwrap();
    let response = if request.path.starts_with(receipts::route::PREFIX) {
        receipts::handler::respond(&pipeline.receipts, event, false).await.unwrap()
    } else {
        ingest::handler::respond(&pipeline.ingest, event, false).await.unwrap()
    };
    let header = |(name, value): (&lambda_http::http::HeaderName, &lambda_http::http::HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
    };
    let headers = response.headers().iter().map(header).collect();
    (response.status().as_u16(), headers, response.body().to_vec())
}

/// The answer that an example gets: the one that has an example of the same name, or else 200.
fn expected<'a>(operation: &'a Value, name: &str) -> (u16, &'a Value, Option<&'a Value>) {
    let named = members(&operation["responses"]).find_map(|(status, response)| {
        let example = members(&response["content"]).find_map(|(_, media)| media["examples"].get(name))?;
        Some((status.parse().unwrap(), response, Some(&example["value"])))
    });
    let accepted = &operation["responses"]["200"];
    named.unwrap_or((200, accepted, accepted["content"]["application/json"]["schema"].get("const")))
}

#[tokio::test]
async fn examples_are_answered_as_they_say() {
    let spec = spec();
    let pipeline = Pipeline::start().await;
    assert_eq!(spec["servers"][0]["url"], "http://127.0.0.1:3000");
    let (mut given, mut specified) = (BTreeSet::new(), BTreeSet::new());
    for (path, method, item, operation) in operations(&spec) {
        for (status, response) in members(&operation["responses"]) {
            let examples = members(&response["content"]).flat_map(|(_, media)| members(&media["examples"]));
            specified.extend(examples.map(|(name, _)| (status.parse().unwrap(), name.to_owned())));
        }
        let asks = path.starts_with(receipts::route::PREFIX);
        let takes_events =
            operation.get("requestBody").is_some() && !asks || path.contains("/pixel/") && method == "GET";
        for request in requests(path, item, operation) {
            let (request, authorization) = with_key(request, operation);
            let what = format!("{method} {path} {}: {}", request.name, String::from_utf8_lossy(&request.body));
            let before = pipeline.waiting().await;
            let (status, headers, body) = answer(&pipeline, &method, &request, authorization).await;
            let (expected_status, response, expected_body) = expected(operation, &request.name);
            assert_eq!(status, expected_status, "{what}: {}", String::from_utf8_lossy(&body));
            assert!(response["content"].get(&headers["content-type"]).is_some(), "{what}: {headers:?}");
            assert_headers(response, &headers, &what);
            match expected_body {
                Some(expected) => assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), *expected, "{what}"),
                None => {
                    assert_eq!((headers["content-type"].as_str(), &body[..3]), ("image/gif", &b"GIF"[..]), "{what}");
                }
            }
            if takes_events {
                assert_eq!(pipeline.waiting().await > before, status == 200, "{what}: 200 exactly if it is enqueued");
            }
            given.insert((status, request.name));
        }
    }
    let unseen: Vec<_> = specified.difference(&given).collect();
    assert!(unseen.is_empty(), "no example of a request is answered so: {unseen:?}");
    pipeline.finish().await;
}

#[tokio::test]
async fn what_is_not_in_it_is_answered_404_or_405() {
    let spec = spec();
    let pipeline = Pipeline::start().await;
    let responses = &spec["components"]["responses"];
    for (path, item) in members(&spec["paths"]) {
        let methods = members(item).map(|(name, _)| name.to_ascii_uppercase());
        let methods: BTreeSet<String> = methods.filter(|name| METHODS.contains(&name.as_str())).collect();
        for method in METHODS.into_iter().filter(|method| !methods.contains(*method)) {
            let request = Request { path: path.replace("{writeKey}", "dev"), ..Request::default() };
            let (status, headers, _) = answer(&pipeline, method, &request, None).await;
            assert_eq!(status, 405, "{method} {path}");
            assert_headers(&responses["MethodNotAllowed"], &headers, path);
            let allowed = headers["allow"].split(", ").chain(["OPTIONS"]).map(str::to_owned).collect();
            assert_eq!(methods, allowed, "{path}");
        }
    }
    let request = Request { path: "/nowhere".to_owned(), ..Request::default() };
    let (status, headers, body) = answer(&pipeline, "POST", &request, None).await;
    assert_headers(&responses["NotFound"], &headers, "/nowhere");
    let example = &responses["NotFound"]["content"]["application/json"]["examples"]["not_found"]["value"];
    assert_eq!((status, &serde_json::from_slice::<Value>(&body).unwrap()), (404, example));
    pipeline.finish().await;
}
