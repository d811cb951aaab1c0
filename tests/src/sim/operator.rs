//! People and other programs: an operator who sends letters round again, and somebody who puts nonsense into the queue.

use std::rc::Rc;

use consume::dead_letter::attribute;
use consume::redrive::Redrive;
use consume::table::{Key, Value};
use serde_json::json;
use tokio::time::sleep;

use super::dynamo::Row;
use super::lambda::Cloud;

/// Sends letters round again, now and then.
pub(crate) async fn redrive(cloud: Rc<Cloud>) {
    let world = &cloud.world;
    let span = u64::try_from(world.scenario.span.as_millis()).unwrap_or(u64::MAX);
    for _ in 0..world.scenario.redrives {
        // Letters of messages that use up their receives come late.
        sleep(world.chance.millis(0, 2 * span + 3_600_000)).await;
        let waiting: Vec<(Key, Row)> = cloud.letters.rows().iter().filter(|(_, row)| is_due(row)).map(pair).collect();
        if waiting.is_empty() {
            continue;
        }
        let (key, row) = world.chance.pick(&waiting);
        redrive_one(&cloud, key, row);
    }
}

fn pair((key, row): (&Key, &Row)) -> (Key, Row) {
    (key.clone(), row.clone())
}

/// Whether a letter waits, and its body is a message.
fn is_due(row: &Row) -> bool {
    let text = |name| row.get(name).and_then(Value::text);
    text(attribute::STATE) == Some("waiting") && text(attribute::STAGE).is_some_and(|stage| stage != "ingest")
}

fn redrive_one(cloud: &Cloud, key: Key, mut row: Row) {
    let number = |name| row.get(name).and_then(Value::number).unwrap_or(0);
    let (round, version) = (number(attribute::REDRIVES) + 1, number(attribute::VERSION) + 1);
    let parts = number(attribute::PARTS);
    let mut body = row.get(attribute::BODY).and_then(Value::text).unwrap_or_default().to_owned();
    for number in 1..usize::try_from(parts).unwrap_or(1) {
        let rows = cloud.letters.rows();
        let part = rows.get(&consume::dead_letter::part_key(&key, number)).and_then(|row| row.get(attribute::BODY));
        body.push_str(part.and_then(Value::text).unwrap_or_default());
    }
    row.insert(attribute::STATE, Value::Text("redriven".to_owned()));
    row.insert(attribute::REDRIVES, Value::Number(round));
    row.insert(attribute::VERSION, Value::Number(version));
    cloud.letters.put(key.clone(), row);
    let redrive = Redrive { pk: key.pk.clone(), sk: key.sk.clone(), round };
    let id = cloud.queue.push(&body, "", Some(redrive.encode()));
    cloud.world.note("letter redriven", || format!("{} as {id}", key.sk));
    cloud.world.notes().redriven.entry(key.sk).or_default().push(id);
}

/// Puts into the queue what no `ingest` has written.
pub(crate) async fn disturb(cloud: Rc<Cloud>) {
    let world = &cloud.world;
    let span = u64::try_from(world.scenario.span.as_millis()).unwrap_or(u64::MAX);
    for _ in 0..world.chance.pick(&[0, 0, 0, 1, 3]) {
        sleep(world.chance.millis(0, span)).await;
        let number = cloud.number();
        let text = match world.chance.index(3) {
            0 => format!("not a message {number}"),
            1 => json!({"version": 99, "number": number}).to_string(),
            _ => json!({"version": 1, "number": number}).to_string(),
        };
        cloud.world.notes().foreign.insert(text.clone());
        cloud.queue.push(&text, "one", None);
        world.note("nonsense in the queue", || text.clone());
    }
}
