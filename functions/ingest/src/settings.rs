//! What SDKs of Segment ask about their source before they send: where to send, and which destinations are on.

use serde_json::json;

/// The settings of the source with `write_key`, as the text of a JSON object. `host` is where its events are taken, as
/// the SDK called it.
///
/// Destinations, plans and functions are Segment's own business, so there are none; each is there, empty, because an SDK
/// reads it without asking whether it is. The metrics that the browser's SDK would send of itself are off: nobody would
/// read them.
#[must_use]
pub fn settings(write_key: &str, host: &str) -> String {
    let enabled = json!({"__default": {"enabled": true, "integrations": {}}});
    json!({
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": format!("{host}/v1"),
                "unbundledIntegrations": [],
                "addBundledMetadata": true,
            },
        },
        "plan": {"track": enabled, "identify": enabled, "group": enabled},
        "edgeFunction": {},
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "analyticsNextEnabled": true,
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_sdk_is_sent_to_the_host_that_it_asked() {
        let settings: Value = serde_json::from_str(&settings("k\"1", "events.example.com:8443")).unwrap();
        let segment = &settings["integrations"]["Segment.io"];
        assert_eq!((&segment["apiKey"], &segment["apiHost"]), (&json!("k\"1"), &json!("events.example.com:8443/v1")));
        assert_eq!(settings["plan"]["track"]["__default"]["enabled"], json!(true));
        assert_eq!(settings["metrics"]["sampleRate"], json!(0));
    }
}
