//! Looking for the events of a run in the table.

use std::time::Duration;

use consume::bundle::unpack;
use consume::store::{EVENT_SORT, partition};
use consume::table::{Key, Table};
use futures_util::{StreamExt, TryStreamExt, stream};
use shared::outcome::Cause;
use tokio::time::{Instant, sleep};

use super::plan::Plan;

/// The most ids that are named of those that are missing or doubled.
pub const EXAMPLES_MAX: usize = 10;
/// Partitions that are read at the same time.
const READS: usize = 8;
/// From one look at the table to the next.
const PAUSE: Duration = Duration::from_millis(500);

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Events that were acknowledged, and are there exactly once.
    pub once: u64,
    /// Events that were acknowledged, and are not there.
    pub missing: u64,
    /// Events that are there more than once.
    pub doubled: u64,
    /// Events that are there and were not acknowledged: a reply can be lost. That is no fault.
    pub unacknowledged: u64,
    /// Ids of some that are missing or doubled.
    pub examples: Vec<String>,
    /// How long it took until nothing was missing, or the patience was over.
    pub took: Duration,
}

impl Checked {
    /// Whether every acknowledged event is there exactly once.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.missing == 0 && self.doubled == 0
    }
}

/// Reads everything that the run's users have in the table, again and again until no acknowledged event is missing or the
/// patience is over, and counts each event.
///
/// # Errors
/// The table could not be read.
pub async fn check(
    table: &impl Table,
    project: &str,
    plan: &Plan,
    acknowledged: &[bool],
    patience: Duration,
) -> Result<Checked, Cause> {
    let began = Instant::now();
    // How often each event is there. It is read anew as long as any is missing in it.
    let mut counts = vec![0_u8; acknowledged.len()];
    let mut users: Vec<u64> = (0..plan.users_used()).collect();
    loop {
        let found: Vec<(u64, Vec<u64>)> = stream::iter(users.iter().copied())
            .map(|user| async move { Ok::<_, Cause>((user, numbers(table, project, plan, user).await?)) })
            .buffer_unordered(READS)
            .try_collect()
            .await?;
        for (user, numbers) in &found {
            events_of(plan, *user).for_each(|number| counts[index(number)] = 0);
            numbers.iter().for_each(|number| counts[index(*number)] = counts[index(*number)].saturating_add(1));
        }
        let is_missing = |number: u64| acknowledged[index(number)] && counts[index(number)] == 0;
        users.retain(|user| events_of(plan, *user).any(is_missing));
        if users.is_empty() || began.elapsed() >= patience {
            return Ok(Checked { took: began.elapsed(), ..count(plan, acknowledged, &counts) });
        }
        sleep(PAUSE).await;
    }
}

/// The numbers of the events of a user.
fn events_of(plan: &Plan, user: u64) -> impl Iterator<Item = u64> {
    (user..plan.events()).step_by(plan.users.get() as usize)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The numbers of the run's events that a user has in the table, each as often as it is there.
async fn numbers(table: &impl Table, project: &str, plan: &Plan, user: u64) -> Result<Vec<u64>, Cause> {
    let partition = partition(project, &plan.user(user));
    let (mut numbers, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = table.query(&partition, EVENT_SORT, after.as_deref()).await?;
        let last = page.items.last().map(|(last, _)| last.sk.clone());
        let id = |key: &Key| key.sk.splitn(3, '#').nth(2).and_then(|id| plan.number(id));
        let events = page.items.into_iter().flat_map(|(key, attributes)| unpack(key, attributes));
        numbers.extend(events.filter_map(|(key, _)| id(&key)));
        let Some(last) = last.filter(|_| !page.is_last) else { return Ok(numbers) };
        after = Some(last);
    }
}

fn count(plan: &Plan, acknowledged: &[bool], counts: &[u8]) -> Checked {
    let mut checked = Checked::default();
    for (number, (acknowledged, count)) in (0_u64..).zip(acknowledged.iter().zip(counts)) {
        match (acknowledged, count) {
            (true, 1) => checked.once += 1,
            (true, 0) => checked.missing += 1,
            (false, 1) => checked.unacknowledged += 1,
            (false, 0) => {}
            (_, _) => checked.doubled += 1,
        }
        let is_wrong = *count > 1 || (*acknowledged && *count == 0);
        if is_wrong && checked.examples.len() < EXAMPLES_MAX {
            checked.examples.push(plan.id(number));
        }
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::plan;

    #[test]
    fn each_event_counts_for_what_it_is() {
        let plan = plan(6, 1, 1, 3);
        let acknowledged = [true, true, true, false, false, false];
        let checked = count(&plan, &acknowledged, &[1, 0, 2, 1, 0, 2]);
        assert_eq!((checked.once, checked.missing, checked.doubled, checked.unacknowledged), (1, 1, 2, 1));
        assert_eq!(checked.examples, ["load-1-1", "load-1-2", "load-1-5"]);
        assert!(!checked.is_right());
        assert!(count(&plan, &acknowledged, &[1, 1, 1, 0, 0, 1]).is_right());
    }

    #[test]
    fn the_users_of_a_plan_have_all_its_events() {
        let plan = plan(10, 1, 1, 3);
        let mut all: Vec<u64> = (0..plan.users_used()).flat_map(|user| events_of(&plan, user)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<u64>>());
    }
}
