//! What is left on the disk of a user who was deleted: nothing that the user's events said.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{Item, events_table, eventually, post, scan, wait_until_empty, wait_until_stored};
use crate::process::Process;

/// The user who is deleted. Only what is said of the user is looked for: the id stays in the tombstone.
const USER: &str = "the-user-to-be-deleted";
/// Users who stay, so that pages of the database are shared with what is erased.
const NEIGHBOURS: [&str; 3] = ["ann", "bob", "cleo"];

/// What the user's events say, each text different from all others, and nowhere else in a folder by chance.
struct Said {
    texts: Vec<String>,
}

impl Said {
    fn new() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let names = ["name", "property", "trait", "replaced-trait", "long-property"];
        Self { texts: names.map(|name| format!("said-{name}-{random}")).to_vec() }
    }

    /// The user's calls, by path.
    fn calls(&self) -> Vec<(&'static str, Value)> {
        let [name, property, trait_, replaced, long] = self.texts.as_slice() else { unreachable!("there are five") };
        // More than fits into a page of the database, so that it is kept in pages of its own.
        let long = long.repeat(200);
        let call = |id: &str, content: Value| {
            let mut call = json!({"userId": USER, "messageId": id});
            call.as_object_mut().expect("an object").extend(content.as_object().cloned().unwrap_or_default());
            call
        };
        vec![
            ("/v1/identify", call("said-1", json!({"traits": {"city": replaced}}))),
            ("/v1/track", call("said-2", json!({"event": name, "properties": {"plan": property}}))),
            ("/v1/track", call("said-3", json!({"event": name, "properties": {"plan": long}}))),
            ("/v1/identify", call("said-4", json!({"traits": {"city": trait_}}))),
        ]
    }

    /// Which of the texts are in some bytes.
    fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let found = |text: &&String| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        self.texts.iter().filter(found).cloned().collect()
    }

    /// Which of the texts are in which files of a folder.
    fn found_under(&self, folder: &Path) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for path in files(folder) {
            let bytes = fs::read(&path).expect("a file of the folder can be read");
            found.extend(self.found_in(&bytes).into_iter().map(|text| (path.clone(), text)));
        }
        found
    }
}

/// All files of a folder and its folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Starts a pipeline on a folder, has a user say something, and deletes the user. What was said is then in no table and
/// in no queue.
async fn with_a_deleted_user(data: &Path, said: &Said) -> Process {
    let process = Process::on(data);
    let (api, sqs, dynamodb) = (process.api(), process.sqs(), process.dynamodb());
    let mut ids = Vec::new();
    for (number, (path, call)) in said.calls().into_iter().enumerate() {
        assert_eq!(post(&api, path, &call).expect("an answer"), 200);
        ids.push(call["messageId"].as_str().expect("an id").to_owned());
        for user in NEIGHBOURS {
            let id = format!("{user}-{number}");
            let track = json!({"userId": user, "event": "Did It", "messageId": id});
            assert_eq!(post(&api, "/v1/track", &track).expect("an answer"), 200);
            ids.push(id);
        }
        // One after another, so that the later trait replaces the earlier one.
        ids.sort_unstable();
        wait_until_stored(&dynamodb, &ids).await;
    }
    wait_until_empty(&sqs, "holdfast-events").await;
    let written = said.found_under(data);
    for text in &said.texts {
        assert!(written.iter().any(|(_, found)| found == text), "{text} was never written to the disk: {written:#?}");
    }

    assert_eq!(post(&api, "/api/v2/users/delete", &json!({"auth_token": "dev", "id": USER})).expect("an answer"), 200);
    wait_until_empty(&sqs, "holdfast-events").await;
    eventually("the tables have nothing of what was said", async || {
        let mut items: Vec<Item> = events_table(&dynamodb).await;
        items.extend(scan(&dynamodb, "DeadLettersTable").await);
        items.extend(scan(&dynamodb, "SpillTable").await);
        let left = said.found_in(format!("{items:?}").as_bytes());
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    process
}

fn stop(mut process: Process) {
    process.signal(Signal::TERM);
    assert_eq!(process.ended().0, Some(0), "{:#?}", process.lines());
}

#[tokio::test]
async fn no_byte_of_what_a_deleted_user_said_is_left_after_a_clean_stop() {
    let (data, said) = (tempfile::tempdir().expect("a temporary folder"), Said::new());
    stop(with_a_deleted_user(data.path(), &said).await);
    assert_eq!(said.found_under(data.path()), []);

    // Neither does it come back, nor is anything gone that was not to go.
    let process = Process::on(data.path());
    let neighbours = NEIGHBOURS.iter().flat_map(|user| (0..4).map(move |number| format!("{user}-{number}")));
    let mut neighbours: Vec<String> = neighbours.collect();
    neighbours.sort_unstable();
    wait_until_stored(&process.dynamodb(), &neighbours).await;
    stop(process);
    assert_eq!(said.found_under(data.path()), []);
}

#[tokio::test]
async fn what_a_kill_leaves_on_the_disk_is_gone_after_the_next_clean_stop() {
    let (data, said) = (tempfile::tempdir().expect("a temporary folder"), Said::new());
    let mut process = with_a_deleted_user(data.path(), &said).await;
    process.signal(Signal::KILL);
    assert_eq!(process.ended().0, None);
    stop(Process::on(data.path()));
    assert_eq!(said.found_under(data.path()), []);
}
