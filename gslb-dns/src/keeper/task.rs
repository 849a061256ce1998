//! Where the keeper lives: one task that owns it, wakes it twice a second, and brings it what is asked.
//!
//! Everybody else has a `Desk`, at which questions wait their turn. The task decides nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

use super::command::Refused;
use super::{By, Keeper, Receipt, Reloaded, Then};
use crate::archive::Shelf;
use crate::config::{self, Prepared};
use crate::control::{self, Assigned, Behind, Heard, Told};
use crate::explain::Request;
use crate::health::entries::Moment;
use crate::judge::Now;
use crate::orders::OrderWords;
use crate::sight::{ServiceSeen, Sight, VantageSeen};
use crate::snapshot::Snapshot;
use crate::status::{OverrideTold, Status};

/// How often the overrides' file and the time are looked at. A change of the file is in force after two
/// looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// Questions that may wait: people's and scrapers', who are few. Who finds them all taken waits outside.
const WAITING: usize = 32;

/// Where the keeper is asked.
#[derive(Clone)]
pub struct Desk(mpsc::Sender<Asked>);

/// The other end, for `keep`.
pub struct Questions(mpsc::Receiver<Asked>);

enum Asked {
    /// Read beside the keeper, and answered when that is done.
    Reload(ReloadAsked),
    Question(Question),
}

/// What the keeper answers at once.
enum Question {
    Order(Box<(OrderWords, By)>, Answer<Result<Receipt, Refused>>),
    Overrides(Answer<Vec<OverrideTold>>),
    Status(Answer<Box<Status>>),
    Sight(Answer<Sight>),
    Vantages(Answer<Vec<VantageSeen>>),
    Then(Moment, Answer<Box<Then>>),
    History(Answer<Shelf>),
    Evidence(Box<Request>, Answer<(Arc<Snapshot>, Vec<ServiceSeen>)>),
    /// Somebody asked for a change who may only read.
    TurnedAway(By, Box<str>, Answer<()>),
}

struct ReloadAsked {
    by: By,
    answer: Answer<Result<Reloaded, String>>,
}

type Answer<T> = oneshot::Sender<T>;

/// The keeper has failed, or the server ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("nobody keeps the board any more: the server is ending, or its log tells why")]
pub struct AskError;

impl Desk {
    pub fn new() -> (Desk, Questions) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Desk(sender), Questions(receiver))
    }

    pub async fn order(
        &self,
        words: OrderWords,
        by: By,
    ) -> Result<Result<Receipt, Refused>, AskError> {
        self.ask(|answer| Asked::Question(Question::Order(Box::new((words, by)), answer))).await
    }

    /// Has the config read again; tells what came of it.
    pub async fn reload(&self, by: By) -> Result<Result<Reloaded, String>, AskError> {
        self.ask(|answer| Asked::Reload(ReloadAsked { by, answer })).await
    }

    pub async fn overrides(&self) -> Result<Vec<OverrideTold>, AskError> {
        self.ask(|answer| Asked::Question(Question::Overrides(answer))).await
    }

    pub async fn status(&self) -> Result<Box<Status>, AskError> {
        self.ask(|answer| Asked::Question(Question::Status(answer))).await
    }

    /// What vantages see of every service, and what is made of it.
    pub async fn sight(&self) -> Result<Sight, AskError> {
        self.ask(|answer| Asked::Question(Question::Sight(answer))).await
    }

    /// Who looks, and how its word counts.
    pub async fn vantages(&self) -> Result<Vec<VantageSeen>, AskError> {
        self.ask(|answer| Asked::Question(Question::Vantages(answer))).await
    }

    /// A moment that is not now, as far as it is known without looking into files.
    pub async fn then(&self, moment: Moment) -> Result<Box<Then>, AskError> {
        self.ask(|answer| Asked::Question(Question::Then(moment, answer))).await
    }

    /// Where history stands.
    pub async fn history(&self) -> Result<Shelf, AskError> {
        self.ask(|answer| Asked::Question(Question::History(answer))).await
    }

    /// What answers now, and what vantages see of the services that have a say.
    pub async fn evidence_for(
        &self,
        request: &Request,
    ) -> Result<(Arc<Snapshot>, Vec<ServiceSeen>), AskError> {
        let request = Box::new(request.clone());
        self.ask(|answer| Asked::Question(Question::Evidence(request, answer))).await
    }

    /// Has it noted that somebody asked for a change who may only read.
    pub async fn turned_away(&self, by: By, action: &str) {
        let action = action.into();
        // If nobody keeps the board any more, nobody keeps the audit log either.
        let _ = self.ask(|noted| Asked::Question(Question::TurnedAway(by, action, noted))).await;
    }

    async fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Asked) -> Result<T, AskError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(question(answer)).await.map_err(|_| AskError)?;
        answered.await.map_err(|_| AskError)
    }
}

/// A config being read and compiled, and those who asked for it.
struct Reading {
    task: JoinHandle<Result<Prepared, String>>,
    asked: Vec<ReloadAsked>,
}

/// What wakes the keeper.
enum Woken {
    Tick,
    Question(Question),
    Read(Vec<ReloadAsked>, Box<Result<Prepared, String>>),
    Told(Vec<Told>),
    Heard(Heard),
}

/// Reports that come so soon after others are heard together: the first is heard at once, and of hundreds a second each
/// waits this long at most, of the hundred that evidence may take to become an answer.
const GATHERED: Duration = Duration::from_millis(60);

/// Lets the keeper look at files and time twice a second, answers what is asked of it, and has it take
/// another world when one is asked for. Whoever keeps the certificates is told of it then.
pub async fn keep(
    mut keeper: Keeper,
    file: PathBuf,
    mut questions: Questions,
    mut reports: Option<Behind>,
    now: fn() -> Now,
    certificates: Arc<Notify>,
    mut stopping: watch::Receiver<bool>,
) {
    if let Some(Behind { shown, .. }) = &reports {
        keeper.show_at(shown.clone());
    }
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Read beside the keeper: a million names take a while, and orders must not wait for them.
    let mut reading: Option<Reading> = None;
    // Asked for while another was read: what was written meanwhile may not be in it.
    let mut waiting = Vec::new();
    let mut breath = tokio::time::interval(GATHERED);
    breath.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_gathering = false;
    loop {
        if reading.is_none() && !waiting.is_empty() {
            info!(file = %file.display(), "asked to reload");
            certificates.notify_one();
            let file = file.clone();
            let running = Arc::clone(&keeper.published().load().ground);
            let task = tokio::task::spawn_blocking(move || {
                let read = config::load_beside(&file, Some(&running.world));
                let prepared = read.and_then(|config| config.prepare_beside(Some(&running)));
                prepared.map_err(|problems| problems.to_string())
            });
            reading = Some(Reading { task, asked: std::mem::take(&mut waiting) });
        }
        let woken = tokio::select! {
            _ = stopping.changed() => break,
            _ = ticks.tick() => Woken::Tick,
            Some(asked) = questions.0.recv() => match asked {
                Asked::Reload(asked) => {
                    waiting.push(asked);
                    continue;
                }
                Asked::Question(question) => Woken::Question(question),
            },
            (asked, read) = finished(&mut reading) => Woken::Read(asked, Box::new(read)),
            _ = breath.tick(), if is_gathering => {
                is_gathering = false;
                continue;
            }
            woken = told(&mut reports), if !is_gathering => woken,
        };
        let has_heard = matches!(woken, Woken::Told(_));
        // Files are read and a board is built: off the runtime's own threads.
        let turn = tokio::task::spawn_blocking(move || {
            answer(&mut keeper, &mut reports, woken, now);
            (keeper, reports)
        });
        match turn.await {
            Ok(kept) => {
                (keeper, reports) = kept;
                if let Some(Behind { assigned, .. }) = &reports {
                    assign(&keeper, assigned);
                }
            }
            Err(error) => {
                error!(%error, "the keeper has failed: the last board stays, and no order or reload is heard, until a restart");
                return;
            }
        }
        if has_heard {
            is_gathering = true;
            breath.reset();
        }
    }
    // From here on nothing is taken that could be told once more to the next run.
    drop(reports);
    if let Err(error) = tokio::task::spawn_blocking(move || keeper.end(now())).await {
        error!(%error, "the keeper has failed: the last board stays, and no order or reload is heard, until a restart");
    }
}

/// Tells probes of the world that answers now, if they do not know it.
fn assign(keeper: &Keeper, assigned: &watch::Sender<Arc<Assigned>>) {
    let snapshot = keeper.published().load();
    let world = snapshot.world();
    let is_known = assigned.borrow().epoch == world.epoch;
    if !is_known {
        assigned.send_replace(Arc::new(Assigned::of(world)));
    }
}

/// Reports that wait, all that do: they are judged together. Or what a peer has told. Waits for ever where nobody tells
/// anything.
async fn told(behind: &mut Option<Behind>) -> Woken {
    let Some(Behind { told, heard, .. }) = behind else { return std::future::pending().await };
    let mut waiting = Vec::new();
    tokio::select! {
        count = told.recv_many(&mut waiting, control::QUEUE) => match count {
            // The listener has ended.
            0 => *behind = None,
            _ => return Woken::Told(waiting),
        },
        Some(heard) = heard.recv() => return Woken::Heard(heard),
    }
    std::future::pending().await
}

/// Hears the reports that wait, before it is looked at who is silent: where a disk, or all of us, stood still for longer
/// than a lease, they are what says that nobody is.
fn hear_waiting(keeper: &mut Keeper, reports: &mut Option<Behind>, clocks: Now) {
    let Some(Behind { told, .. }) = reports else { return };
    let mut waiting = Vec::new();
    while waiting.len() < control::QUEUE
        && let Ok(told) = told.try_recv()
    {
        waiting.push(told);
    }
    if !waiting.is_empty() {
        keeper.hear(waiting, clocks);
    }
}

fn answer(keeper: &mut Keeper, reports: &mut Option<Behind>, woken: Woken, clocks: fn() -> Now) {
    let now = || clocks().wall;
    // Who asked may have gone away: then nobody wants to know.
    match woken {
        Woken::Tick => {
            let clocks = clocks();
            hear_waiting(keeper, reports, clocks);
            keeper.turn(clocks);
        }
        Woken::Told(told) => keeper.hear(told, clocks()),
        Woken::Heard(heard) => {
            let clocks = clocks();
            hear_waiting(keeper, reports, clocks);
            keeper.hear_peer(heard, clocks);
        }
        Woken::Question(Question::Order(order, answer)) => {
            let (words, by) = *order;
            let _ = answer.send(keeper.order(&words, &by, now()));
        }
        Woken::Question(Question::TurnedAway(by, action, noted)) => {
            keeper.turn_away(&by, &action, now());
            let _ = noted.send(());
        }
        Woken::Question(Question::Overrides(answer)) if answer.is_closed() => {}
        Woken::Question(Question::Status(answer)) if answer.is_closed() => {}
        Woken::Question(Question::Sight(answer)) if answer.is_closed() => {}
        Woken::Question(Question::Vantages(answer)) if answer.is_closed() => {}
        Woken::Question(Question::Then(_, answer)) if answer.is_closed() => {}
        Woken::Question(Question::Evidence(_, answer)) if answer.is_closed() => {}
        Woken::Question(Question::Then(moment, answer)) => {
            let _ = answer.send(Box::new(keeper.then(&moment, now())));
        }
        Woken::Question(Question::Evidence(request, answer)) => {
            let _ = answer.send(keeper.evidence_for(&request, clocks()));
        }
        Woken::Question(Question::History(answer)) => {
            let _ = answer.send(keeper.history());
        }
        Woken::Question(Question::Overrides(answer)) => {
            let _ = answer.send(keeper.overrides(now()));
        }
        Woken::Question(Question::Sight(answer)) => {
            let _ = answer.send(keeper.sight(clocks()));
        }
        Woken::Question(Question::Vantages(answer)) => {
            let _ = answer.send(keeper.vantages(clocks()));
        }
        Woken::Question(Question::Status(answer)) => {
            let _ = answer.send(Box::new(keeper.status(now())));
        }
        Woken::Read(asked, read) => {
            let by = asked.first().map_or_else(By::itself, |asked| asked.by.clone());
            let told = match *read {
                Ok(next) => {
                    let clocks = clocks();
                    hear_waiting(keeper, reports, clocks);
                    Ok(keeper.adopt(next, &by, clocks))
                }
                Err(why) => {
                    keeper.refuse(&why, &by, now());
                    Err(why)
                }
            };
            for ReloadAsked { by: _, answer } in asked {
                let _ = answer.send(told.clone());
            }
        }
    }
}

/// What came of the reading; waits for ever while there is none. May be given up while it waits.
async fn finished(reading: &mut Option<Reading>) -> (Vec<ReloadAsked>, Result<Prepared, String>) {
    let Some(Reading { task, .. }) = reading else { return std::future::pending().await };
    let done = task.await;
    let asked = reading.take().map_or_else(Vec::new, |reading| reading.asked);
    // A panic is a defect of ours, and no reason to stop answering.
    let read = done.unwrap_or_else(|error| Err(format!("the config could not be read: {error}")));
    (asked, read)
}
