//! The samples in `events/`: what each one is answered, and what it leaves behind, so that none of them can rot.

use std::collections::BTreeSet;
use std::path::PathBuf;

use consume::incoming::Payload;
use serde_json::Value;
use tests::Pipeline;

fn folder(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events").join(kind)
}

fn sample(kind: &str, name: &str) -> String {
    let path = folder(kind).join(format!("{name}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn every_file_has_a_case(kind: &str, cases: &BTreeSet<&str>) {
    let files = std::fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let cases: BTreeSet<String> = cases.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, cases);
}

/// Sample, status, `code` of an error, items of events and dead letters that it leaves.
const HTTP: &[(&str, u16, &str, usize, usize)] = &[
    ("broken_gzip", 400, "invalid_request", 0, 0),
    ("duplicate_members", 200, "", 1, 0),
    ("empty_batch", 400, "empty_batch", 0, 0),
    ("empty_body", 400, "empty_body", 0, 0),
    ("gzip_bomb", 413, "request_too_large", 0, 0),
    ("health", 200, "", 0, 0),
    ("huge_numbers", 200, "", 1, 0),
    ("invalid_utf8", 400, "invalid_request", 0, 0),
    ("malformed_json", 400, "invalid_request", 0, 0),
    ("nested_too_deeply", 400, "nested_too_deeply", 0, 0),
    ("no_write_key", 401, "no_write_key", 0, 0),
    ("nul_byte", 400, "invalid_request", 0, 0),
    ("options_preflight", 200, "", 0, 0),
    ("ready", 200, "", 0, 0),
    ("segment_alias", 200, "", 1, 0),
    ("segment_batch", 200, "", 4, 0),
    ("segment_batch_gzip", 200, "", 4, 0),
    ("segment_batch_gzip_without_header", 200, "", 4, 0),
    ("segment_bearer", 200, "", 1, 0),
    ("segment_group", 200, "", 1, 0),
    ("segment_identify", 200, "", 1, 0),
    ("segment_import_with_slash", 200, "", 4, 0),
    ("segment_key_in_body_as_plain_text", 200, "", 4, 0),
    ("segment_message_id_without_time", 200, "", 1, 0),
    ("segment_no_content_type", 200, "", 4, 0),
    ("segment_one_letter_alias", 200, "", 1, 0),
    ("segment_page", 200, "", 1, 0),
    ("segment_pixel", 200, "", 1, 0),
    ("segment_pixel_dotted", 200, "", 1, 0),
    ("segment_pixel_unknown_key", 200, "", 0, 0),
    ("segment_screen", 200, "", 1, 0),
    ("segment_settings", 200, "", 0, 0),
    ("segment_settings_unknown_key", 404, "not_found", 0, 0),
    ("segment_some_items_refused", 200, "", 1, 4),
    ("segment_track", 200, "", 1, 0),
    ("segment_track_refused", 200, "", 0, 1),
    ("segment_webhook", 200, "", 1, 0),
    ("segment_webhook_array", 200, "", 2, 1),
    ("segment_webhook_delete", 200, "", 0, 0),
    ("segment_without_id_or_time", 200, "", 1, 0),
    ("unknown_fields", 200, "", 1, 0),
    ("unknown_path", 404, "not_found", 0, 0),
    ("unknown_write_key", 401, "unknown_write_key", 0, 0),
    ("unsupported_encoding", 400, "unsupported_encoding", 0, 0),
    ("vero_delete_with_body", 200, "", 0, 0),
    ("vero_delete_with_query", 200, "", 0, 0),
    ("vero_edit_by_email", 200, "", 1, 0),
    ("vero_events_track", 200, "", 1, 0),
    ("vero_events_track_by_content", 200, "", 1, 0),
    ("vero_form_brackets", 200, "", 1, 0),
    ("vero_form_json_strings", 200, "", 1, 0),
    ("vero_form_that_is_json", 200, "", 1, 0),
    ("vero_heartbeat", 200, "", 0, 0),
    ("vero_key_in_query", 200, "", 1, 0),
    ("vero_missing_identity", 400, "bad_parameter", 0, 0),
    ("vero_multipart", 200, "", 1, 0),
    ("vero_multipart_cut_off", 400, "invalid_request", 0, 0),
    ("vero_query_only", 200, "", 1, 0),
    ("vero_reidentify", 200, "", 1, 0),
    ("vero_resubscribe", 200, "", 1, 0),
    ("vero_tags_edit", 200, "", 1, 0),
    ("vero_tags_edit_form", 200, "", 1, 0),
    ("vero_tags_edit_without_tags", 400, "bad_parameter", 0, 0),
    ("vero_unsubscribe", 200, "", 1, 0),
    ("vero_users_track_json_suffix", 200, "", 1, 0),
    ("wrong_method", 405, "method_not_allowed", 0, 0),
    ("wrong_types", 200, "", 0, 4),
];

#[tokio::test]
async fn every_http_sample_has_its_outcome() {
    every_file_has_a_case("http", &HTTP.iter().map(|case| case.0).collect());
    for (name, status, code, stored, dead) in HTTP {
        let pipeline = Pipeline::start().await;
        let request = lambda_http::request::from_str(&sample("http", name)).unwrap();
        let response = ingest::handler::respond(&pipeline.ingest, request, false).await.unwrap();
        let is_image = name.starts_with("segment_pixel");
        assert_eq!(response.headers()["content-type"], if is_image { "image/gif" } else { "application/json" });
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let body: Value = if is_image { Value::Null } else { serde_json::from_slice(response.body()).unwrap() };
        assert_eq!(
            (response.status().as_u16(), body["code"].as_str().unwrap_or_default()),
            (*status, *code),
            "{name}: {body}"
        );
        pipeline.drain().await;
        let left = (pipeline.stored().await.len(), pipeline.letters().await.len());
        assert_eq!(left, (*stored, *dead), "{name}");
        pipeline.finish().await;
    }
}

/// Sample, and the items of events, of profiles and of dead letters that it leaves. None fails.
const SQS: &[(&str, usize, usize, usize)] = &[
    ("duplicate_of_another_request", 1, 0, 0),
    ("key_injected", 0, 0, 1),
    ("no_events", 0, 0, 0),
    ("not_json", 0, 0, 1),
    ("one_identify", 1, 1, 0),
    ("one_poison_in_three", 2, 0, 1),
    ("one_track", 1, 0, 0),
    ("redelivered", 1, 0, 0),
    ("refused_items", 1, 0, 2),
    ("same_content_after_five_minutes", 2, 0, 0),
    ("same_content_within_five_minutes", 1, 0, 0),
    ("several_events_in_one_message", 5, 0, 0),
    ("unknown_version", 0, 0, 1),
];

#[tokio::test]
async fn every_sqs_sample_has_its_outcome() {
    every_file_has_a_case("sqs", &SQS.iter().map(|case| case.0).collect());
    for (name, stored, profiles, dead) in SQS {
        let pipeline = Pipeline::start().await;
        // Twice, as SQS may: the second time nothing more comes of it.
        for _ in 0..2 {
            let event: Payload = serde_json::from_str(&sample("sqs", name)).unwrap();
            let response = pipeline.invoke(event).await.unwrap();
            assert_eq!(String::from_utf8(response).unwrap(), r#"{"batchItemFailures":[]}"#, "{name}");
            let items = pipeline.items().await;
            let profiles_left = items.iter().filter(|item| item["sk"].as_s().unwrap() == "PROFILE").count();
            let left = (pipeline.stored().await.len(), profiles_left, pipeline.letters().await.len());
            assert_eq!(left, (*stored, *profiles, *dead), "{name}");
        }
        pipeline.finish().await;
    }
}
