//! What a keeper makes of reports: boards that follow one another are those that would be made from nothing, and the
//! disk has what a restart will want to know.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod clocks;
mod files;

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use clocks::clocks;
use common::principal::{Kind, Principal};
use common::report::{Boot, Digest, Entry, EntryHash, Head, Mark, Own, Phases, State};
use common::target::TargetId;
use gslb_dns::config::{self, Config};
use gslb_dns::control::{Assigned, Behind, Changes, Told};
use gslb_dns::health::board::Health;
use gslb_dns::health::entries::{Moment, Ordered};
use gslb_dns::ids::ServiceId;
use gslb_dns::inbox::stream::{Change, Reception};
use gslb_dns::judge::Now;
use gslb_dns::keeper::{
    self, By, Desk, ENTRIES_FILE, Keeper, LAST_KNOWN_FILE, Then, VERDICTS_FILE,
};
use gslb_dns::locate::Client;
use gslb_dns::metrics::Metrics;
use gslb_dns::orders::OrderWords;
use gslb_dns::snapshot::{Chosen, Snapshot};
use gslb_dns::steer::Family;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::yield_now;

use files::Files;

const VANTAGES: [&str; 3] = ["ams", "lhr", "nyc"];
/// Of a story, on the clocks of those who look.
const BEGINNING: Duration = Duration::from_secs(10);

/// Three services that know nothing of each other; the last is watched by nobody.
const WORLD: &str = r#"
[zone."example.com"]
file = "example.com.zone"
[site.fra]
vips = ["198.51.100.10", "198.51.100.11"]
[site.iad]
vips = ["192.0.2.10"]
[vantage.ams]
[vantage.lhr]
[vantage.nyc]
[check.web]
kind = "tcp"
port = 80
[service."www.example.com"]
sites = ["fra", "iad"]
check = ["web"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "last-known"
[service."api.example.com"]
sites = ["iad", "fra"]
steer = ["failover"]
check = ["web"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 1.0 }
when_all_down = "open"
[service."old.example.com"]
sites = ["iad", "fra"]
when_all_down = "open"
"#;

struct Story {
    files: Files,
    keeper: Keeper,
    began: Timestamp,
    now: Timestamp,
    seq: u64,
    said: Vec<Vec<(TargetId, State)>>,
}

impl Story {
    fn begin() -> Story {
        let files = Files::of(WORLD);
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let keeper = Story::keeper(&files, now);
        let said = vec![vec![]; VANTAGES.len()];
        let mut story = Story { files, keeper, began: now, now, seq: 0, said };
        // Everything is up, and the grace of the start is over.
        for vantage in 0..VANTAGES.len() {
            let all = story.targets().into_iter().map(|target| (target, State::Up)).collect();
            story.say(vantage, all);
        }
        story.pass(11);
        story
    }

    fn keeper(files: &Files, now: Timestamp) -> Keeper {
        let prepared = config::load(&files.node()).and_then(Config::prepare);
        let prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
        Keeper::start(&prepared.node, prepared.ground, Metrics::new(vec![]).world, clocks(now))
    }

    fn targets(&self) -> Vec<TargetId> {
        self.keeper.published().load().world().targets.iter().map(|(id, _)| *id).collect()
    }

    fn www(&self) -> ServiceId {
        self.service("www")
    }

    fn service(&self, begins: &str) -> ServiceId {
        let snapshot = self.keeper.published().load();
        let is_it =
            |id: &ServiceId| snapshot.world().service(*id).name.to_string().starts_with(begins);
        snapshot.world().service_ids().find(is_it).unwrap()
    }

    /// What is looked at of one site of `www`.
    fn of_site(&self, candidate: usize) -> Vec<TargetId> {
        self.of_candidate(self.www(), candidate)
    }

    fn of_candidate(&self, service: ServiceId, candidate: usize) -> Vec<TargetId> {
        let snapshot = self.keeper.published().load();
        let world = snapshot.world();
        let watch = world.service(service).watch.as_ref().unwrap();
        let targets = watch.candidates[candidate].iter().flat_map(|vip| &vip.targets);
        targets.map(|target| world.targets[*target].0).collect()
    }

    /// Second by second, in which everybody says that nothing has changed.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now = self.now.checked_add(Duration::from_secs(1)).unwrap();
            (0..VANTAGES.len()).for_each(|vantage| self.say(vantage, vec![]));
            self.keeper.turn(clocks(self.now));
            self.check();
        }
        // Other reasons for the same are published every two seconds at most.
        let published = self.keeper.published().load();
        assert!(seconds < 2 || self.anew().board.agrees_with(&published.board));
    }

    fn all_say(&mut self, targets: &[TargetId], state: State) {
        for vantage in 0..VANTAGES.len() {
            self.say(vantage, targets.iter().map(|target| (*target, state)).collect());
            self.check();
        }
    }

    fn say(&mut self, vantage: usize, news: Vec<(TargetId, State)>) {
        let (told, mut answered) = self.tell(vantage, news);
        self.keeper.hear(vec![told], clocks(self.now));
        assert!(matches!(answered.try_recv().unwrap(), Reception::Taken(_)));
    }

    /// A whole report each time.
    fn tell(
        &mut self,
        vantage: usize,
        news: Vec<(TargetId, State)>,
    ) -> (Told, oneshot::Receiver<Reception>) {
        let said = &mut self.said[vantage];
        said.retain(|(target, _)| !news.iter().any(|(other, _)| other == target));
        said.extend(news);
        self.seq += 1;
        let mut digest = Digest::default();
        let changes = said.iter().map(|(target, state)| {
            let hash = EntryHash::of(&format!("{target}{state}"));
            digest.add(hash);
            let entry = Entry {
                target: *target,
                state: *state,
                since: 5000,
                streak: 0,
                need: 3,
                flaps: 0,
                phases_ms: Phases::default(),
                reason: None,
                detail: String::new(),
                cert_days: None,
            };
            (*target, Change::Said(hash, entry))
        });
        let changes = Changes::Probe(changes.collect());
        let producer = Principal::new("test", Kind::Probe, VANTAGES[vantage]).unwrap();
        // Its clock goes on as ours does: what began once began then.
        let elapsed = clocks(self.now).monotonic - clocks(self.began).monotonic;
        let head = Head { now: BEGINNING + elapsed, ..head(VANTAGES[vantage], self.seq, digest) };
        let (answer, answered) = oneshot::channel();
        (Told { producer, head, changes, answer }, answered)
    }

    fn anew(&self) -> Snapshot {
        let moment = Moment { at: self.now, ordered: Ordered::UpTo(u64::MAX) };
        // Of a moment to come, what is seen now is taken.
        let before = self.now - jiff::SignedDuration::from_nanos(1);
        let Then { ground, board, .. } = self.keeper.then(&moment, before);
        Snapshot::new(ground, board)
    }

    /// What answers is what would be made of it from nothing; for a while, for other reasons perhaps.
    fn check(&self) {
        let (running, anew) = (self.keeper.published().load(), self.anew());
        assert_eq!(anew.board.digest, running.board.digest);
        for service in (0..3).map(ServiceId) {
            assert_eq!(anew.failing(service), running.failing(service));
            for network in 0..32_u8 {
                let client = Client::resolver(IpAddr::from([9, 9, network, 1]));
                let of = |snapshot: &Snapshot| snapshot.decide(service, Family::V4, &client, 7);
                assert_eq!(of(&anew), of(&running), "{service:?}");
                for candidate in 0..2 {
                    let vips =
                        |snapshot: &Snapshot| snapshot.live(service, None).vips(candidate).cloned();
                    assert_eq!(vips(&anew), vips(&running));
                }
            }
        }
    }

    fn health(&self, candidate: usize) -> Health {
        let snapshot = self.keeper.published().load();
        snapshot.board.of_service(self.www()).standings[candidate].health
    }

    fn kept(&self) -> Option<String> {
        fs::read_to_string(self.files.node().with_file_name("state").join(VERDICTS_FILE)).ok()
    }
}

/// Of a whole report.
fn head(vantage: &str, seq: u64, digest: Digest) -> Head {
    Head {
        cluster: "test".into(),
        producer: vantage.into(),
        kind: Kind::Probe,
        boot: Boot([1; 16]),
        mark: Mark { inc: 1, seq },
        base: None,
        now: BEGINNING,
        digest,
        valid: Duration::from_secs(10),
        own: Own::default(),
    }
}

#[test]
fn boards_that_follow_are_those_made_from_nothing() {
    let mut story = Story::begin();
    let (fra, iad) = (story.of_site(0), story.of_site(1));
    let number = |story: &Story| story.keeper.published().load().board.number;
    let before = number(&story);
    // An address, the site, its return, both sites; with an order between.
    story.all_say(&fra[..1], State::Down);
    assert_eq!(story.health(0), Health::Up);
    story.all_say(&fra, State::Down);
    assert_eq!(story.health(0), Health::Down);
    let words = OrderWords {
        order: "drain".into(),
        site: "iad".into(),
        why: "test".into(),
        over: Some("1m".into()),
        anyway: true,
        ..OrderWords::default()
    };
    story.keeper.order(&words, &By::itself(), story.now).unwrap();
    story.check();
    story.pass(20);
    story.all_say(&fra, State::Up);
    story.all_say(&iad, State::Slow);
    story.pass(50);
    story.all_say(&iad, State::Down);
    story.all_say(&fra, State::Down);
    story.pass(2);
    story.files.put("world.toml", WORLD.replace("\"fra\", \"iad\"", "\"iad\", \"fra\""));
    let next = config::load(&story.files.node()).and_then(Config::prepare);
    story.keeper.adopt(next.ok().unwrap(), &By::signal(), clocks(story.now));
    story.check();
    story.all_say(&fra, State::Up);
    story.pass(3);
    assert!(number(&story) > before + 10);
}

#[test]
fn verdicts_are_written_at_once_after_a_quiet_time_and_then_now_and_then() {
    let mut story = Story::begin();
    let fra = story.of_site(0);
    story.pass(30);
    let quiet = story.kept().unwrap();
    assert!(!quiet.contains("down"));
    story.all_say(&fra, State::Down);
    story.pass(1);
    let first = story.kept().unwrap();
    assert!(first.contains("down"));
    story.all_say(&fra, State::Up);
    story.pass(3);
    assert_eq!(story.kept().unwrap(), first, "within the pause");
    story.pass(3);
    assert!(!story.kept().unwrap().contains("down"));
}

#[test]
fn what_could_not_be_written_is_written_once_there_is_room() {
    let mut story = Story::begin();
    story.pass(30);
    let fra = story.of_site(0);
    let state = story.files.node().with_file_name("state");
    let kept = [VERDICTS_FILE, LAST_KNOWN_FILE, ENTRIES_FILE, "overrides.last-good.toml"]
        .map(|file| state.join(file));
    let octets = || kept.iter().map(|file| fs::read(file).ok()).collect::<Vec<_>>();
    let before = octets();
    let in_the_way = kept.each_ref().map(|file| file.with_added_extension("new"));
    in_the_way.iter().for_each(|file| fs::create_dir(file).unwrap());
    story.all_say(&fra, State::Down);
    let words = OrderWords {
        order: "drain".into(),
        site: "fra".into(),
        why: "test".into(),
        ..OrderWords::default()
    };
    story.keeper.order(&words, &By::itself(), story.now).unwrap();
    story.files.put(
        "state/overrides.toml",
        "[[override]]\nsite = \"fra\"\ndrain = true\nwhy = \"test\"\nwho = \"test\"\n",
    );
    // From now on nobody says anything: no news has it written but that there is room.
    let mut turn =
        |seconds| story.keeper.turn(clocks(story.now + SignedDuration::from_secs(seconds)));
    for second in 1..5 {
        turn(second);
        assert_eq!(octets(), before);
    }
    in_the_way.iter().for_each(|file| fs::remove_dir(file).unwrap());
    turn(5);
    for (number, (before, after)) in before.iter().zip(octets()).enumerate() {
        assert!(after.is_some() && after != *before, "{:?}", kept[number]);
    }
}

#[test]
fn what_is_told_right_before_a_stop_is_known_after_it() {
    let mut story = Story::begin();
    let fra = story.of_site(0);
    story.all_say(&fra[..1], State::Down);
    story.pass(1);
    // Within the pause: a verdict, and reports in whose place an older one could be told again.
    story.all_say(&fra, State::Down);
    let (first, last) = (story.seq - 2, story.seq);
    assert!(!story.kept().unwrap().contains(&format!("\"seq\":{last}")));
    story.keeper.end(clocks(story.now));
    let files = story.files;
    let mut again = Story::keeper(&files, story.now);
    assert_eq!(again.published().load().board.digest, story.keeper.published().load().board.digest);
    for (vantage, seq) in VANTAGES.iter().zip(first..=last) {
        let producer = Principal::new("test", Kind::Probe, vantage).unwrap();
        let (answer, mut answered) = oneshot::channel();
        let head = head(vantage, seq, Digest::default());
        again.hear(
            vec![Told { producer, head, changes: Changes::Probe(vec![]), answer }],
            clocks(story.now),
        );
        assert_eq!(answered.try_recv().unwrap(), Reception::Behind(Mark { inc: 1, seq }));
    }
}

#[test]
fn who_was_fit_last_does_not_depend_on_when_the_keeper_looks() {
    let boards = [false, true].map(|looks| {
        let mut story = Story::begin();
        let api = story.service("api");
        let (iad, fra) = (story.of_candidate(api, 0), story.of_candidate(api, 1));
        story.all_say(&iad, State::Down);
        if looks {
            story.keeper.turn(clocks(story.now));
        }
        story.all_say(&fra, State::Down);
        let snapshot = story.keeper.published().load();
        let api = snapshot.board.of_service(api);
        assert!(!api.has_fit());
        // It was fra.
        assert_eq!(api.last_known.iter().collect::<Vec<_>>(), [1]);
        snapshot.board.digest
    });
    assert_eq!(boards[0], boards[1]);
}

#[test]
fn where_all_are_down_and_answered_all_the_same_the_policy_decides() {
    let mut story = Story::begin();
    let api = story.service("api");
    let check = |story: &Story, expected: u8| {
        let snapshot = story.keeper.published().load();
        for network in 0..64 {
            let client = Client::resolver(IpAddr::from([9, 9, network, 1]));
            let Chosen::Sites(choice) = snapshot.decide(api, Family::V4, &client, 7).chosen else {
                panic!("{network}: nobody");
            };
            assert_eq!(&choice.taken[..], [expected], "{network}");
        }
    };
    check(&story, 0);
    for candidate in [0, 1] {
        let site = story.of_candidate(api, candidate);
        story.all_say(&site, State::Down);
        // The first alone is down, then both: its clients are sent there as if it were up.
        check(&story, 1 - candidate as u8);
    }
    assert!(!story.keeper.published().load().board.of_service(api).has_fit());
}

#[test]
fn a_vantage_that_left_the_world_and_is_named_again_has_said_nothing() {
    let mut story = Story::begin();
    let standings = |story: &Story| {
        let vantages = story.keeper.vantages(clocks(story.now));
        vantages.into_iter().map(|seen| (seen.standing, seen.up)).collect::<Vec<_>>()
    };
    let before = standings(&story);
    assert!(before[2].1 > 0);
    for world in [WORLD.replace("[vantage.nyc]\n", ""), WORLD.to_owned()] {
        story.files.put("world.toml", &world);
        let next = config::load(&story.files.node()).and_then(Config::prepare);
        story.keeper.adopt(next.ok().unwrap(), &By::signal(), clocks(story.now));
    }
    let after = standings(&story);
    assert_eq!(after[..2], before[..2]);
    assert_eq!(after[2], ("never_heard", 0));
    story.say(2, vec![]);
    assert_eq!(standings(&story), before);
}

/// Seconds since 1970, for a keeper that runs by itself.
static CLOCK: AtomicI64 = AtomicI64::new(0);
/// Whoever asks for the time waits, as for a disk.
static STANDS_STILL: AtomicBool = AtomicBool::new(false);
static SOMEBODY_WAITS: AtomicBool = AtomicBool::new(false);

fn clock() -> Now {
    while STANDS_STILL.load(SeqCst) {
        SOMEBODY_WAITS.store(true, SeqCst);
        thread::yield_now();
    }
    clocks(Timestamp::from_second(CLOCK.load(SeqCst)).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_told_while_the_keeper_stood_still_is_heard_before_it_is_found_silent() {
    let mut story = Story::begin();
    story.pass(5);
    let rounds: Vec<Vec<_>> =
        (0..8).map(|_| (0..VANTAGES.len()).map(|one| story.tell(one, vec![])).collect()).collect();
    let Story { files, keeper, now, .. } = story;
    CLOCK.store(now.as_second(), SeqCst);
    let published = keeper.published().clone();
    let before = published.load().board.number;
    let (told, reports) = mpsc::channel(VANTAGES.len());
    let (heard, shown) = (mpsc::channel(1).1, watch::channel(Arc::default()).0);
    let assigned = Assigned::of(published.load().world());
    let assigned = watch::channel(Arc::new(assigned)).0;
    let behind = Behind { assigned, told: reports, shown, heard };
    let (desk, questions) = Desk::new();
    let (stop, stopping) = watch::channel(false);
    let certificates = Arc::new(Notify::new());
    let file = files.node();
    let keeping =
        keeper::keep(keeper, file, questions, Some(behind), clock, certificates, stopping);
    let keeping = tokio::spawn(keeping);
    for round in rounds {
        SOMEBODY_WAITS.store(false, SeqCst);
        STANDS_STILL.store(true, SeqCst);
        let asking = tokio::spawn({
            let desk = desk.clone();
            async move { desk.status().await }
        });
        while !SOMEBODY_WAITS.load(SeqCst) {
            yield_now().await;
        }
        let mut answers = vec![];
        for (report, answered) in round {
            told.send(report).await.unwrap();
            answers.push(answered);
        }
        // Longer than any report holds.
        CLOCK.fetch_add(11, SeqCst);
        STANDS_STILL.store(false, SeqCst);
        asking.await.unwrap().unwrap();
        for answered in answers {
            assert!(matches!(answered.await.unwrap(), Reception::Taken(_)));
        }
    }
    assert_eq!(published.load().board.number, before);
    stop.send_replace(true);
    keeping.await.unwrap();
}
