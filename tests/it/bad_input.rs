//! Whatever is sent, the answer is a documented status with `code` and `message`, and nothing crashes or is left
//! behind.

use std::io::Write;

use ingest::accept::Call;
use proptest::prelude::*;
use serde_json::json;
use tests::Pipeline;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_by_name_and_nothing_is_enqueued() {
    let pipeline = Pipeline::start().await;
    let deep = format!("{{\"userId\":\"u\",\"event\":\"e\",\"properties\":{}1{}}}", "[".repeat(150), "]".repeat(150));
    let large = |bytes: usize| {
        json!({"userId": "u", "event": "e", "properties": {"a": "x".repeat(bytes)}}).to_string().into_bytes()
    };
    let many = format!("{{\"batch\":[{}]}}", vec!["{}"; 2_501].join(","));
    for (path, body, status, code) in [
        ("/v1/track", vec![], 400, "empty_body"),
        ("/v1/track", b"  \n".to_vec(), 400, "empty_body"),
        ("/v1/batch", gzip(b""), 400, "empty_body"),
        ("/v1/batch", b"{\"batch\":[]}".to_vec(), 400, "empty_batch"),
        ("/v1/batch", b"{\"batch\":7}".to_vec(), 400, "invalid_request"),
        ("/v1/batch", b"{}".to_vec(), 400, "invalid_request"),
        ("/v1/batch", many.into_bytes(), 400, "batch_too_long"),
        ("/v1/track", b"{\"userId\":\"u\"".to_vec(), 400, "invalid_request"),
        ("/v1/track", b"[]".to_vec(), 400, "invalid_request"),
        ("/v1/track", b"null".to_vec(), 400, "invalid_request"),
        ("/v1/track", b"{\"userId\":\"u\",\"event\":\"a\x00b\"}".to_vec(), 400, "invalid_request"),
        ("/v1/track", b"{\"userId\":\"u\",\"event\":\"e\"}\x00\x00".to_vec(), 400, "invalid_request"),
        ("/v1/track", b"\xff\xfe\x00".to_vec(), 400, "invalid_request"),
        ("/v1/track", b"{\"userId\":\"\xc3\x28\"}".to_vec(), 400, "invalid_request"),
        ("/v1/track", b"\x1f\x8b\x08garbage".to_vec(), 400, "invalid_request"),
        ("/v1/track", deep.into_bytes(), 400, "nested_too_deeply"),
        ("/v1/track", "[".repeat(100_000).into_bytes(), 400, "nested_too_deeply"),
        ("/v1/track", large(262_144), 413, "event_too_large"),
        ("/v1/track", large(1_048_576), 413, "request_too_large"),
        ("/v1/batch", gzip(&vec![b'x'; 100_000_000]), 413, "request_too_large"),
        ("/v1/nothing", b"{}".to_vec(), 404, "not_found"),
        ("/api/v2/users/track", b"{}".to_vec(), 400, "bad_parameter"),
        ("/health", b"{}".to_vec(), 405, "method_not_allowed"),
    ] {
        let (answered, answer) = pipeline.post_bytes(path, body).await;
        assert_eq!((answered, answer["code"].as_str()), (status, Some(code)), "{path}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!((&answer["success"], &answer["status"]), (&json!(false), &json!(status)));
    }
    assert_eq!(pipeline.waiting().await, 0);
    pipeline.finish().await;
}

#[tokio::test]
async fn the_limits_themselves_are_allowed() {
    let pipeline = Pipeline::start().await;
    let frame = json!({"userId": "u", "event": "e", "messageId": "m", "timestamp": "2023-11-14T22:13:10.000Z", "properties": {"a": ""}}).to_string();
    let body = frame.replace("\"a\":\"\"", &format!("\"a\":\"{}\"", "x".repeat(262_144 - frame.len())));
    assert_eq!(body.len(), 262_144);
    assert_eq!(pipeline.post_bytes("/v1/track", body.into_bytes()).await.0, 200);
    let items = vec![r#"{"type":"track","userId":"u","event":"e"}"#; 2_500].join(",");
    assert_eq!(pipeline.post_bytes("/v1/batch", format!("{{\"batch\":[{items}]}}").into_bytes()).await.0, 200);
    let depth =
        format!("{{\"userId\":\"u\",\"event\":\"e\",\"properties\":{{\"a\":{}1{}}}}}", "[".repeat(98), "]".repeat(98));
    assert_eq!(pipeline.post_bytes("/v1/track", depth.into_bytes()).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 2_502);
    pipeline.finish().await;
}

#[tokio::test]
async fn odd_but_valid_json_is_stored_as_it_came() {
    let pipeline = Pipeline::start().await;
    let odd = "{\"n\":1e999,\"d\":0.12345678901234567890123456789,\"i\":123456789012345678901234567890,\"z\":\"\\u0000\\ud83d\\ude00\u{FFFF}\",\"lone\":\"\\ud800\",\"a\":1,\"a\":2,\"\":null}";
    let body = format!(
        "{{\"userId\":\"u\\u0000\",\"event\":\"e\",\"messageId\":\"m\",\"timestamp\":\"2023-11-14T22:13:10Z\",\"properties\":{odd},\"surprise\":[1,{{}}]}}"
    );
    assert_eq!(pipeline.post_bytes("/v1/track", body.into_bytes()).await.0, 200);
    pipeline.drain().await;
    let items = pipeline.stored().await;
    let [item] = items.as_slice() else { panic!("{:?}", pipeline.letters().await) };
    assert_eq!(item["pk"].as_s().unwrap(), "dev#u\0");
    // The one character that the queue refuses travels as its escape, which means the same.
    assert_eq!(item["data"].as_s().unwrap(), &odd.replace('\u{FFFF}', "\\uffff"));
    assert_eq!(item["more"].as_s().unwrap(), "{\"surprise\":[1,{}]}");
    pipeline.finish().await;
}

#[tokio::test]
async fn an_unreadable_time_never_refuses_an_event() {
    let pipeline = Pipeline::start().await;
    for (n, time) in
        [json!("yesterday"), json!({}), json!(1e300), json!("\u{0}"), json!(["2023"]), json!("99999-01-01T00:00:00Z")]
            .into_iter()
            .enumerate()
    {
        let body =
            json!({"userId": "u", "event": "e", "messageId": format!("m{n}"), "timestamp": time, "sentAt": time});
        assert_eq!(pipeline.post("/v1/track", &body).await.0, 200);
    }
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 6);
    pipeline.finish().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_to_any_path_get_a_documented_answer(
        path in prop_oneof![Just("/v1/track"), Just("/v1/batch"), Just("/v1/identify"), Just("/api/v2/events/track"), Just("/api/v2/users/track.json"), Just("/v1/import/"), Just("/%2e%2e/")],
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\",:0-9a-z\\\\ ]{0,200}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| gzip(&bytes)),
        ],
        encoding in prop_oneof![Just(None), Just(Some("gzip".to_owned())), "[a-z]{1,8}".prop_map(Some)],
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let pipeline = Pipeline::start().await;
            let call = Call {
                method: "POST".into(), path: path.into(), authorization: Some("Basic ZGV2Og==".into()),
                content_encoding: encoding, body, ..Call::default()
            };
            let (status, answer, _) = pipeline.call(&call).await;
            assert!(matches!(status, 200 | 400 | 401 | 404 | 413), "{status} {answer}");
            pipeline.finish().await;
        });
    }
}

#[tokio::test]
async fn an_item_that_nests_too_deeply_or_names_a_trait_by_no_text_does_not_spoil_its_batch() {
    let pipeline = Pipeline::start().await;
    let good = r#"{"type":"track","userId":"u","event":"e"}"#;
    let deep = format!(
        r#"{{"type":"track","userId":"u","event":"e","properties":{{"a":{}{}}}}}"#,
        "[".repeat(300),
        "]".repeat(300)
    );
    let nameless = r#"{"type":"identify","userId":"u","traits":{"plan":"pro","\ud800":1}}"#;
    let body = format!("{{\"batch\":[{good},{deep},{nameless}]}}");
    assert_eq!(pipeline.post_bytes("/v1/batch", body.into_bytes()).await.0, 200);
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), pipeline.letters().await.len()), (1, 2));
    pipeline.finish().await;
}

#[tokio::test]
async fn an_event_of_characters_that_grow_on_the_way_keeps_within_the_limits_or_is_refused() {
    let pipeline = Pipeline::start().await;
    let event = |count: usize| {
        format!(
            "{{\"userId\":\"u\",\"event\":\"e\",\"messageId\":\"m\",\"properties\":{{\"a\":\"{}\"}}}}",
            "\u{FFFE}".repeat(count)
        )
    };
    assert_eq!(pipeline.post_bytes("/v1/track", event(80_000).into_bytes()).await.0, 413);
    assert_eq!(pipeline.post_bytes("/v1/track", event(43_000).into_bytes()).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.finish().await;
}
