//! One history from its seed to its verdict.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use consume::table::{Key, Value};
use shared::keys::{WRITE_KEY_SORT, write_key_attribute, write_key_hash, write_key_partition};
use tokio::time::sleep;

use super::calls::KEYS;
use super::chance::Chance;
use super::dynamo::{Row, has_messages};
use super::lambda::Cloud;
use super::mistakes::Mistake;
use super::scenario::Scenario;
use super::world::{World, on_virtual_time};
use super::{Promise, Violation, check, client, mapping, operator, stream};

/// How long everything may take to drain once nothing goes wrong any more. A message that ends whoever reads it uses up
/// 60 receives of six minutes each in the queue, and comes there from the spill table after 20 minutes.
const DRAINS_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// How often it is looked whether everything has drained.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What came of a history.
#[derive(Debug)]
pub struct History {
    /// What was broken; empty if all is well.
    pub violations: Vec<Violation>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// What happened, in readable lines, if that was asked for.
    pub trace: Vec<String>,
}

/// Runs the history of a seed, with a mistake built in if one is named.
///
/// # Panics
/// The code under test panics where nothing catches it.
#[must_use]
pub fn run(seed: u64, mistake: Option<Mistake>, tracing: bool) -> History {
    on_virtual_time(live(seed, mistake, tracing))
}

async fn live(seed: u64, mistake: Option<Mistake>, tracing: bool) -> History {
    let chance = Chance::new(seed);
    let scenario = Scenario::draw(&chance);
    let world = World::new(chance, scenario, tracing);
    world.note("history", || format!("{:?}", world.scenario));
    let cloud = Cloud::new(&world, mistake);
    provision(&cloud);
    let position = start_cloud(&cloud);
    let mut people = vec![
        tokio::task::spawn_local(operator::redrive(Rc::clone(&cloud))),
        tokio::task::spawn_local(operator::disturb(Rc::clone(&cloud))),
    ];
    for _ in 0..world.scenario.producers {
        people.push(tokio::task::spawn_local(client::produce(Rc::clone(&cloud))));
    }
    let mut last_outage = world.scenario.outages.iter().map(|outage| outage.to).max().unwrap_or_default();
    for one in people {
        one.await.expect("nobody panics");
    }
    last_outage = last_outage.saturating_sub(world.elapsed());
    sleep(last_outage).await;
    world.stormy.store(false, Ordering::Relaxed);
    world.note("calm", String::new);
    if drain(&cloud, &position).await {
        check::check(&cloud);
    } else {
        let what = format!(
            "queue {:?}, quarantine {:?}, spill table {:?}, stream at {}",
            cloud.queue.ids(),
            cloud.quarantine.ids(),
            cloud.spill.rows().keys().collect::<Vec<_>>(),
            position.get()
        );
        world.violated(Promise::P6, &format!("it does not drain: {what}"));
    }
    let mut notes = world.notes();
    let notes = std::mem::take(&mut *notes);
    History { violations: notes.violations, counts: notes.counts, trace: notes.trace }
}

/// Starts what invokes the functions. Returns how far the spill table's stream has been read.
pub(crate) fn start_cloud(cloud: &Rc<Cloud>) -> Rc<Cell<usize>> {
    let position = Rc::new(Cell::new(0));
    for _ in 0..cloud.world.scenario.consumers {
        tokio::task::spawn_local(mapping::poll_queue(Rc::clone(cloud)));
    }
    for _ in 0..2 {
        tokio::task::spawn_local(mapping::poll_quarantine(Rc::clone(cloud)));
    }
    tokio::task::spawn_local(stream::follow(Rc::clone(cloud), Rc::clone(&position)));
    tokio::task::spawn_local(mapping::sweep(Rc::clone(cloud)));
    position
}

/// Lets time pass until nothing is under way. Returns whether that comes about.
async fn drain(cloud: &Cloud, position: &Cell<usize>) -> bool {
    let began = cloud.world.elapsed();
    while cloud.world.elapsed() < began + DRAINS_WITHIN {
        sleep(LOOK_EVERY).await;
        if is_drained(cloud, position) {
            return true;
        }
    }
    false
}

/// Whether nothing is under way.
pub(crate) fn is_drained(cloud: &Cloud, position: &Cell<usize>) -> bool {
    cloud.queue.is_empty()
        && cloud.quarantine.is_empty()
        && !has_messages(&cloud.spill)
        && cloud.spill.records(position.get(), 1).is_empty()
        && cloud.world.pending.load(Ordering::Relaxed) == 0
}

/// Makes the write keys.
pub(crate) fn provision(cloud: &Cloud) {
    for (key, project) in KEYS {
        let Some(project) = project else { continue };
        let row = Row::from([
            (write_key_attribute::PROJECT, Value::Text(project.to_owned())),
            (write_key_attribute::SOURCE, Value::Text(format!("source-{project}"))),
        ]);
        let pk = write_key_partition(&write_key_hash(key));
        cloud.events.put(Key { pk, sk: WRITE_KEY_SORT.to_owned() }, row);
    }
}
