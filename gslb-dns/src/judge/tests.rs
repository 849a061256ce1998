//! Stories: what vantages say, second by second, and what is believed of sites.

mod addresses;
mod follow;
mod forced;
mod joined;
mod regions;
mod story;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use common::principal::Kind;
use common::report::{self, Boot, Digest, Entry, EntryHash, Head, Mark, Own, Phases, Reason};
use proptest::prelude::*;

use self::story::{SITES, START, Story, view_within};
use super::*;
use crate::config;
use crate::health::view::View;
use crate::inbox::stream::{Change, Reception};
use crate::inside::{self, State};

fn check(words: &str, expected: &str) {
    let mut story = Story::new(SITES, Held::default());
    story.run(words);
    assert_eq!(story.told(), expected, "{words}");
}

/// Everybody sees everything, and the grace is over.
const WELL: &str = "abc:fra+ abc:iad+ abc:nrt+ 11s";

fn check_after(words: &str, expected: &str) {
    check(&format!("{WELL} {words}"), expected);
}

#[test]
fn a_site_is_down_when_a_quorum_says_so() {
    check_after("", "fra=up iad=up nrt=up");
    check_after("abc:fra-", "fra=down iad=up nrt=up");
    check_after("ab:fra-", "fra=down iad=up nrt=up");
    check_after("a:fra-", "fra=up iad=up nrt=up");
    check_after("abc:fra~", "fra=up*0.5 iad=up nrt=up");
    // Slow is no return, however often it was down within the hour.
    let back = "abc:fra- 5s abc:fra+ 5s abc:fra- 5s abc:fra+ 300s";
    check_after(&format!("{back} abc:fra~"), "fra=up*0.5 iad=up nrt=up");
    check_after(&format!("{back} abc:fra~ 5s abc:fra+"), "fra=up iad=up nrt=up");
}

/// History's listing cuts its times: a `since` that were rounded up, asked for there, would leave out its own line.
#[test]
fn since_is_the_second_in_which_it_began() {
    for late in [0, 400, 700, 999] {
        let mut story = Story::new(SITES, Held::default());
        story.run(WELL);
        let second = Timestamp::UNIX_EPOCH + story.now;
        story.now += Duration::from_millis(late);
        story.run("abc:fra-");
        assert_eq!(story.views()[0].since, Some(second), "{late}");
    }
}

/// A quorum's shares are of domains, in which two vantages may have one vote.
#[test]
fn vantages_are_told_with_the_domains_that_decide() {
    let paired =
        SITES.replace("[vantage.a]", "[vantage.d]\ndomain = \"x\"\n[vantage.a]\ndomain = \"x\"");
    let check = |sites: &str, words: &str, expected: &str| {
        let mut story = Story::new(sites, Held::default());
        story.run(words);
        assert_eq!(&*story.views()[0].why, expected, "{words}");
    };
    check(SITES, &format!("{WELL} ab:fra-"), "2 of 3 vantages see it down");
    let well = "abcd:fra+ abcd:iad+ abcd:nrt+ 11s";
    let check = |words: &str, expected: &str| check(&paired, &format!("{well} {words}"), expected);
    check("bc:fra-", "2 of 4 vantages (2 of 3 domains) see it down");
    check("ad:fra-", "2 of 4 vantages (2 of 3 domains) see it up");
    check("a:fra-", "3 of 4 vantages (2.5 of 3 domains) see it up");
    let held = "; what was believed before holds: neither share is reached";
    check("ab:fra-", &format!("2 of 4 vantages (1.5 of 3 domains) see it up{held}"));
    check("bc:fra~", "2 of 4 vantages (2 of 3 domains) see it slow");
}

#[test]
fn answers_are_short_lived_while_failing_looks_can_be_a_quorum() {
    // Two looks of 5 s are left, then one; 30 s are halved until they are no longer, and not below 15 s.
    check_after("ab:fra1", "fra=up^1 iad=up nrt=up");
    check_after("ab:fra2", "fra=up^1 iad=up nrt=up");
    let low = SITES.replace("ttl = { max = \"30s\" }", "ttl = { max = \"30s\", min = \"1s\" }");
    for (words, expected) in [
        ("ab:fra1", "fra=up^2 iad=up nrt=up"),
        ("ab:fra2", "fra=up^3 iad=up nrt=up"),
        // The second of them makes the quorum.
        ("a:fra2 b:fra1", "fra=up^2 iad=up nrt=up"),
        ("abc:nrt61", "fra=up iad=up nrt=up^2"),
        // One of three makes none, unless another has it down already.
        ("a:fra2", "fra=up iad=up nrt=up"),
        ("a:fra- b:fra2", "fra=up^3 iad=up nrt=up"),
        ("ab:fra2 ab:fra+", "fra=up iad=up nrt=up"),
        // Down is down, and whose word does not count halves nothing.
        ("abc:fra-", "fra=down iad=up nrt=up"),
        ("a:blind ab:fra2", "fra=up iad=up nrt=up"),
    ] {
        let mut story = Story::new(&low, Held::default());
        story.run(&format!("{WELL} {words}"));
        assert_eq!(story.told(), expected, "{words}");
    }
}

#[test]
fn silence_takes_nobody_out() {
    check_after("quiet:3600s", "fra=up iad=up nrt=up");
    check_after("ab:fra- quiet:3600s", "fra=down iad=up nrt=up");
    // Two still speak, one of them against it: no quorum for either.
    check_after("quiet:60s a:fra- b:fra+ a:iad+ b:iad+", "fra=up iad=up nrt=up");
    // One is no two vantages.
    check_after("quiet:60s a:fra-", "fra=up iad=up nrt=up");
}

#[test]
fn who_is_blind_or_alone_is_not_heard() {
    check_after("ab:blind ab:fra-", "fra=up iad=up nrt=up");
    check_after("ab:blind ab:fra- ab:sees", "fra=down iad=up nrt=up");
    // Cut off, it has everything down, and with a second voice it would decide.
    check_after("a:fra- a:iad- a:nrt- b:fra-", "fra=up iad=up nrt=up");
    check_after("a:fra- b:fra-", "fra=down iad=up nrt=up");
}

#[test]
fn probes_alone_take_out_no_more_than_they_may() {
    // Half of three sites: one. Who is held in takes clients as if nothing had been said of it.
    check_after("abc:fra- abc:iad-", "fra=up iad=down nrt=up");
    check_after("abc:fra- abc:iad- abc:nrt-", "fra=up iad=up nrt=down");
    // The host itself says that nobody listens.
    check_after("abc:fra! abc:iad!", "fra=down iad=down nrt=up");
    check_after("abc:fra! abc:iad! abc:nrt!", "fra=down iad=down nrt=down");
    // And that holds when nobody looks any more.
    check_after("abc:fra! abc:iad! abc:blind", "fra=down iad=down nrt=up");
    check_after("a:iad+ bc:iad- abc:fra- quiet:60s", "fra=down iad=up nrt=up");
}

#[test]
fn what_probes_take_out_is_weighed_by_capacity() {
    let check = |capacities: [Option<u32>; 3], words: &str, expected: &str| {
        let mut sites = SITES.to_owned();
        for (name, capacity) in ["fra", "iad", "nrt"].into_iter().zip(capacities) {
            let Some(capacity) = capacity else { continue };
            let head = format!("[site.{name}]\n");
            sites = sites.replace(&head, &format!("{head}capacity = {capacity}\n"));
        }
        let mut story = Story::new(&sites, Held::default());
        story.run(&format!("{WELL} {words}"));
        assert_eq!(story.told(), expected, "{capacities:?} {words}");
    };
    let two_small = [Some(300), Some(100), Some(100)];
    check(two_small, "abc:iad- abc:nrt-", "fra=up iad=down nrt=down");
    check(two_small, "abc:fra- abc:iad-", "fra=up iad=down nrt=up");
    // One always goes, though it is more than half.
    check(two_small, "abc:fra-", "fra=down iad=up nrt=up");
    // Who says nothing counts as the mean of those who do: 100 of 300 here, 200 of 600 there.
    check([None, Some(100), Some(100)], "abc:iad- abc:nrt-", "fra=up iad=up nrt=down");
    check([Some(300), Some(100), None], "abc:iad- abc:nrt-", "fra=up iad=down nrt=down");
}

#[test]
fn nobody_is_taken_out_within_the_grace_of_a_start() {
    check("abc:fra- abc:iad+ abc:nrt+", "fra=unknown iad=up nrt=up");
    check("abc:fra- abc:iad+ abc:nrt+ 9s", "fra=unknown iad=up nrt=up");
    check("abc:fra- abc:iad+ abc:nrt+ 10s", "fra=down iad=up nrt=up");
}

/// Of two that were down one was held in; the other comes back by its agents' word before any vantage was heard.
#[test]
fn who_is_answered_at_a_start_stays_within_the_grace_though_another_makes_room() {
    let mut before = Story::new(SITES, Held::default());
    before.run(&format!("{WELL} abc:fra- abc:iad-"));
    assert_eq!(before.told(), "fra=up iad=down nrt=up");
    let mut after = Story::new(SITES, before.judge.held());
    assert_eq!(after.told(), "fra=up iad=down nrt=up");
    after.run("in:iad=serving");
    assert_eq!(after.told(), "fra=up iad=up nrt=up");
    let fra = after.views()[0].clone();
    let words = "; it was answered since the start, within the grace of which nobody is taken out";
    assert!(fra.why.ends_with(words) && !fra.is_held_in, "{fra:?}");
    // A reload is no start, in whatever order sites then stand.
    let other = SITES.replace(r#"["fra", "iad", "nrt"]"#, r#"["iad", "nrt", "fra"]"#);
    let before = std::mem::replace(&mut after.world, Story::new(&other, Held::default()).world);
    assert_eq!(after.told(), "iad=up nrt=up fra=up");
    after.world = before;
    assert_eq!(after.told(), "fra=up iad=up nrt=up");
    // What its own agents say is no belief of before, and afterwards what was believed holds.
    after.run("in:fra=empty");
    assert_eq!(after.told(), "fra=down iad=up nrt=up");
    after.run("in:fra=nothing quiet:11s");
    assert_eq!(after.told(), "fra=down iad=up nrt=up");
}

#[test]
fn what_nobody_has_seen_waits_while_another_is_up() {
    check("abc:iad+ abc:nrt+ 5s", "fra=unknown iad=up nrt=up");
    check("abc:iad+ abc:nrt+ 10s", "fra=down iad=up nrt=up");
    check("quiet:60s", "fra=unknown iad=unknown nrt=unknown");
}

#[test]
fn what_was_believed_outlives_a_restart() {
    let mut before = Story::new(SITES, Held::default());
    before.run(WELL);
    before.run("abc:fra!");
    before.views();
    let text = serde_json::to_string(&before.judge.held()).unwrap();
    let mut after = Story::new(SITES, serde_json::from_str(&text).unwrap());
    assert_eq!(after.told(), "fra=down iad=up nrt=up");
    after.run("quiet:60s");
    assert_eq!(after.told(), "fra=down iad=up nrt=up");
    // Everything dead: within the grace it is as it was, and the cap holds afterwards.
    let mut after = Story::new(SITES, serde_json::from_str(&text).unwrap());
    after.run("abc:fra- abc:iad- abc:nrt- 5s");
    assert_eq!(after.told(), "fra=down iad=up nrt=up");
    after.run("10s");
    assert_eq!(after.told(), "fra=up iad=up nrt=down");
}

#[test]
fn a_return_is_gradual() {
    check_after("abc:fra- 5s abc:fra+", "fra=up*0.25 iad=up nrt=up");
    check_after("abc:fra- 5s abc:fra+ 29s", "fra=up*0.25 iad=up nrt=up");
    check_after("abc:fra- 5s abc:fra+ 30s", "fra=up*0.5 iad=up nrt=up");
    check_after("abc:fra- 5s abc:fra+ 90s", "fra=up iad=up nrt=up");
    // Two say so already; the third comes later and begins nothing anew.
    check_after("abc:fra- 5s ab:fra+ 30s c:fra+", "fra=up*0.5 iad=up nrt=up");
    // Nobody can say so for a while: it goes on as time does.
    check_after("abc:fra- 5s abc:fra+ ab:blind 1s", "fra=up*0.25 iad=up nrt=up");
    check_after("abc:fra- 5s abc:fra+ 5s ab:blind 25s", "fra=up*0.5 iad=up nrt=up");
    check_after("abc:fra- 5s abc:fra+ abc:blind 1s", "fra=up*0.25 iad=up nrt=up");
    // A name server that starts meanwhile is as far.
    let mut story = Story::new(SITES, Held::default());
    story.run(WELL);
    story.run("abc:fra- 5s abc:fra+ 40s");
    story.judge = Judge::new(Held::default(), story.now);
    assert_eq!(story.told(), "fra=up*0.5 iad=up nrt=up");
}

#[test]
fn what_was_never_believed_to_be_down_does_not_return() {
    // One of three is no quorum, whatever it sees.
    check_after("a:fra- 5s a:fra+", "fra=up iad=up nrt=up");
    // One change each is remembered: these may have been away together.
    check_after("a:fra- 5s a:fra+ b:fra- 5s b:fra+", "fra=up*0.25 iad=up nrt=up");
    // Two are, even if they come to see it again one by one.
    check_after("ab:fra- 5s a:fra+", "fra=up*0.25 iad=up nrt=up");
    check_after("ab:fra- 5s a:fra+ 5s b:fra+", "fra=up*0.25 iad=up nrt=up");
    // Nor is half of them, though neither is it one for up.
    let four = SITES.replace("[check.web]", "[vantage.d]\n[check.web]");
    for (who, expected) in [("ab", "fra=up iad=up nrt=up"), ("abc", "fra=up*0.25 iad=up nrt=up")] {
        let mut story = Story::new(&four, Held::default());
        story.run(&format!("abcd:fra+ abcd:iad+ abcd:nrt+ 11s {who}:fra- 5s {who}:fra+"));
        assert_eq!(story.told(), expected, "{who} of four");
    }
}

#[test]
fn who_flaps_waits_outside() {
    let flapping = "abc:fra- 5s abc:fra+ 5s abc:fra- 5s abc:fra+";
    check_after(flapping, "fra=down iad=up nrt=up");
    check_after(&format!("{flapping} 9s"), "fra=down iad=up nrt=up");
    check_after(&format!("{flapping} 10s"), "fra=up*0.25 iad=up nrt=up");
    check_after(&format!("{flapping} ab:blind 1s"), "fra=down iad=up nrt=up");
    // Nobody else is there.
    check_after(&format!("abc:iad! abc:nrt! {flapping}"), "fra=up iad=down nrt=down");
}

#[test]
fn an_address_is_struck_by_itself() {
    check_after("abc:nrt6-", "fra=up iad=up nrt=up/");
    let mut story = Story::new(SITES, Held::default());
    story.run(WELL);
    story.run("abc:nrt6-");
    let struck = &story.views()[2].struck;
    assert_eq!(&**struck, ["2001:db8::3".parse::<IpAddr>().unwrap()]);
}

#[test]
fn any_check_is_enough_where_the_service_says_so() {
    let two = SITES
        .replace("[service.", "[check.tls]\nkind = \"tls\"\nport = 443\n[service.")
        .replace("check = [\"web\"]", "KEY = [\"web\", \"tls\"]");
    for (key, expected) in [("check", "fra=down"), ("any", "fra=up")] {
        let mut story = Story::new(&two.replace("KEY", key), Held::default());
        story.run(WELL);
        // Of the two targets of this address one is down.
        let id = story.world.targets.iter().find(|(_, target)| target.port == 443).unwrap().0;
        for vantage in ['a', 'b', 'c'] {
            let now = story.now;
            story.vantages.get_mut(&vantage).unwrap().says.insert(id, ('!', now, 1));
            story.report(vantage);
        }
        assert!(story.told().starts_with(expected), "{key}: {}", story.told());
    }
}

#[test]
fn how_long_reports_are_under_way_moves_nothing_that_was() {
    let mut story = Story::new(SITES, Held::default());
    story.run(&format!("{WELL} abc:fra- 5s"));
    let since = story.views()[0].since.unwrap();
    for (milliseconds, seconds) in [(999, 0), (0, 0), (1000, 1)] {
        story.under_way = Duration::from_millis(milliseconds);
        story.run("abc:nrt+");
        let moved = story.views()[0].since.unwrap().duration_since(since);
        assert_eq!(moved.as_secs(), seconds, "{milliseconds} ms");
    }
}

#[test]
fn the_next_change_is_known() {
    let mut story = Story::new(SITES, Held::default());
    story.run("abc:fra+");
    story.views();
    assert_eq!(story.judge.next_change(), Some(START + GRACE), "the lease ends then too");
    story.run("11s abc:fra! 5s abc:fra+");
    let before = story.told();
    let next = story.judge.next_change().unwrap();
    assert_eq!(next - story.now, Duration::from_secs(10), "a lease");
    story.run("29s");
    assert_eq!(story.told(), before);
    assert_eq!(story.judge.next_change().unwrap() - story.now, Duration::from_secs(1));
}

fn believed(judge: &Judge) -> Verdicts {
    let of = judge.watched.iter().flat_map(Watched::believed);
    of.map(|(service, id, believed)| ((service.clone(), id), *believed)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever a peer says, be it all lies: a verdict that evidence decides stays, and no other becomes anything but
    /// up.
    #[test]
    fn a_peer_can_turn_up_what_is_held_and_nothing_else(
        said in prop::collection::vec((0..3_usize, 0..3_usize, 0..4_usize), 1..20),
        silent in 0..4_usize,
        lies in prop::collection::vec((0..4_usize, 0..4_usize, any::<bool>(), 0..1_000_000_u32), 1..8),
    ) {
        let mut story = Story::new(SITES, Held::default());
        story.run(WELL);
        for (vantage, site, state) in said {
            let vantage = ['a', 'b', 'c'][vantage];
            let (site, state) = (["fra", "iad", "nrt"][site], ["+", "~", "-", "!"][state]);
            story.run(&format!("{vantage}:{site}{state}"));
        }
        // None are, or the first, or two, or all.
        story.run(["1s", "a:blind", "ab:blind", "quiet:60s"][silent]);
        story.views();
        let before = believed(&story.judge);
        let targets: Vec<TargetId> = story.world.targets.iter().map(|(id, _)| *id).collect();
        let verdicts = [Verdict::Unknown, Verdict::Up, Verdict::Slow, Verdict::Down];
        let lies = lies.into_iter().map(|(target, verdict, certain, up)| {
            (targets[target], HeldVerdict { verdict: verdicts[verdict], certain, up })
        });
        let service = before.keys().next().unwrap().0.clone();
        let changed = story.judge.meet(&Held([(service, lies.collect())].into()));
        story.views();
        let mut differ = 0;
        for (key, after) in &believed(&story.judge) {
            let before = &before[key];
            differ += usize::from(after.kept() != before.kept());
            prop_assert!(
                after.verdict == before.verdict || (after.verdict == Verdict::Up && !before.is_decided()),
                "{before:?} {after:?}"
            );
            prop_assert!(before.is_certain || !after.is_certain);
        }
        prop_assert_eq!(differ, changed);
    }
}

#[test]
fn what_two_hold_otherwise_is_up_on_both() {
    let held = |words: &str| -> Held {
        let targets = words.split_whitespace().zip(1_u128..).map(|(word, number)| {
            let (verdict, up) = word.split_once(':').unwrap_or((word, "0"));
            let (verdict, certain) =
                verdict.strip_suffix('!').map_or((verdict, false), |verdict| (verdict, true));
            let verdict = serde_json::from_str(&format!("{verdict:?}")).unwrap();
            let id: TargetId = format!("{number:032x}").parse().unwrap();
            (id, HeldVerdict { verdict, certain, up: up.parse().unwrap() })
        });
        Held([("www.example.com".into(), targets.collect())].into())
    };
    let check = |one: &str, other: &str, expected: &str| {
        for (ours, theirs) in [(one, other), (other, one)] {
            let mut judge = Judge::new(held(ours), START);
            judge.meet(&held(theirs));
            assert_eq!(judge.undecided(), held(expected), "{ours} meets {theirs}");
            assert_eq!(judge.meet(&held(expected)), 0, "both are there");
        }
    };
    check("down up slow unknown", "up down down down", "up up up up");
    check("down up slow unknown", "down up slow unknown", "down up slow unknown");
    // What ranks those of which not all may be taken out is met too, so that both keep the same ones in.
    check("down:250000 down! down!", "down:500000 down down!", "down:500000 down down!");
    // Of what the other does not hold, evidence decides there.
    let mut judge = Judge::new(held("down up"), START);
    assert_eq!((judge.meet(&held("down")), judge.undecided()), (0, held("down up")));
    // No share is more than all.
    let mut judge = Judge::new(held("down:500000"), START);
    assert_eq!(
        (judge.meet(&held("down:4000000000")), judge.undecided()),
        (1, held("down:1000000"))
    );
    assert_eq!(held("down up slow").first(2), held("down up"));
    assert_eq!(held("down up slow").first(3).len(), 3);
    assert!(held("down up slow").first(0).is_empty());
}
