//! AWS's limits brought upon the simulated pipeline: what docs/SCALE.md says of them.
//!
//! A trial runs the real code on virtual time, with everything that AWS takes in a second, and all that is asked of it,
//! divided by one number. Trials whose requests carry many events are divided by less, since a message must stay small
//! beside what a limit takes in a second.

use std::time::Duration;

use tests::sim::scale::{AWS, CLOSED_FOR, Counted, LASTS, Says, Seen, Trial, count, run};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a trial in which every event must be stored.
fn run_whole(trial: &Trial) -> Seen {
    let seen = run(trial);
    assert!(seen.violations.is_empty(), "{:?}", seen.violations);
    assert_eq!(seen.quarantined, 0, "waiting for room is no reason for the quarantine");
    seen
}

#[test]
fn a_batch_takes_an_insert_for_25_events_and_a_unit_for_each_kib() {
    for (packed, lists, groups) in [(1, 0, 1), (100, 10, 2)] {
        let Counted {
            messages, events, bytes_sent, bytes, inserts, reads, replacements, units, units_of_events, ..
        } = count(Says::Events, 1_000, packed);
        assert_eq!((messages, events), (10, 10 * packed));
        // The receipt of a hundred people's events has no room for them: each message has a list, and each group of
        // messages writes those together.
        assert_eq!(inserts, events.div_ceil(25) + if lists > 0 { groups } else { 0 }, "{packed}");
        assert_eq!((reads, replacements), (groups, 0), "of each group, the latest deletion of its project");
        assert_eq!(units_of_events, events, "an event of 400 bytes takes one unit");
        assert_eq!(units, units_of_events + lists, "a list of events of one shape is compressed to one unit");
        let added = (bytes - bytes_sent) / events;
        assert!(added < if packed == 1 { 300 } else { 100 }, "{added} bytes are added to an event");
    }
}

#[test]
fn a_person_is_written_once_a_batch() {
    let counted = count(Says::Traits, 1, 1);
    assert_eq!((counted.events, counted.replacements), (10, 1));
    assert_eq!(counted.units, counted.units_of_events + counted.units_of_profiles);
}

#[test]
fn a_hot_person_waits_and_nobody_else_does() {
    let size = AWS.divided_by(10.0);
    let (quiet, seen) = (run_whole(&size.quiet()), run_whole(&size.hot_person(100)));
    assert!(seen.throttled > 1_000 && seen.delay("flood", 100) > 30 * SECOND, "{:?}", seen.delay("flood", 100));
    for percent in [50, 90, 99] {
        let (with, without) = (seen.delay("others", percent), quiet.delay("others", percent));
        assert!(with < without * 3 / 2, "{percent} %: {with:?} instead of {without:?}");
    }
    assert_eq!(seen.letters, 0);
}

#[test]
fn a_hot_person_whose_events_come_one_by_one_takes_up_the_invocations_unless_there_are_many() {
    let size = AWS.divided_by(20.0);
    let (few, many) = (run_whole(&size.hot_person(1)), run_whole(&size.with_concurrency(1_000.0).hot_person(1)));
    assert!(few.delay("others", 50) > SECOND, "{:?}", few.delay("others", 50));
    assert!(many.delay("others", 99) < SECOND, "{:?}", many.delay("others", 99));
    assert!(many.delay("flood", 50) > SECOND, "{:?}", many.delay("flood", 50));
    // What the partition does not take in a second is in flight, where nothing else holds it up.
    let computed = size.partition * 0.5 * LASTS.as_secs_f64();
    let found = many.in_flight_max() as f64;
    assert!((computed * 0.9..computed * 1.1).contains(&found), "{found} instead of {computed}");
}

#[test]
fn letters_of_one_project_wait_and_another_project_does_not() {
    let size = AWS.divided_by(10.0);
    let (quiet, seen) = (run_whole(&size.quiet()), run_whole(&size.hot_letters(100)));
    assert!(seen.throttled > 1_000 && seen.lasted() > LASTS * 2, "{} writes throttled", seen.throttled);
    assert!(seen.delay("others", 99) < quiet.delay("others", 99) * 3 / 2, "{:?}", seen.delay("others", 99));
    assert!(seen.letters >= 9_000, "{}", seen.letters);
}

#[test]
fn one_call_that_is_made_again_and_again_takes_a_unit_a_batch() {
    let size = AWS.divided_by(10.0);
    let seen = run_whole(&size.same_call());
    assert_eq!(seen.throttled, 0);
    assert!(seen.hottest <= seen.deliveries, "{} units in {} batches", seen.hottest, seen.deliveries);
    assert!(seen.lasted() <= LASTS + 2 * SECOND, "{:?}", seen.lasted());
}

#[test]
fn a_table_below_its_load_is_used_up_and_drains_at_its_limit() {
    let size = AWS.divided_by(25.0);
    let seen = run_whole(&size.narrow_table(1));
    let stored = |second: usize| seen.seconds[second - 1].stored as f64;
    let rate = (stored(60) - stored(10)) / 50.0;
    assert!((size.table * 0.95..size.table * 1.01).contains(&rate), "{rate} a second instead of {}", size.table);
    // Half as much again as the limit takes is left over, and takes half as long again.
    let computed = LASTS * 3 / 2;
    assert!(seen.lasted() > computed && seen.lasted() < computed + 20 * SECOND, "{:?}", seen.lasted());
    assert_eq!((seen.units_in_vain, seen.letters), (0, 0));
}

#[test]
fn packed_messages_that_meet_a_table_below_its_load_go_on_where_they_were() {
    let seen = run_whole(&AWS.divided_by(20.0).narrow_table(100));
    assert_eq!(seen.letters, 0);
    assert!(seen.units_in_vain * 10 < seen.units, "{} of {} units in vain", seen.units_in_vain, seen.units);
    assert!(seen.lasted() < LASTS + 2 * LASTS, "{:?}", seen.lasted());
}

#[test]
fn a_message_of_more_units_than_the_table_takes_in_a_second_is_stored_all_the_same() {
    for (events, seconds) in [(100, 5), (200, 60), (400, 300)] {
        let seen = run_whole(&AWS.one_message(events));
        assert!(seen.lasted() < Duration::from_secs(seconds), "{events}: {:?}", seen.lasted());
    }
}

#[test]
fn messages_that_wait_for_a_closed_table_are_in_flight_up_to_the_limit_of_sqs() {
    let size = AWS.divided_by(50.0);
    let limit = size.in_flight as usize;
    let many = run_whole(&size.with_concurrency(1_000.0).closed_table());
    // A hundred messages a second make 120,000 in 1,200 seconds.
    for (second, computed) in [(600, limit / 2), (1_190, limit * 119 / 120), (1_400, limit)] {
        let found = many.seconds[second - 1].in_flight;
        assert!(found + limit / 100 >= computed && found <= limit, "{found} at {second} s, instead of {computed}");
    }
    assert!(many.lasted() < CLOSED_FOR + Duration::from_secs(660), "{:?}", many.lasted());
    // With as few invocations as the template has by default, most wait in the queue and have not been received.
    let few = run_whole(&size.closed_table());
    assert!(few.in_flight_max() < limit / 4, "{}", few.in_flight_max());
    assert!(few.lasted() < CLOSED_FOR + Duration::from_secs(660), "{:?}", few.lasted());
}

#[test]
fn a_trial_of_half_the_size_has_the_same_delays() {
    let (one, half) = (run(&AWS.divided_by(12.5).hot_person(1)), run(&AWS.divided_by(25.0).hot_person(1)));
    for who in ["others", "flood"] {
        for percent in [50, 90] {
            let (one, half) = (one.delay(who, percent).as_secs_f64(), half.delay(who, percent).as_secs_f64());
            assert!((one * 0.75..one * 1.25).contains(&half), "{who}, {percent} %: {one} and {half} s");
        }
    }
}
