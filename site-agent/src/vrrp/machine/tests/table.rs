//! Every state and every event, and what comes of them.

use super::*;

const EVENTS: &[&str] = &[
    "startup",
    "shutdown",
    "tick",
    "heard 0 from 1",
    "heard 0 from 9",
    "heard 99 from 9",
    "heard 100 from 1",
    "heard 100 from 3",
    "heard 101 from 1",
    "heard 255 from 1",
    "track 0 fails",
    "track 0 passes",
    "lease lost",
    "lease held",
    "link down",
    "link up",
    "sent",
    "unsent",
    "address lost",
    "address found",
    "witnessed",
    "hand over",
    "take back",
];

/// A machine in each of its states.
fn states() -> Vec<(&'static str, Story)> {
    let asking = Settings { witness: Witness::Seen(millis(2000)), ..settings() };
    let preempting = Settings { preempt: Preempt::After(Duration::ZERO), ..settings() };

    let mut fault = Story::started(settings());
    fault.hears("lease lost");
    // Behind 192.0.2.1, which was heard at 1 s.
    let mut backup = Story::started(settings());
    backup.at(1000).hears("heard 200 from 1");
    backup.at(1100);
    let mut preempt = Story::started(preempting);
    preempt.at(1000).hears("heard 200 from 1");
    preempt.at(1100);
    let mut due = Story::started(settings());
    due.at(1000).hears("heard 200 from 1");
    due.at(4610);
    let mut claiming = Story::started(asking);
    claiming.sleeps();
    claiming.sleeps();
    let mut active = Story::active(settings());
    active.runs(20_300);
    let mut advert_due = Story::active(settings());
    advert_due.runs(20_300);
    advert_due.now = Duration::from_micros(20_609_375);
    vec![
        ("Initialize", Story::of(settings())),
        ("Fault", fault),
        ("Backup", backup),
        ("Backup, preempts", preempt),
        ("Backup, due", due),
        ("Claiming", claiming),
        ("Active", active),
        ("Active, due", advert_due),
    ]
}

fn copy(story: &Story) -> Story {
    Story { machine: story.machine.clone(), now: story.now, done: vec![] }
}

/// «state | event | what is done | the state after it, and in how many ms it wants to be woken».
fn table() -> String {
    let mut table = String::new();
    for (name, story) in states() {
        for event in EVENTS {
            let mut story = copy(&story);
            let done = story.hears(event);
            let waits = match story.machine.next_wakeup() {
                None => "-".to_owned(),
                Some(at) => at.saturating_sub(story.now).as_millis().to_string(),
            };
            let state = match story.machine.state {
                super::super::State::Claiming(_) => "Claiming".to_owned(),
                _ => story.machine.role().to_string(),
            };
            writeln!(table, "{name} | {event} | {done} | {state} {waits}").unwrap();
        }
    }
    table
}

#[test]
fn every_state_and_every_event() {
    let expected = include_str!("table.txt");
    let actual = table();
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(actual, expected);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{actual}");
}
