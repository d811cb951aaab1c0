//! `holdfast events tail`: a user's events as they are stored.
//!
//! The events table has no stream, so the newest page of the user's timeline is read again and again. An event shows when
//! it is among the newest by its own time; one that is older than all of a page when it comes does not.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use cli::people::{Order, Query, homes, page};
use tokio::time::{MissedTickBehavior, interval};

use crate::Answer;
use crate::args::UserArgs;
use crate::output::Output;
use crate::people::show_event;
use crate::progress::interrupted;
use crate::text::{FAINT, styled};
use crate::world::World;

/// From one look to the next: on AWS each costs a read of a page.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_LOCAL: Duration = Duration::from_millis(250);
/// Events of a page.
const PAGE: usize = 50;
/// Events that are remembered as shown.
const SHOWN_MAX: usize = 10_000;
/// Looks after which the user's ids and devices are read anew: there may be another.
const LOOKS_A_PERSON: u64 = 20;

pub(crate) async fn tail(
    world: &World,
    output: &mut Output,
    user: &UserArgs,
    seconds: Option<NonZeroU32>,
) -> anyhow::Result<Answer> {
    let project = world.project(user.project.as_deref())?;
    let (table, mut homes_now) = (world.timelines(), homes(&world.events(), &project, &user.user).await?);
    let mut shown = Shown::default();
    let mut ticks = interval(if world.stack.is_local { PAUSE_LOCAL } else { PAUSE });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if !output.json {
        output.line(&styled(FAINT, "what is stored from now on; Ctrl-C ends it"))?;
    }
    let end = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(u64::from(seconds.get()))).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let stop = interrupted();
    tokio::pin!(stop);
    for look in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut end => break,
            () = &mut stop => break,
        }
        if look % LOOKS_A_PERSON == LOOKS_A_PERSON - 1 {
            homes_now = homes(&world.events(), &project, &user.user).await?;
        }
        let query = Query {
            project: project.clone(),
            homes: homes_now.clone(),
            order: Order::NewestFirst,
            since: None,
            until: None,
            count: PAGE,
        };
        let found = page(&table, &query, None).await?;
        for event in found.events.iter().rev() {
            let is_new = shown.add(format!("{}#{}#{}", event.home, event.said_time, event.id));
            if is_new && look > 0 {
                show_event(output, event)?;
            }
        }
    }
    Ok(Answer::Yes)
}

/// What has been shown, or was there before: of the last events only.
#[derive(Default)]
struct Shown {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Shown {
    /// Adds one; `false` if it is known.
    fn add(&mut self, event: String) -> bool {
        if !self.known.insert(event.clone()) {
            return false;
        }
        self.order.push_back(event);
        if self.order.len() > SHOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
