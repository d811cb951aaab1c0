//! SQS and DynamoDB in a process of their own, so that nothing of theirs counts as the functions'.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use local::template::{Settings, Template};
use local::{clients, dynamodb, provision, sqs};
use shared::clock::{Clock, SystemClock};
use tokio::net::TcpListener;

/// Tells the child that it is one; whoever runs the ignored tests gets an empty one instead.
const CHILD: &str = "HOLDFAST_STAND_INS";
/// What stands before the endpoints in the line that the child says them with.
const SAYS: &str = "stand-ins at ";

/// The stand-ins, with everything that the template describes. They end with this value.
pub(crate) struct StandIns {
    child: Child,
    /// Held because the child writes to it later too.
    _output: BufReader<ChildStdout>,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) template: Template,
}

impl StandIns {
    /// Starts them.
    pub(crate) async fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stand_ins", "--ignored", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let endpoints =
            output.by_ref().lines().find_map(|line| Some(line.unwrap().split_once(SAYS)?.1.to_owned())).unwrap();
        let (sqs, dynamodb) = endpoints.split_once(' ').unwrap();
        let settings = Settings { parameters: BTreeMap::new(), sqs_endpoint: sqs.to_owned() };
        let template = Template::parse_with(local::TEMPLATE, &settings).unwrap();
        let (sqs, dynamodb) = (clients::sqs(sqs), clients::dynamodb(dynamodb));
        provision::provision(&template, &sqs, &dynamodb).await.unwrap();
        let events = &template.table("EventsTable").unwrap().name;
        provision::create_write_key(&dynamodb, events, provision::DEV, "default", provision::DEV).await.unwrap();
        Self { child, _output: output, sqs, dynamodb, template }
    }

    pub(crate) fn table(&self, id: &str) -> String {
        self.template.table(id).unwrap().name.clone()
    }

    pub(crate) fn queue_url(&self, id: &str) -> String {
        self.template.queue(id).unwrap().url.clone()
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends, which it does with the parent.
pub(crate) async fn serve() {
    if shared::config::environment(CHILD).is_none() {
        return;
    }
    let listener = || TcpListener::bind("127.0.0.1:0");
    let clock = Arc::new(|| SystemClock.now().as_millis());
    let sqs = sqs::Server::start(listener().await.unwrap(), sqs::Options { clock, data: None }).await.unwrap();
    let dynamodb = dynamodb::Server::start(listener().await.unwrap(), dynamodb::Options { data: None }).await.unwrap();
    println!("{SAYS}{} {}", sqs.endpoint(), dynamodb.endpoint());
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}
