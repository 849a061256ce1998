//! When targets are looked at, told by fake time: stories, and random ones against what must always hold.

use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(5);

fn id(number: u16) -> TargetId {
    let [high, low] = number.to_be_bytes();
    TargetId([high, low, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn due(probe: &str, most: usize, targets: u16) -> Due {
    let mut due = Due::new(probe, most, Duration::ZERO);
    for target in 0..targets {
        due.add(Duration::ZERO, id(target), INTERVAL);
    }
    due
}

/// Runs from one instant to another in steps of 50 ms; each look takes a step. When each began.
fn run(
    due: &mut Due,
    from: f64,
    until: f64,
    doubt: impl Fn(TargetId) -> bool,
) -> Vec<(f64, Begun)> {
    let mut all = vec![];
    let mut now = from;
    while now < until {
        due.turn(seconds(now));
        let running: Vec<TargetId> = due.running.keys().copied().collect();
        for target in running {
            due.end(target);
            due.plan(seconds(now), target, doubt(target), 0.5);
        }
        while let Some(begun) = due.begin(seconds(now)) {
            all.push((now, begun));
        }
        now += 0.05;
    }
    all
}

#[test]
fn looks_are_spread_over_the_interval_and_otherwise_by_each_probe() {
    let (mut ams, mut fra) = (due("ams", 10_000, 1000), due("fra", 10_000, 1000));
    let (ams, fra) = (run(&mut ams, 0.0, 5.1, |_| false), run(&mut fra, 0.0, 5.1, |_| false));
    for looks in [&ams, &fra] {
        for second in 0..5 {
            let within = |at: f64| (f64::from(second)..f64::from(second + 1)).contains(&at);
            let count = looks.iter().filter(|(at, _)| within(*at)).count();
            assert!((150..250).contains(&count), "{count} in second {second}");
        }
    }
    let at =
        |looks: &[(f64, Begun)], target| looks.iter().find(|(_, b)| b.target == target).unwrap().0;
    let apart = (0..1000).filter(|n| (at(&ams, id(*n)) - at(&fra, id(*n))).abs() > 0.2).count();
    assert!(apart > 800, "{apart} of 1000 are looked at at another time");
}

#[test]
fn a_target_is_looked_at_once_each_interval() {
    let mut due = due("ams", 10, 1);
    let looks = run(&mut due, 0.0, 60.0, |_| false);
    assert_eq!(looks.len(), 12);
    for pair in looks.windows(2) {
        let apart = pair[1].0 - pair[0].0;
        assert!((4.4..5.6).contains(&apart), "{apart}");
    }
}

#[test]
fn doubt_brings_another_look_within_a_second_or_the_interval() {
    let mut due = due("ams", 10, 1);
    let looks = run(&mut due, 0.0, 12.0, |_| true);
    for pair in looks.windows(2) {
        assert!((pair[1].0 - pair[0].0 - 1.05).abs() < 0.06, "{looks:?}");
    }
    let mut short = Due::new("ams", 10, Duration::ZERO);
    short.add(Duration::ZERO, id(0), seconds(0.3));
    let looks = run(&mut short, 0.0, 3.0, |_| true);
    assert!((8..=10).contains(&looks.len()), "{}", looks.len());
}

#[test]
fn no_more_looks_run_than_may_and_those_that_wait_are_late_and_do_not_pile_up() {
    let mut due = due("ams", 2, 10);
    let mut begun = vec![];
    // Nothing ends for four intervals.
    for second in 0..20 {
        due.turn(seconds(f64::from(second)));
        begun.extend(std::iter::from_fn(|| due.begin(seconds(f64::from(second)))));
    }
    assert_eq!((begun.len(), due.running(), due.next_wakeup()), (2, 2, None));
    assert!(due.behind(seconds(10.0)).is_none());
    assert!(due.behind(seconds(19.0)).is_some());
    for Begun { target, .. } in begun {
        assert_eq!(due.end(target), Result::Counts);
        due.plan(seconds(20.0), target, false, 0.0);
    }
    let late = due.begin(seconds(20.0)).unwrap();
    assert!(late.late > seconds(14.0), "{late:?}");
    // Each is looked at once, however long it waited.
    let looks = run(&mut due, 20.05, 21.0, |_| false);
    let mut targets: Vec<TargetId> = looks.iter().map(|(_, begun)| begun.target).collect();
    targets.push(late.target);
    targets.sort();
    let count = targets.len();
    targets.dedup();
    assert_eq!(targets.len(), count);
    assert_eq!(due.behind(seconds(21.0)), None);
}

#[test]
fn a_process_that_stood_still_looks_at_nothing_twice_and_makes_no_burst() {
    let mut due = due("ams", 1000, 1000);
    run(&mut due, 0.0, 5.0, |_| false);
    let under_way = due.running();
    assert!(under_way > 0);
    assert!(due.turn(seconds(605.0)) > 900);
    let void: Vec<TargetId> = due.running.keys().copied().collect();
    for target in void {
        assert_eq!(due.end(target), Result::Void);
    }
    let looks = run(&mut due, 605.0, 610.0, |_| false);
    assert!((900..1100).contains(&looks.len()), "{}", looks.len());
    for begin in 0..50 {
        let begin = 605.0 + f64::from(begin) / 10.0;
        let burst = looks.iter().filter(|(at, _)| (begin..begin + 0.1).contains(at)).count();
        assert!(burst < 60, "{burst} looks from {begin}");
    }
    assert!(looks.iter().all(|(_, begun)| begun.late < seconds(0.1)));
    // A clock that went back is no standstill.
    assert_eq!(due.turn(seconds(1.0)), 0);
}

#[test]
fn what_is_removed_while_it_is_looked_at_is_not_looked_at_twice_at_a_time() {
    let mut due = due("ams", 10, 1);
    let first = run(&mut due, 0.0, 5.0, |_| false);
    assert_eq!(first.len(), 1);
    let mut due = self::due("ams", 10, 1);
    let at = due.next_wakeup().unwrap();
    due.begin(at).unwrap();
    due.remove(id(0));
    assert_eq!(due.end(id(0)), Result::Gone);
    due.add(at, id(0), INTERVAL);
    assert_eq!(due.next_wakeup(), None, "the first look still runs");
    due.plan(at, id(0), false, 0.0);
    assert!(due.next_wakeup().is_some());
    due.remove(id(0));
    assert_eq!(due.next_wakeup(), None);
}

#[test]
fn as_many_targets_as_a_report_holds_are_each_looked_at() {
    let mut due = Due::new("ams", 512, Duration::ZERO);
    for target in 0..20_000 {
        due.add(Duration::ZERO, id(target), INTERVAL);
    }
    let looks = run(&mut due, 0.0, 5.1, |_| false);
    let mut targets: Vec<TargetId> = looks.iter().map(|(_, begun)| begun.target).collect();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), 20_000);
    assert_eq!(due.behind(seconds(5.1)), None);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u16),
    Begin,
    End { which: u8, is_in_doubt: bool },
    Add(u8),
    Remove(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4000_u16).prop_map(Step::Wait),
        Just(Step::Begin),
        (any::<u8>(), any::<bool>())
            .prop_map(|(which, is_in_doubt)| Step::End { which, is_in_doubt }),
        (0..12_u8).prop_map(Step::Add),
        (0..12_u8).prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    /// One look at a time at a target, no more than may in all, none before its time, and none forgotten.
    #[test]
    fn looks_are_bounded_and_no_target_is_forgotten(steps in steps(), most in 1..5_usize) {
        let mut due = Due::new("ams", most, Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut wanted = BTreeSet::new();
        let mut running: Vec<TargetId> = vec![];
        for step in steps {
            match step {
                Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds.into()),
                Step::Begin => {
                    due.turn(now);
                    let wakeup = due.next_wakeup();
                    if let Some(Begun { target, .. }) = due.begin(now) {
                        prop_assert!(wakeup.is_some_and(|at| at <= now));
                        prop_assert!(!running.contains(&target));
                        prop_assert!(wanted.contains(&target));
                        running.push(target);
                    } else {
                        prop_assert!(wakeup.is_none_or(|at| at > now));
                    }
                    prop_assert!(running.len() <= most);
                }
                Step::End { which, is_in_doubt } => if !running.is_empty() {
                    let target = running.swap_remove(usize::from(which) % running.len());
                    let result = due.end(target);
                    prop_assert_eq!(result == Result::Gone, !wanted.contains(&target));
                    due.plan(now, target, is_in_doubt, 0.3);
                },
                Step::Add(number) => {
                    due.add(now, id(number.into()), INTERVAL);
                    wanted.insert(id(number.into()));
                }
                Step::Remove(number) => {
                    due.remove(id(number.into()));
                    wanted.remove(&id(number.into()));
                }
            }
            let planned: BTreeSet<TargetId> = due.queue.iter().map(|(_, target)| *target).collect();
            prop_assert_eq!(planned.len(), due.queue.len());
            for target in &wanted {
                prop_assert!(planned.contains(target) != running.contains(target));
            }
        }
    }
}
