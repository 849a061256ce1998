//! Keeps the board true: reads what operators wrote, builds a board, publishes it, remembers on disk.
//!
//! The shell around `health`: it owns the files and is told the time. One keeper, one writer of
//! snapshots. `task` is where it lives and whom others ask.

mod alarms;
mod beliefs;
mod command;
mod evidence;
mod insiders;
mod jar;
mod peering;
mod reception;
mod task;
mod telling;

pub use self::beliefs::{Beliefs, ENTRIES_FILE, LAST_KNOWN_FILE, OVERRIDES_FILE, Reread};
pub use self::command::{By, Receipt, Reloaded};
pub use self::evidence::{Evidence, VERDICTS_FILE};
pub use self::task::{AskError, Desk, keep};

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::{error, info, warn};

use self::jar::Jar;
use self::peering::Peering;
use self::reception::Receptions;
use crate::archive::{Archive, BOUNDS, Flaw, Shelf};
use crate::audit::{Audit, Outcome};
use crate::config::{Prepared, Problems, Severity};
use crate::control::{Changes, Told};
use crate::explain::{self, Request};
use crate::health::board::Board;
use crate::health::entries::Moment;
use crate::health::overrides::{Override, Phase, Unmatched};
use crate::history::Because;
use crate::ids::ServiceId;
use crate::judge::{News, Now, Standing};
use crate::metrics::WorldMetrics;
use crate::name::Name;
use crate::publish::Published;
use crate::sight::{ServiceSeen, Sight, VantageSeen};
use crate::snapshot::{Groundwork, Snapshot};
use crate::status::{LastReload, OverrideState, OverrideTold};
use crate::steer::Failing;
use crate::world::{Node, World};

/// Clocks are set right by less than this, and nobody need look.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(1);
/// While evidence changes much, what a restart will want to know of it is written so often. What has changed since is
/// decided anew by the first reports after a restart; only where none come does the older verdict hold. To write 10,000
/// verdicts takes some 10 ms of a core, and waits for the disk.
const PAUSE: Duration = Duration::from_secs(5);
/// While nothing is answered otherwise, other reasons for it are published so often: «12 of 20 vantages see it up» changes
/// with every vantage's word.
const WORDS_PAUSE: Duration = Duration::from_secs(2);

/// Logs what `check` warns of; its notes are for who asks.
pub fn tell_findings(findings: &Problems) {
    for why in findings.of(Severity::Warning) {
        warn!(why = why.to_string(), "the world is hardly meant so");
    }
}

/// Logs what could not be read of the history that was kept before.
fn tell_flaws(flaws: &[Flaw]) {
    for why in flaws {
        match why {
            Flaw::Torn(..) => {
                info!(why = why.to_string(), "history goes on after what a power cut left")
            }
            Flaw::Unreadable(_) => {
                warn!(
                    why = why.to_string(),
                    "some of the history cannot be read: it goes on in a new file"
                );
            }
        }
    }
}

/// A moment that is not now.
pub struct Then {
    pub ground: Arc<Groundwork>,
    /// As far as orders decide.
    pub board: Board,
    pub shelf: Shelf,
}

/// Publishes a new snapshot whenever what is believed, or the world, changes.
pub struct Keeper {
    /// As it was at the start: what it says of sockets and files holds until the end.
    node: Node,
    beliefs: Beliefs,
    evidence: Evidence,
    receptions: Receptions,
    history: Archive,
    ground: Arc<Groundwork>,
    /// Whose clients are told what they were answered from, by the last config that was good.
    trusted: Arc<[IpNet]>,
    published: Published,
    jar: Jar,
    peering: Peering,
    metrics: WorldMetrics,
    number: u64,
    phases: Vec<Phase>,
    /// Whether something is believed for other reasons than this board tells.
    has_words: bool,
    /// When a board that tells other reasons may follow the last such.
    words_due: Duration,
    /// Since when this board answers.
    since: Timestamp,
    /// What came of the last reload, if there was one.
    last_reload: Option<LastReload>,
    restart_needed: Vec<&'static str>,
    audit: Audit,
    /// Whether the overrides' file was good when last read.
    is_file_ok: bool,
    /// Why orders given before the start are not in force.
    lost: Option<String>,
    /// Whether it was told that the clock is behind the last order.
    is_behind: bool,
    started: Timestamp,
    /// Whether the disk holds what a restart will want to know.
    is_persisted: bool,
    /// Snapshots that some thread may still read.
    retired: Vec<Arc<Snapshot>>,
}

impl Keeper {
    /// Builds and publishes the first snapshot.
    pub fn start(
        node: &Node,
        mut ground: Groundwork,
        metrics: WorldMetrics,
        clocks: Now,
    ) -> Keeper {
        let now = clocks.wall;
        let (beliefs, reread) = Beliefs::read(node);
        ground.count_in(&metrics.ledgers);
        let ground = Arc::new(ground);
        let moment = beliefs.entries.not_before(now);
        let evidence = Evidence::read(&node.state_dir, &ground.world, clocks);
        let (mut history, flaws) = Archive::open(&node.state_dir, BOUNDS);
        let board = beliefs.board(1, &ground, evidence.views(), moment);
        history.begin(&ground.world, &board);
        let trusted = Arc::clone(&node.dns.trusted);
        let snapshot = Snapshot::new(Arc::clone(&ground), board).trusting(Arc::clone(&trusted));
        let published = Published::new(snapshot);
        let jar = Jar::open(published.clone(), node.dns.cookies.as_ref(), now);
        let listed = node.control.as_ref().map_or(&[][..], |control| &control.peers);
        let peering = Peering::new(listed, clocks.monotonic);
        let phases = beliefs.phases(moment);
        let (number, is_persisted, retired) = (1, true, vec![]);
        let mut keeper = Keeper {
            node: node.clone(),
            beliefs,
            evidence,
            receptions: Receptions::default(),
            history,
            ground,
            trusted,
            published,
            jar,
            peering,
            metrics,
            number,
            phases,
            has_words: false,
            words_due: clocks.monotonic,
            since: now,
            last_reload: None,
            restart_needed: vec![],
            audit: Audit::in_dir(&node.state_dir),
            is_file_ok: true,
            lost: None,
            is_behind: false,
            started: now,
            is_persisted,
            retired,
        };
        keeper.tell_world();
        keeper.metrics.reloads.config_ok.set(1);
        keeper.tell_overrides(now);
        // At a start, a file that says nothing is no news.
        if reread != Reread::Changed || !keeper.beliefs.overrides.is_empty() {
            keeper.tell_reread(&reread, now);
        }
        if matches!(reread, Reread::Refused(_)) {
            keeper.tell_unmatched(now); // Of the last good copy.
        }
        keeper.lost.clone_from(&keeper.beliefs.entries_lost);
        if let Some(why) = &keeper.lost {
            error!(why, "overrides given by command could not be read: none of them is in force");
        }
        tell_flaws(&flaws);
        keeper.settle(None);
        keeper.beliefs.remember(&keeper.published.load());
        keeper.persist(clocks);
        keeper.record(&By::itself(), "start", Outcome::Done, json!({}), now);
        keeper
    }

    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Looks again at the files and the time; swaps the snapshot if that changes anything.
    pub fn turn(&mut self, clocks: Now) {
        let now = clocks.wall;
        self.tell_clock(now);
        let reread = self.beliefs.reread();
        self.tell_reread(&reread, now);
        self.evidence.insiders.look(&self.ground.world, clocks.monotonic);
        self.update(&reread, clocks);
        self.persist(clocks);
        self.receptions.look(clocks.monotonic);
        self.tell_vantages();
        self.turn_peers(clocks);
        self.jar.turn(now);
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }

    /// Takes what probes and agents have told, and answers from what it comes to.
    pub fn hear(&mut self, told: Vec<Told>, clocks: Now) {
        let (mut is_news, mut is_from_inside) = (false, false);
        for Told { producer, head, changes, answer } in told {
            let name = &*producer.name;
            let reception = match changes {
                Changes::Probe(changes) => {
                    let (reception, says_more) = self.evidence.hear(name, &head, changes, clocks);
                    is_news |= says_more;
                    reception
                }
                Changes::Agent(site, vips) => {
                    is_from_inside = true;
                    let insiders = &mut self.evidence.insiders;
                    insiders.hear((name, &site), &head, vips, clocks.monotonic)
                }
            };
            self.receptions.tell(&producer, reception, clocks.monotonic);
            // Who told it may have gone away.
            let _ = answer.send(reception);
        }
        if is_from_inside {
            self.evidence.insiders.look(&self.ground.world, clocks.monotonic);
        }
        if is_news || is_from_inside && self.evidence.is_due(clocks.monotonic) {
            match self.evidence.judge(&self.ground.world, clocks) {
                News::Answers => self.follow(clocks.wall),
                News::Words => self.has_words = true,
                News::Nothing => {}
            }
        }
    }

    /// Answers from another world from now on. Sites keep what is believed of them, by name.
    pub fn adopt(&mut self, next: Prepared, by: &By, clocks: Now) -> Reloaded {
        let now = clocks.wall;
        let Prepared { file: _, node, mut ground, tests: _, findings } = next;
        self.tell_restart_needed(self.node.needs_restart_for(&node));
        self.jar.adopt(node.dns.cookies.as_ref(), now);
        self.metrics.reloads.config_ok.set(1);
        let epoch = ground.world.epoch;
        if epoch == self.ground.world.epoch {
            self.trust(&node.dns.trusted, now);
            self.metrics.reloads.unchanged.inc();
            info!(%epoch, "reloaded: the world is the same");
            self.reloaded(LastReload { at: now, refused: None }, by);
            return self.told(false, &findings, now);
        }
        self.trusted = Arc::clone(&node.dns.trusted);
        ground.count_in(&self.metrics.ledgers);
        let previous = std::mem::replace(&mut self.ground, Arc::new(ground));
        self.phases = self.beliefs.phases(self.moment(now));
        self.evidence.adopt(&self.ground.world, clocks);
        let board = self.next_board(now);
        let digest = board.digest;
        let answered = self.published.load();
        let (before, after) = ((&previous.world, &answered.board), (&self.ground.world, &board));
        let turned = self.history.reload(before, after);
        self.publish(board, now);
        self.forget(&previous.world);
        self.tell_world();
        self.settle(Some(&answered));
        telling::tell_turned(&turned);
        self.tell_unmatched(now);
        self.metrics.reloads.adopted.inc();
        info!(%epoch, board = self.number, %digest, "reloaded: the world has changed");
        let gone = telling::gone(&previous.world, &self.ground.world);
        for gone in &gone {
            warn!(gone, "a reload has taken out what was there before");
        }
        tell_findings(&findings);
        self.reloaded(LastReload { at: now, refused: None }, by);
        let mut told = self.told(true, &findings, now);
        told.attention.splice(0..0, gone.into_iter().map(|gone| format!("no more: {gone}")));
        told
    }

    fn told(&self, changed: bool, findings: &Problems, now: Timestamp) -> Reloaded {
        let restart = |key: &&str| format!("node.toml has another {key}, which needs a restart");
        let mut attention: Vec<String> = self.restart_needed.iter().map(restart).collect();
        attention.extend(self.untouching(now));
        attention.extend(findings.of(Severity::Warning).map(|why| why.to_string()));
        let epoch = self.ground.world.epoch.to_string();
        Reloaded { changed, epoch, board: self.number, attention }
    }

    /// Goes on as before: what was read is not fit to answer from.
    pub fn refuse(&mut self, why: &str, by: &By, now: Timestamp) {
        self.metrics.reloads.refused.inc();
        self.metrics.reloads.config_ok.set(0);
        for why in why.lines() {
            error!(why, "reload refused: the world that answered before still does");
        }
        self.reloaded(LastReload { at: now, refused: Some(why.to_owned()) }, by);
    }

    fn reloaded(&mut self, last: LastReload, by: &By) {
        let outcome = if last.refused.is_some() { Outcome::Refused } else { Outcome::Done };
        self.record(by, "reload", outcome, json!({ "why": last.refused }), last.at);
        self.last_reload = Some(last);
    }

    fn update(&mut self, reread: &Reread, clocks: Now) {
        let now = clocks.wall;
        let phases = self.beliefs.phases(self.moment(now));
        let is_due = self.evidence.is_due(clocks.monotonic);
        let news = match is_due {
            true => self.evidence.judge(&self.ground.world, clocks),
            false => News::Nothing,
        };
        self.has_words |= news == News::Words;
        let has_words_due = self.has_words && clocks.monotonic >= self.words_due;
        if *reread == Reread::Changed || phases != self.phases {
            self.rebuild(Because::Orders, now);
        } else if news == News::Answers || has_words_due {
            self.follow(now);
        } else {
            return;
        }
        // Whatever was published tells all that is believed.
        (self.has_words, self.words_due) = (false, clocks.monotonic + WORDS_PAUSE);
    }

    /// What time it is for orders: never before the last was given, whatever the clock says.
    fn moment(&self, now: Timestamp) -> Timestamp {
        self.beliefs.entries.not_before(now)
    }

    /// The board of what is believed now.
    fn next_board(&self, now: Timestamp) -> Board {
        let (number, views) = (self.number + 1, self.evidence.views());
        self.beliefs.board(number, &self.ground, views, self.moment(now))
    }

    /// Publishes the board of what is believed now, if it is another.
    fn rebuild(&mut self, because: Because, now: Timestamp) {
        // An order that began or ended meanwhile is in it too.
        let phases = self.beliefs.phases(self.moment(now));
        let because = if phases == self.phases { because } else { Because::Orders };
        self.phases = phases;
        self.tell_overrides(now);
        self.answer_from(self.next_board(now), because, now);
    }

    /// The same where evidence alone has changed since the last board, and orders have come as far as then.
    fn follow(&mut self, now: Timestamp) {
        let moment = self.moment(now);
        let phases = self.beliefs.phases(moment);
        if phases != self.phases {
            self.rebuild(Because::Orders, now);
            return;
        }
        let (number, views) = (self.number + 1, self.evidence.views());
        let before = self.published.load();
        let board = self.beliefs.next_board(&before.board, number, &self.ground, views, moment);
        self.answer_from(board, Because::Evidence, now);
    }

    /// Publishes a board, if it is another.
    fn answer_from(&mut self, board: Board, because: Because, now: Timestamp) {
        let before = self.published.load();
        if board.agrees_with(&before.board) {
            return;
        }
        let digest = board.digest;
        self.replace(&before, board, because, now);
        info!(board = self.number, %digest, "board changed");
    }

    /// Answers from another board of the present world from now on.
    fn replace(&mut self, before: &Snapshot, board: Board, because: Because, now: Timestamp) {
        let noted = self.history.change(&self.ground.world, &before.board, &board, because);
        self.metrics.history_changes.inc_by(noted.changes as u64);
        self.publish(board, now);
        self.settle(Some(before));
        telling::tell_turned(&noted.turned);
    }

    /// Answers from this board of the present world from now on.
    fn publish(&mut self, board: Board, now: Timestamp) {
        self.number = board.number;
        self.since = now;
        let running = self.published.load();
        let next = Snapshot::beside(Arc::clone(&self.ground), board, Some(&running));
        let next = next.trusting(Arc::clone(&self.trusted));
        self.retired.push(self.published.swap(next));
        // Before there is another: who was fit last is who was on the board before, whenever anybody looks.
        self.beliefs.remember(&self.published.load());
    }

    /// Tells these clients what they are answered from, in a world that is the same.
    fn trust(&mut self, trusted: &Arc<[IpNet]>, now: Timestamp) {
        if *trusted == self.trusted {
            return;
        }
        self.trusted = Arc::clone(trusted);
        self.phases = self.beliefs.phases(self.moment(now));
        let board = self.next_board(now);
        self.replace(&self.published.load(), board, Because::Orders, now);
    }

    /// What vantages see of every service, and what is made of it.
    pub fn sight(&self, clocks: Now) -> Sight {
        let snapshot = self.published.load();
        self.evidence.sight_of(&self.ground.world, &snapshot.board, clocks).sight()
    }

    /// Who looks, and how its word counts.
    pub fn vantages(&self, clocks: Now) -> Vec<VantageSeen> {
        let snapshot = self.published.load();
        self.evidence.sight_of(&self.ground.world, &snapshot.board, clocks).vantages()
    }

    /// The present world, what orders make of some moment in it, and where history has what was believed then.
    pub fn then(&self, moment: &Moment, now: Timestamp) -> Then {
        let board = self.beliefs.board_of(moment, &self.ground, self.evidence.views(), now);
        Then { ground: Arc::clone(&self.ground), board, shelf: self.history.shelf() }
    }

    /// Where history stands.
    pub fn history(&self) -> Shelf {
        self.history.shelf()
    }

    /// What the world of now has for an explanation of now: the snapshot that answers, and what vantages see of the
    /// services that have a say.
    pub fn evidence_for(
        &self,
        request: &Request,
        clocks: Now,
    ) -> (Arc<Snapshot>, Vec<ServiceSeen>) {
        let snapshot = self.published.load();
        let services = explain::services(&snapshot, &self.node.name, request);
        let sight = self.evidence.sight_of(snapshot.world(), &snapshot.board, clocks);
        let seen = services.into_iter().map(|id| sight.service(id)).collect();
        (snapshot, seen)
    }

    /// How far the clock is behind the last order, if it is so far that somebody should look.
    fn clock_behind(&self, now: Timestamp) -> Option<SignedDuration> {
        let behind = self.moment(now).duration_since(now);
        (behind > CLOCK_SLACK).then_some(behind)
    }

    /// Whether all that operators said could be read.
    fn overrides_ok(&self) -> bool {
        self.is_file_ok && self.beliefs.entries_lost.is_none()
    }

    /// Writes what a restart will want to know; tried again every turn until it is done.
    fn persist(&mut self, clocks: Now) {
        let now = clocks.monotonic;
        let kept = self.beliefs.keep_overrides().and(self.beliefs.keep_entries());
        let kept = kept.and(self.evidence.persist(&self.beliefs.state_dir, now));
        let kept = kept.and(self.beliefs.keep_last_known(now)).and(self.keep_history());
        self.tell_kept(kept);
    }

    /// Nobody is heard any more: writes all that the next start will want to know, however lately that was done.
    pub fn end(&mut self, clocks: Now) {
        let now = clocks.monotonic;
        let kept = self.beliefs.keep_overrides().and(self.beliefs.keep_entries());
        let kept = kept.and(self.evidence.write(&self.beliefs.state_dir, now));
        let kept = kept.and(self.beliefs.write_last_known(now)).and(self.keep_history());
        self.tell_kept(kept);
    }

    fn keep_history(&mut self) -> io::Result<()> {
        let kept = self.history.flush();
        self.metrics.history_ok.set(i64::from(kept.is_ok()));
        kept
    }

    fn tell_kept(&mut self, kept: io::Result<()>) {
        self.metrics.state_ok.set(i64::from(kept.is_ok()));
        match kept {
            Ok(()) => self.is_persisted = true,
            // Told once, not every turn.
            Err(error) if std::mem::take(&mut self.is_persisted) => {
                error!(%error, dir = %self.beliefs.state_dir.display(), "the state could not be written: a restart would not know it; trying again");
            }
            Err(_) => {}
        }
    }
}
