//! Stories of a site with a pair of agents: what they say, what they keep silent about, and what is made of it.

use common::principal::Kind;
use common::report::agent::{self, Rate, Role, Vip, Vrrp};
use common::report::{Boot, Digest, EntryHash, Head, Mark, Own};
use proptest::prelude::*;

use super::*;
use crate::inbox::agents::Agents;
use crate::inbox::stream::{Change, Oddity, Reception};

const SITE: &str = "fra";
const VALID: Duration = Duration::from_secs(10);
const BEGIN: Duration = Duration::from_secs(1000);
/// Agents' clocks are others than ours.
const THEIRS: Duration = Duration::from_secs(50_000);

/// One VIP of a site with two agents, looked at after everything that happens.
struct Story {
    now: Duration,
    seq: u64,
    agents: Agents,
    inside: Inside,
    said: BTreeMap<String, Option<Vip>>,
    view: Option<View>,
}

impl Story {
    fn begin() -> Story {
        Story {
            now: BEGIN,
            seq: 0,
            agents: Agents::default(),
            inside: Inside::default(),
            said: BTreeMap::new(),
            view: None,
        }
    }

    /// `+5` passes; `a=active:serving/7` is told by a, with its load, capacity, offer and backends; without a role
    /// before the colon it has no VRRP; `a=nothing` has no such VIP; `a` tells the same again; `!` is a restart of ours.
    fn play(&mut self, word: &str) {
        if let Some(seconds) = word.strip_prefix('+') {
            self.now += Duration::from_secs_f64(seconds.parse().unwrap());
        } else if word == "!" {
            let drained = serde_json::to_string(&self.inside.drained()).unwrap();
            self.inside = Inside::restored(serde_json::from_str(&drained).unwrap());
            self.agents = Agents::restored(self.agents.marks());
        } else {
            let agent = word.split_once('=').map_or(word, |(agent, said)| {
                let vip = (said != "nothing").then(|| self.vip(agent, said));
                self.said.insert(agent.to_owned(), vip);
                agent
            });
            self.tell(agent);
        }
        self.look();
    }

    fn vip(&self, agent: &str, said: &str) -> Vip {
        let theirs = u64::try_from((self.now + THEIRS).as_millis()).unwrap();
        let (rest, number) = said.split_once('/').unwrap_or((said, "1"));
        let (role, state) =
            rest.split_once(':').map_or((None, rest), |(role, state)| (Some(role), state));
        let rate = Rate::new(number.parse().unwrap());
        let backends = number.parse().unwrap();
        let state = agent::State::ALL.iter().copied().find(|one| one.as_str() == state).unwrap();
        let role =
            role.map(|role| Role::ALL.iter().copied().find(|one| one.as_str() == role).unwrap());
        // What is as it was began when it did.
        let before = self.said.get(agent).and_then(Option::as_ref);
        let since = before.filter(|vip| vip.state == state).map_or(theirs, |vip| vip.since);
        let vrrp = role.map(|role| {
            let before = before.and_then(|vip| vip.vrrp).filter(|vrrp| vrrp.role == role);
            before.unwrap_or(Vrrp { vrid: 51, role, since: theirs })
        });
        Vip {
            addr: "198.51.100.10".parse().unwrap(),
            port: 443,
            state,
            since,
            flaps: 0,
            capacity: rate,
            load: rate,
            offer: rate,
            backends_up: backends,
            backends,
            vrrp,
        }
    }

    fn tell(&mut self, agent: &str) {
        self.tell_of(agent, self.said[agent].clone().into_iter().collect());
    }

    fn tell_of(&mut self, agent: &str, vips: Vec<Vip>) {
        self.seq += 1;
        let mut digest = Digest::default();
        let mut said = Vec::new();
        for vip in vips {
            let hash = EntryHash::of(&serde_json::to_string(&vip).unwrap());
            digest.add(hash);
            said.push((vip.at(), Change::Said(hash, vip)));
        }
        let head = Head {
            cluster: "test".into(),
            producer: agent.into(),
            kind: Kind::Agent,
            boot: Boot([agent.as_bytes()[0]; 16]),
            mark: Mark { inc: 1, seq: self.seq },
            base: None,
            now: self.now + THEIRS,
            digest,
            valid: VALID,
            own: Own::default(),
        };
        let reception = self.agents.on_report(self.now, agent, SITE, &head, said);
        assert_eq!(reception, Reception::Taken(Oddity::None));
    }

    fn voices(&self) -> Vec<Voice<'_>> {
        let voice = |agent| Voice { agent, stream: self.agents.of_site(SITE, agent) };
        ["a", "b"].map(voice).into()
    }

    fn look(&mut self) {
        let voices =
            ["a", "b"].map(|agent| Voice { agent, stream: self.agents.of_site(SITE, agent) });
        let views = self.inside.look(self.now, [(SITE, voices.to_vec())]);
        self.view = views[SITE].values().next().cloned();
    }

    fn is_heard(&self, agent: &str) -> bool {
        let voices = self.voices();
        let voice = voices.iter().find(|voice| voice.agent == agent).unwrap();
        voice.standing(self.now) == Standing::Heard
    }

    /// `serving owner @a /7`: state, ground, who owns it, its offer; `!` where two have it.
    fn told(&self) -> String {
        let Some(view) = &self.view else { return "nothing".to_owned() };
        let ground = serde_json::to_value(view.ground).unwrap();
        let mut told = format!("{} {}", view.state.as_str(), ground.as_str().unwrap());
        if let Some(owner) = &view.owner {
            told += &format!(" @{owner}");
        }
        if let Some(offer) = view.offer {
            told += &format!(" /{offer}");
        }
        if view.is_dual_active {
            told += " !";
        }
        told
    }
}

fn check(words: &str, expected: &str) {
    let mut story = Story::begin();
    words.split_whitespace().for_each(|word| story.play(word));
    assert_eq!(story.told(), expected, "{words}");
}

#[test]
fn who_is_active_owns() {
    check("a=active:serving/7 b=backup:serving/9", "serving owner @a /7");
    check("a=backup:serving/7 b=active:empty/9", "empty owner @b /9");
    check("a=active:drained/7 b=backup:serving/9", "drained owner @a /7");
    check("a=active:serving/7", "serving owner @a /7");
    // The other may have no such VIP, or be of no role at all.
    check("a=active:serving/7 b=nothing", "serving owner @a /7");
    check("a=active:serving/7 b=serving/9", "serving owner @a /7");
    check("a=other:serving/7 b=active:serving/9", "serving owner @b /9");
    // It moves with the role.
    check(
        "a=active:serving/7 b=backup:serving/9 +1 a=backup:serving/7 b=active:serving/9",
        "serving owner @b /9",
    );
}

#[test]
fn of_two_that_are_active_the_later_owns_and_the_lower_offer_counts() {
    check("a=active:serving/7 +1 b=active:serving/9", "serving owner @b /7");
    check("b=active:serving/7 +1 a=active:serving/9", "serving owner @a /7");
    check("a=active:serving/9 +1 b=active:empty/7", "empty owner @b /7");
    // At once: the first by name.
    check("a=active:serving/7 b=active:serving/9", "serving owner @a /7");
    // It is told once both have said so for three seconds, and no longer than that is so.
    let both = "a=active:serving/7 +1 b=active:serving/9";
    check(&format!("{both} +2.9 a b"), "serving owner @b /7");
    check(&format!("{both} +3 a b"), "serving owner @b /7 !");
    check(&format!("{both} +3 a b +1 a=backup:serving/7"), "serving owner @b /9");
    check(&format!("{both} +3 a b +9 b +1"), "serving owner @b /9");
    // A box that died: its last word is fresh, and older than the other's taking over.
    check(&format!("{both} +4 b +4 b"), "serving owner @b /7");
}

#[test]
fn who_had_it_last_has_it_for_a_moment_when_no_router_has() {
    let left = "a=active:serving/7 b=backup:serving/9 +1 a=backup:serving/7";
    check(left, "serving last_owner @a /7");
    check(&format!("{left} +2.9 a b"), "serving last_owner @a /7");
    check(&format!("{left} +3 a b"), "stale unowned @a /7");
    check(&format!("{left} +3 a b +1 b=active:serving/9"), "serving owner @b /9");
    // Each time anew.
    check(
        &format!("{left} +3 a b b=active:serving/9 +1 b=backup:serving/9"),
        "serving last_owner @b /9",
    );
    // It has the VIP no more at all.
    check("a=active:serving/7 b=backup:serving/9 +1 a=nothing", "serving last_owner @a /7");
    // Nobody was ever seen to have it.
    check("a=backup:serving/7 b=backup:serving/9", "stale unowned");
}

#[test]
fn a_standby_speaks_for_an_owner_that_is_silent() {
    let silent = "a=active:serving/7 b=backup:serving/9 +9 b +1";
    check(silent, "serving standby");
    check("a=active:serving/7 b=backup:empty/9 +9 b +1", "empty standby");
    check(&format!("{silent} b=active:serving/9"), "serving owner @b /9");
    check(&format!("{silent} a"), "serving owner @a /7");
    // Nobody was heard but the standby.
    check("b=backup:serving/9", "serving standby");
    // Of whom it cannot say there is no evidence, be it the owner.
    check("a=active:none/7 b=backup:serving/9", "serving standby");
    check(&format!("{silent} +9"), "stale silence");
    let mut story = Story::begin();
    silent.split_whitespace().for_each(|word| story.play(word));
    let view = story.view.unwrap();
    assert_eq!((view.backends, view.capacity, view.load), (9, None, None));
}

/// Boxes that are restarted one after the other are no site that was away.
#[test]
fn what_somebody_serves_all_along_has_not_come_back() {
    let since = |words: &str| {
        let mut story = Story::begin();
        words.split_whitespace().for_each(|word| story.play(word));
        (story.view.unwrap().since.unwrap() - BEGIN).as_secs()
    };
    assert_eq!(since("a=serving +5 b=serving"), 0);
    assert_eq!(since("a=serving +5 b=serving +5 a=empty"), 0);
    assert_eq!(since("a=serving +5 b=serving +5 a=empty +5 a=serving b=empty"), 0);
    assert_eq!(since("a=serving +5 b=serving +5 a=empty b=empty +5 a=serving"), 15);
    // A VIP that has moved has not been away either; one whose owner was has.
    assert_eq!(since("a=active:serving b=backup:empty +5 b=active:serving a=backup:empty"), 0);
    assert_eq!(since("a=active:serving b=backup:empty +5 a=active:empty +5 a=active:serving"), 10);
}

#[test]
fn without_vrrp_those_that_serve_are_added_up() {
    check("a=serving/7 b=serving/9", "serving sum /16");
    check("a=serving/7 b=empty/9", "serving sum /7");
    check("a=drained/7 b=serving/9", "serving sum /9");
    check("a=serving/7 b=none/9", "serving sum /7");
    check("a=serving/7 b=nothing", "serving sum /7");
    check("a=serving/7", "serving sum /7");
    check("a=serving/7 b=serving/9 +9 b +1", "serving sum /9");
    // Empty only if all are, drained if nobody else serves.
    check("a=empty/7 b=empty/9", "empty sum /16");
    check("a=empty/7 b=nothing", "empty sum /7");
    check("a=drained/7 b=drained/9", "drained sum /16");
    check("a=drained/7 b=empty/9", "drained sum /16");
    // Who is not heard may serve.
    check("a=empty/7", "stale silence");
    check("a=empty/7 b=none/9", "stale silence");
    check("a=serving/7 b=empty/9 +9 b +1", "stale silence /7");
    check("a=drained/7", "stale silence");
}

#[test]
fn a_drain_outlives_its_report_and_emptiness_does_not() {
    check("a=drained b=drained +10", "drained held /2");
    check("a=drained b=drained +60", "drained held /2");
    check("a=empty b=empty +10", "stale silence /2");
    check("a=serving b=serving +10", "stale silence /2");
    // A fresh report ends it, and another does not.
    check("a=drained b=drained +60 a=drained", "drained held /2");
    check("a=drained b=drained +60 a=serving", "serving sum /1");
    check("a=drained b=drained +60 a=serving +10", "stale silence /1");
    check("a=drained b=drained +60 a=empty b=empty", "empty sum /2");
    // So does the owner's, and the next owner's; the standby said so all the while.
    let drained = "a=active:drained/7 b=backup:serving/9 +9 b +1";
    check(drained, "drained held @a /7");
    check(&format!("{drained} +9"), "drained held @a /7");
    check(&format!("{drained} a=active:serving/7"), "serving owner @a /7");
    check(&format!("{drained} b=active:serving/9"), "serving owner @b /9");
    check(
        "a=active:drained/7 b=backup:serving/9 +1 a=backup:drained/7 +4 a b",
        "drained held @a /7",
    );
    // A restart knows of it; what has no such VIP any more is forgotten.
    check("a=drained b=drained !", "drained held");
    check("a=drained b=drained ! a=serving", "serving sum /1");
    check("a=serving b=serving !", "nothing");
    check("a=drained b=drained a=nothing b=nothing", "nothing");
    check("a=drained b=drained a=nothing b=nothing ! +1", "nothing");
    check("a=drained b=drained a=nothing +10", "drained held /1");
}

#[test]
fn nothing_is_said_of_what_nobody_has() {
    check("", "nothing");
    check("a=nothing", "nothing");
    check("a=nothing b=nothing", "nothing");
    check("a=serving a=nothing", "stale silence /1");
    check("a=serving a=nothing b=nothing", "nothing");
}

#[test]
fn a_site_that_is_named_no_more_is_forgotten() {
    let mut story = Story::begin();
    story.play("a=drained");
    story.play("b=drained");
    assert_ne!(story.inside.drained(), Drained::default());
    let views = story.inside.look(story.now, [("iad", vec![])]);
    assert!(views["iad"].is_empty() && !views.contains_key(SITE));
    assert_eq!(story.inside.drained(), Drained::default());
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut story = Story::begin();
    let vip = story.vip("a", "serving/7");
    // The other is silent, so nothing that was said once is known to be over.
    for report in 0..4_u16 {
        let ports = 1024 * report..1024 * (report + 1);
        story.tell_of("a", ports.map(|port| Vip { port, ..vip.clone() }).collect());
        let voice = |agent| Voice { agent, stream: story.agents.of_site(SITE, agent) };
        let views = story.inside.look(story.now, [(SITE, ["a", "b"].map(voice).to_vec())]);
        let expected = MOST_VIPS * if report == 0 { 1 } else { 2 };
        assert_eq!((views[SITE].len(), story.inside.0[SITE].len()), (expected, expected));
    }
}

#[test]
fn times_are_of_our_clock() {
    let mut story = Story::begin();
    for word in "a=active:serving/7 b=backup:serving/9 +4 a b".split_whitespace() {
        story.play(word);
    }
    let view = story.view.clone().unwrap();
    assert_eq!((view.since, view.heard), (Some(BEGIN), Some(BEGIN + Duration::from_secs(4))));
    story.play("+10");
    let view = story.view.unwrap();
    let ended = BEGIN + Duration::from_secs(14);
    assert_eq!((view.state, view.since), (State::Stale, Some(ended)));
    assert_eq!(view.heard, Some(BEGIN + Duration::from_secs(4)), "its numbers are as old as ever");
}

fn word() -> impl Strategy<Value = String> {
    let role = prop::sample::select(vec!["active:", "backup:", "initialize:", "other:", ""]);
    let state = prop::sample::select(vec!["serving", "empty", "drained", "none"]);
    let told = (role, state, 0..20_u32)
        .prop_map(|(role, state, number)| format!("{role}{state}/{number}"));
    let told = prop_oneof![8 => told, 1 => Just("nothing".to_owned())];
    let agent = prop::sample::select(vec!["a", "b"]);
    prop_oneof![
        6 => (agent, told).prop_map(|(agent, told)| format!("{agent}={told}")),
        3 => (1..40_u32).prop_map(|tenths| format!("+{}", f64::from(tenths) / 10.0)),
        1 => Just("+11".to_owned()),
        1 => Just("!".to_owned()),
    ]
}

proptest! {
    #[test]
    fn whatever_agents_do_nothing_is_made_up(words in prop::collection::vec(word(), 1..60)) {
        let mut story = Story::begin();
        let (mut last_said, mut last_unowned) = (None, None);
        for word in &words {
            story.play(word);
            let says = |agent: &str, is: &dyn Fn(&Vip) -> bool| {
                let said = story.said.get(agent).and_then(Option::as_ref);
                story.is_heard(agent) && said.is_some_and(is)
            };
            let anybody = |is: &dyn Fn(&Vip) -> bool| says("a", is) || says("b", is);
            let is_active = |vip: &Vip| vip.vrrp.is_some_and(|vrrp| vrrp.role == Role::Active);
            if word == "!" {
                (last_said, last_unowned) = (last_said.filter(|state| *state == State::Drained), None);
            }
            let Some(view) = &story.view else {
                last_said = None;
                continue;
            };
            let is_said = |state: State| anybody(&|vip| vip.state.as_str() == state.as_str());
            match view.ground {
                Ground::Owner | Ground::Standby | Ground::Sum => {
                    // What is believed somebody says now.
                    prop_assert!(is_said(view.state), "{view:?}");
                    last_said = Some(view.state);
                }
                Ground::LastOwner => prop_assert_eq!(Some(view.state), last_said),
                Ground::Held => {
                    prop_assert_eq!(view.state, State::Drained);
                    prop_assert_eq!(last_said, Some(State::Drained));
                }
                Ground::Unowned | Ground::Silence => prop_assert_eq!(view.state, State::Stale),
            }
            if view.ground == Ground::Owner {
                let owner = view.owner.as_deref().unwrap();
                prop_assert!(says(owner, &is_active));
            }
            if view.ground == Ground::Sum && view.state != State::Serving {
                prop_assert!(story.is_heard("a") && story.is_heard("b"), "silence is not emptiness");
            }
            if view.is_dual_active {
                prop_assert!(says("a", &is_active) && says("b", &is_active));
            }
            if view.ground == Ground::LastOwner {
                let since = *last_unowned.get_or_insert(story.now);
                prop_assert!(story.now < since + SETTLING);
                prop_assert!(!anybody(&is_active));
            } else {
                last_unowned = None;
            }
            if !story.is_heard("a") && !story.is_heard("b") {
                prop_assert!(matches!(view.state, State::Stale | State::Drained), "{view:?}");
            }
        }
        // Once all is silent, all is stale or drained, for ever.
        story.play("+30");
        if let Some(view) = &story.view {
            prop_assert!(matches!(view.ground, Ground::Silence | Ground::Held));
        }
    }
}
