//! Judges what `file` holds and turns it into a `Site`: names become ids, defaults are filled in, and every problem is
//! told.
//!
//! agent · runtime · virtual_router · (health ─▶ server ─▶ pool) ─▶ (tls · rules ─▶ frontend) ─▶ site

mod agent;
mod bounds;
mod frontend;
mod health;
mod names;
mod place;
mod pool;
mod rules;
mod runtime;
mod server;
mod tls;
mod tracks;
mod virtual_router;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use common::config::problems::{Problem, Problems, Severity, Spot};
use common::config::read::{At, Document, Entries};
use common::config::settle::{self, or};
use common::report::agent::MOST_VIPS;

use self::names::Names;
use super::dated::Dated;
use super::words::ListenAddress;
use super::{Good, file};
use crate::site::{Frontend, Mode, Redundancy, Site};

/// What every judgement needs: where paths start from, and whom to tell.
struct Judge<'j> {
    reader: Reader,
    dir: &'j Path,
    good: &'j Good,
    problems: &'j mut Problems,
    warnings: &'j mut Problems,
    dated: &'j mut Vec<Dated>,
}

/// Whose process reads the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reader {
    Balancer,
    VirtualRouters,
}

/// Turns `site.toml` and the files it names into what runs. `None` if anything is wrong.
pub fn site(
    document: &Document<'_>,
    file: &Path,
    good: &Good,
    problems: &mut Problems,
    warnings: &mut Problems,
    dated: &mut Vec<Dated>,
) -> Option<Site> {
    let file::Site { agent, admin, runtime, vrrp, vrrp_service, frontend, pool } =
        document.read(problems)?;
    // Paths in a file start from its folder.
    let dir = file.parent().unwrap_or(Path::new(""));
    let reader = Reader::Balancer;
    let judge = &mut Judge { reader, dir, good, problems, warnings, dated };
    let report_to = agent.as_ref().and_then(told_whom);
    let agent = or(agent, None, |agent| agent::agent(agent, judge).map(Some));
    let admin = or(admin, None, |raw| door(raw.listen?, judge).map(Some));
    let runtime = or(runtime, None, |runtime| runtime::runtime(runtime, judge).map(Some));
    let balances = matches!(frontend, Some(Some(_)));
    let redundancy = redundant(vrrp_service, vrrp, balances, judge);
    let pool = or(pool, None, |pools| Some(Some(pools)))?.unwrap_or_default();
    let frontend = or(frontend, None, |frontends| Some(Some(frontends)))?.unwrap_or_default();
    names::bounded(&pool, judge)?;
    names::bounded(&frontend, judge)?;
    let names = Names::of(&pool);
    // A name and mode are known of a pool with which something is wrong, too.
    let (mut pools, mut modes) = (vec![], vec![]);
    let spots: Vec<Spot> = pool.0.iter().map(|(name, _)| name.spot.clone()).collect();
    for (name, raw) in pool.0 {
        judge.name(&name);
        let mode = raw.as_ref().and_then(|raw| or_default(&raw.value.mode));
        modes.push(mode);
        pools.push(raw.and_then(|raw| pool::pool(&name, raw, judge)));
    }
    let mut known = frontend::Known {
        names: &names,
        modes: &modes,
        used: vec![false; modes.len()],
        taken: BTreeMap::new(),
    };
    if let Some(Some(admin)) = &admin {
        known.taken.insert(admin.value.0, admin.spot.clone());
    }
    let mut frontends = vec![];
    if frontend.0.is_empty() {
        let message = "there is no frontend: add [frontend.NAME] with bind = [\"0.0.0.0:80\"] and pool = \"NAME\"";
        judge.problems.add(Problem::of_file(file, message));
    }
    for (name, raw) in frontend.0 {
        judge.name(&name);
        frontends.push(raw.and_then(|raw| frontend::frontend(&name, raw, &mut known, judge)));
    }
    for (spot, _) in spots.iter().zip(&known.used).filter(|(_, is_used)| !**is_used) {
        judge.warn(spot, "no frontend sends anything to this pool");
    }
    let frontends: Vec<Frontend> = frontends.into_iter().collect::<Option<_>>()?;
    let binds = frontends.iter().flat_map(|frontend| &frontend.bind);
    let vips = binds.filter(|at| !at.ip().is_unspecified()).count();
    if let Some(spot) = report_to.filter(|_| vips > MOST_VIPS) {
        let message = format!(
            "frontends bind {vips} addresses with their ports, and name servers are told of the first {MOST_VIPS} of \
             them alone, in the order of addresses; split the site among more agents"
        );
        judge.warn(&spot, message);
    }
    Some(Site {
        agent: agent?,
        admin: admin?.map(|admin| admin.value.0),
        runtime: runtime?,
        frontends,
        pools: pools.into_iter().collect::<Option<_>>()?,
        redundancy: redundancy?,
    })
}

/// Where people and scrapers come in: nobody is asked who they are.
fn door(listen: At<ListenAddress>, judge: &mut Judge<'_>) -> Option<At<ListenAddress>> {
    let ip = listen.value.0.ip();
    if is_for_anybody(ip) {
        let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.value.0.port());
        let message = format!(
            "everybody who can reach {ip} may read how things are, without a password; \"{loopback}\" is this machine's \
             alone"
        );
        judge.warn(&listen.spot, message);
    }
    Some(listen)
}

/// Whether an address is every one, or one that is no network's own (RFC 1918, 4193, 6598).
fn is_for_anybody(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}

/// What the virtual routers' service reads of the same file: what is wrong elsewhere is none of its business.
pub fn redundancy(
    document: &Document<'_>,
    file: &Path,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Option<Redundancy> {
    let file::Redundancy { vrrp, vrrp_service, frontend, .. } = document.read(problems)?;
    let dir = file.parent().unwrap_or(Path::new(""));
    let (good, dated) = (&Good::default(), &mut vec![]);
    let reader = Reader::VirtualRouters;
    let judge = &mut Judge { reader, dir, good, problems, warnings, dated };
    let balances = matches!(frontend, Some(Some(_)));
    let redundancy = redundant(vrrp_service, vrrp, balances, judge)?;
    if redundancy.routers.is_empty() {
        let message = "there is no virtual router: add [vrrp.NAME] with interface, vrid and vips";
        judge.problems.add(Problem::of_file(file, message));
        return None;
    }
    Some(redundancy)
}

/// Whether nothing in it is a balancer's: then it is the virtual routers' file, and whole.
pub fn is_of_routers_alone(document: &Document<'_>) -> bool {
    let asked = document.read::<file::Asked>(&mut Problems::default());
    asked.is_some_and(|file::Asked { vrrp, frontend, pool, .. }| {
        let is_there = |table: Option<Option<file::Skipped>>| table.flatten().is_some();
        is_there(vrrp) && !is_there(frontend) && !is_there(pool)
    })
}

/// Where the virtual routers' service is asked: what is wrong with anything else keeps nobody from asking.
pub fn service_socket(
    document: &Document<'_>,
    file: &Path,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let file::Asked { vrrp_service, .. } = document.read(problems)?;
    let dir = file.parent().unwrap_or(Path::new(""));
    let (good, warnings, dated) = (&Good::default(), &mut Problems::default(), &mut vec![]);
    let reader = Reader::VirtualRouters;
    let judge = &mut Judge { reader, dir, good, problems, warnings, dated };
    let socket = vrrp_service?.map_or(Some(None), |service| service.socket)?;
    virtual_router::socket(socket, judge)
}

fn redundant(
    service: Option<Option<file::VrrpService>>,
    routers: Option<Option<Entries<At<file::Vrrp>>>>,
    balances: bool,
    judge: &mut Judge<'_>,
) -> Option<Redundancy> {
    let (service, routers) = (service?, routers?);
    virtual_router::redundancy(service, routers.unwrap_or_default(), balances, judge)
}

/// Where it is said whom we tell, if we tell anybody.
fn told_whom(agent: &Option<file::Agent>) -> Option<Spot> {
    Some(agent.as_ref()?.report_to.as_ref()?.as_ref()?.spot.clone())
}

/// `None` if it could not be read, which has been told.
fn or_default(mode: &Option<Option<Mode>>) -> Option<Mode> {
    mode.as_ref().map(|mode| mode.unwrap_or_default())
}

impl Judge<'_> {
    fn wrong<T>(&mut self, spot: &Spot, message: impl Into<String>) -> Option<T> {
        self.problems.add(spot.problem(message));
        None
    }

    fn warn(&mut self, spot: &Spot, message: impl Into<String>) {
        self.warnings.add(spot.problem(message).weighing(Severity::Warning));
    }

    fn one<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        self.problems.one(result)
    }

    fn path(&mut self, written: &At<String>) -> Option<PathBuf> {
        self.problems.one(settle::path(written, self.dir))
    }

    /// Of a frontend, pool or server: it stands in logs and commands, between other words.
    fn name(&mut self, name: &At<String>) -> bool {
        let result = names::label(name);
        self.problems.one(result).is_some()
    }

    /// That a key is there which only the other mode has.
    fn only_http<T>(&mut self, what: &str, mode: Mode, raw: &Option<Option<At<T>>>) {
        if let (Mode::Tcp, Some(Some(At { spot, .. }))) = (mode, raw) {
            self.only_http_at(what, spot);
        }
    }

    fn only_http_at(&mut self, what: &str, spot: &Spot) {
        let message = format!(
            "is of requests, and this {what} is of mode \"tcp\"; remove it, or make it mode = \"http\""
        );
        self.problems.add(spot.problem(message));
    }
}
