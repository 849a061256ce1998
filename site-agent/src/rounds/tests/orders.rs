//! What operators order, and what looks make of it.

use super::*;

#[test]
fn who_comes_back_from_maintenance_is_looked_at_soon_and_fails_at_once() {
    let mut rounds = Rounds::new(ms(0));
    let slow = ServerCheck { fast_interval: ms(60_000), ..server_check() };
    let slow = ServerCheck { down_interval: ms(60_000), ..slow };
    let timing = Timing::new(ms(60_000), ms(400), slow.target.check.timing.thresholds());
    let mut check = slow;
    check.target.check.timing = timing;
    rounds.adopt(ms(0), &[Wanted { check: Some(check), ..wanted(0) }], 0.0);
    let look = |rounds: &mut Rounds, at: u64, passes: bool| {
        let Some(Begun::Look(series, _)) = rounds.begin(ms(at), nobody) else { panic!("{at}") };
        let told = rounds.looked(ms(at), series, if passes { seen(true) } else { seen(false) });
        told.unwrap().event
    };
    let checks = |to, streak, need| Event::Check { to, progress: Progress { streak, need } };
    assert_eq!(look(&mut rounds, 0, true), checks(Checked::Up, 0, 3));
    // Out of service when its turn comes, and for long: nobody looks.
    for at in (60_000..120_000).step_by(500) {
        assert!(rounds.begin(ms(at), |_| true).is_none());
        assert!(rounds.next_wakeup().unwrap() <= ms(at + 1000));
    }
    // Back, its first look fails: it is down, where it takes three otherwise.
    assert_eq!(look(&mut rounds, 121_000, false), checks(Checked::Down, 0, 2));
    assert!(rounds.begin(ms(181_000), |_| true).is_none());
    // Who was down stays so until it passes.
    assert_eq!(look(&mut rounds, 182_000, true), checks(Checked::Down, 1, 2));
}

#[test]
fn however_short_a_maintenance_was_a_look_follows_that_counts_for_all() {
    let mut check = server_check();
    let thresholds = check.target.check.timing.thresholds();
    check.target.check.timing = Timing::new(ms(60_000), ms(400), thresholds);
    let begin = |rounds: &mut Rounds, at| match rounds.begin(ms(at), nobody) {
        Some(Begun::Look(series, _)) => series,
        other => panic!("{at}: {other:?}"),
    };
    let checks = |to, streak, need| Event::Check { to, progress: Progress { streak, need } };
    let of = [Wanted { check: Some(check), ..wanted(0) }];
    let up = |rounds: &mut Rounds| {
        let series = begin(rounds, 0);
        assert_eq!(
            rounds.looked(ms(1), series, seen(true)).unwrap().event,
            checks(Checked::Up, 0, 3)
        );
    };
    // Between two looks, of which the next would be a minute later, and one failure of three.
    let mut between = rounds(&of);
    up(&mut between);
    between.return_to_service(ms(30_000), which(0, 0));
    let series = begin(&mut between, 30_000);
    let down = between.looked(ms(30_001), series, seen(false)).unwrap().event;
    assert_eq!(down, checks(Checked::Down, 0, 2));
    // While a look was under way: what that comes to is of before, and the next begins when it has ended.
    let mut during = rounds(&of);
    up(&mut during);
    let series = begin(&mut during, 60_000);
    during.return_to_service(ms(60_100), which(0, 0));
    let before = during.looked(ms(60_200), series, seen(true)).unwrap().event;
    assert_eq!(before, checks(Checked::Up, 0, 3));
    let series = begin(&mut during, 60_200);
    let down = during.looked(ms(60_300), series, seen(false)).unwrap().event;
    assert_eq!(down, checks(Checked::Down, 0, 2));
    // Who passes it stays up.
    let mut well = rounds(&of);
    up(&mut well);
    well.return_to_service(ms(30_000), which(0, 0));
    let series = begin(&mut well, 30_000);
    let up = well.looked(ms(30_001), series, seen(true)).unwrap().event;
    assert_eq!(up, checks(Checked::Up, 0, 3), "and nothing speaks against it");
}

#[test]
fn an_operator_knows_better_and_looks_go_on_from_there() {
    let which = which(0, 0);
    let mut rounds = Rounds::new(ms(0));
    rounds.adopt(ms(0), &[wanted(0)], 0.0);
    let checks = |to, streak, need| Event::Check { to, progress: Progress { streak, need } };
    let overrule = |rounds: &mut Rounds, belief| rounds.overrule(ms(0), which, belief).unwrap();
    // Of who was never looked at, too; and said twice.
    for _ in 0..2 {
        assert_eq!(overrule(&mut rounds, Belief::Down).event, checks(Checked::Down, 0, 2));
    }
    for _ in 0..2 {
        let told = overrule(&mut rounds, Belief::Up);
        assert_eq!((told.event, told.has_passed), (checks(Checked::Up, 0, 3), true));
    }
    let told = overrule(&mut rounds, Belief::NoLb);
    assert_eq!((told.event, told.has_passed), (checks(Checked::NoLb, 0, 3), false));
    // A look that fails is one of three; `up` makes it forgotten.
    let Some(Begun::Look(series, _)) = rounds.begin(ms(0), nobody) else { panic!() };
    assert_eq!(rounds.looked(ms(0), series, seen(false)).unwrap().event, checks(Checked::Up, 1, 3));
    assert_eq!(overrule(&mut rounds, Belief::Up).event, checks(Checked::Up, 0, 3));
    rounds.adopt(ms(0), &[Wanted { check: None, ..wanted(0) }], 0.0);
    assert_eq!(rounds.overrule(ms(0), which, Belief::Down), None);
}
