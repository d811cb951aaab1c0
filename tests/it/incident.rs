//! Vero's outage of 1 May 2019, brought upon the simulated pipeline.

use tests::sim::incident::replay;

#[test]
fn the_outage_of_vero_loses_nothing_and_drains_by_itself() {
    let incident = replay(1, 0.1);
    assert!(incident.violations.is_empty(), "{:?}", incident.violations);
    let last = incident.minutes.last().unwrap();
    assert_eq!((last.backlog, last.dead), (0, 0));
    assert_eq!(u64::try_from(last.stored).unwrap(), last.accepted, "each request has one event");
    // It was a storm: deliveries died, messages waited, and the queue was away.
    assert!(incident.killed > 20 && incident.deliveries > 200, "{} of {}", incident.killed, incident.deliveries);
    assert!(incident.minutes.iter().any(|minute| minute.backlog > 20));
    // And yet no producer was ever answered with an error.
    assert_eq!(incident.minutes.iter().map(|minute| minute.errors).sum::<u32>(), 0);
}
