//! The least that a function between HTTP and a queue can do with the same SDK: pass the body on, unread.

use aws_config::BehaviorVersion;
use lambda_http::{Body, Error, Request, Response, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let sqs = aws_sdk_sqs::Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let url = subjects::required("EVENTS_QUEUE_URL")?;
    lambda_http::run(service_fn(|request: Request| pass_on(&sqs, &url, request))).await
}

async fn pass_on(sqs: &aws_sdk_sqs::Client, url: &str, request: Request) -> Result<Response<Body>, Error> {
    let body = match request.into_body() {
        Body::Text(text) => text,
        Body::Binary(bytes) => String::from_utf8(bytes)?,
        Body::Empty | _ => String::new(),
    };
    sqs.send_message().queue_url(url).message_body(body).send().await?;
    Ok(Response::builder().header("content-type", "application/json").body(Body::from(r#"{"success":true}"#))?)
}
