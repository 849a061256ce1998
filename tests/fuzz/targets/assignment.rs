//! `assignment`: what a probe may be asked to look at, read, and written again.

#![no_main]

use common::assignment::{Assignment, write};
use common::report::MOST_TARGETS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Ok(assignment) = Assignment::read(octets) else { return };
    assert!(assignment.targets.len() <= MOST_TARGETS);
    assert!(assignment.targets.is_sorted_by(|(one, _), (next, _)| one < next), "in order, once");
    let mut sound = vec![];
    for (id, target) in &assignment.targets {
        match target {
            Ok(target) => {
                assert_eq!(target.id(), *id);
                assert!(target.faults().is_empty());
                sound.push(target);
            }
            Err(why) => assert!(!why.to_string().is_empty()),
        }
    }
    let again = Assignment::read(&write(&assignment.epoch, sound.iter().copied()))
        .expect("what we write we read");
    assert_eq!(again.epoch, assignment.epoch);
    let kept: Vec<_> =
        again.targets.iter().filter_map(|(_, target)| target.as_ref().ok()).collect();
    assert_eq!(kept, sound);
});
