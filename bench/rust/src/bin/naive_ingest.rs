//! A function between HTTP and a queue as common samples have it: the whole body parsed, and a call for each event.

use aws_config::BehaviorVersion;
use lambda_http::{Body, Error, Request, Response, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sqs = aws_sdk_sqs::Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let url = subjects::required("EVENTS_QUEUE_URL")?;
    lambda_http::run(service_fn(|request: Request| send(&sqs, &url, request))).await
}

async fn send(sqs: &aws_sdk_sqs::Client, url: &str, request: Request) -> Result<Response<Body>, Error> {
    let Ok(body) = serde_json::from_slice::<Value>(request.body()) else {
        return answer(400, &json!({"message": "no JSON"}));
    };
    let Some(events) = body["batch"].as_array() else { return answer(400, &json!({"message": "no batch"})) };
    for event in events {
        if event["messageId"].as_str().is_none() || event["type"].as_str().is_none() {
            return answer(400, &json!({"message": "an event without id or type"}));
        }
        let message = json!({"project": "dev", "event": event});
        sqs.send_message().queue_url(url).message_body(message.to_string()).send().await?;
    }
    answer(200, &json!({"success": true}))
}

fn answer(status: u16, body: &Value) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.to_string().into())?)
}
