//! What vantages see and agents say, as words, and what is believed of sites then.

use super::*;

pub(super) const SITES: &str = r#"
[zone."example.com"]
file = "steer.zone"

[site.fra]
vips = ["192.0.2.1"]
[site.iad]
vips = ["192.0.2.2"]
[site.nrt]
vips = ["192.0.2.3", "2001:db8::3"]

[vantage.a]
place = { country = "NL" }
[vantage.b]
place = { country = "US" }
[vantage.c]
place = { country = "JP" }

[check.web]
kind = "tcp"
port = 80

[service."www.example.com"]
sites = ["fra", "iad", "nrt"]
check = ["web"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "open"
ttl = { max = "30s" }
"#;

/// The boards' clock begins here, and the probes' own somewhere else.
pub(super) const START: Duration = Duration::from_secs(100_000);
pub(super) const BEHIND: Duration = Duration::from_secs(7_000);

pub(super) struct Vantage {
    pub(super) boot: u8,
    pub(super) seq: u64,
    pub(super) blind: bool,
    /// By target: state, since, refused, flaps.
    pub(super) says: BTreeMap<TargetId, (char, Duration, u32)>,
}

pub(super) struct Story {
    pub(super) world: World,
    pub(super) inbox: Inbox,
    pub(super) judge: Judge,
    /// What agents say, and how often that has changed.
    pub(super) inside: inside::Views,
    pub(super) heard: u64,
    pub(super) now: Duration,
    /// For so long each report is on its way here.
    pub(super) under_way: Duration,
    pub(super) vantages: BTreeMap<char, Vantage>,
}

impl Story {
    pub(super) fn new(sites: &str, held: Held) -> Story {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steer");
        let world = config::world_from_str(sites, &dir).unwrap_or_else(|why| panic!("{why}"));
        let (inbox, judge) = (Inbox::default(), Judge::new(held, START));
        let (now, under_way, vantages) = (START, Duration::ZERO, BTreeMap::new());
        let (inside, heard) = (inside::Views::new(), 0);
        Story { world, inbox, judge, inside, heard, now, under_way, vantages }
    }

    /// `abc:fra-` (all three say so; `+` up, `1` and `2` up after so many failures of three, `~` slow, `-` silent, `!`
    /// refused), `a:blind`, `a:sees`, `13s` (they go on
    /// saying it), `quiet:13s` (nobody says anything); `in:fra=serving/900` is what its agents say of every port, and what it can
    /// take; `in:fra=nothing`.
    pub(super) fn run(&mut self, words: &str) {
        for word in words.split_whitespace() {
            if let Some(seconds) = word.strip_prefix("quiet:") {
                self.now += Duration::from_secs(seconds.trim_end_matches('s').parse().unwrap());
                continue;
            }
            if let Some(said) = word.strip_prefix("in:") {
                let (site, said) = said.split_once('=').unwrap();
                self.say_within(site, said);
                self.views();
                continue;
            }
            let Some((who, what)) = word.split_once(':') else {
                for _ in 0..word.trim_end_matches('s').parse::<u64>().unwrap() {
                    self.now += Duration::from_secs(1);
                    let all: Vec<char> = self.vantages.keys().copied().collect();
                    all.into_iter().for_each(|vantage| self.report(vantage));
                    self.views();
                }
                continue;
            };
            for vantage in who.chars() {
                self.say(vantage, what);
                self.report(vantage);
                self.views();
            }
        }
    }

    pub(super) fn say(&mut self, name: char, what: &str) {
        let now = self.now;
        let vantage = self.vantages.entry(name).or_insert(Vantage {
            boot: name as u8,
            seq: 0,
            blind: false,
            says: BTreeMap::new(),
        });
        if let Some(blind) =
            [("blind", true), ("sees", false)].iter().find(|(word, _)| *word == what)
        {
            vantage.blind = blind.1;
            return;
        }
        let (site, state) = what.split_at(what.len() - 1);
        let state = state.chars().next().unwrap();
        let (site, family) = site.split_at(3);
        let index = self.world.sites.iter().position(|one| &*one.name == site).unwrap();
        for (id, target) in &self.world.targets {
            let common::target::Address::Ip(address) = target.address else { continue };
            let vips = &self.world.sites[index].vips;
            let is_meant = match family {
                "6" => address.is_ipv6(),
                "4" => address.is_ipv4(),
                _ => true,
            };
            if !is_meant || !vips.all().any(|vip| vip == address) {
                continue;
            }
            let is_up = |state| matches!(state, '+' | '~' | '1' | '2');
            let (before, since, flaps) = vantage.says.get(id).copied().unwrap_or((state, now, 0));
            let flips = is_up(before) != is_up(state);
            let since = if flips { now } else { since };
            vantage.says.insert(*id, (state, since, flaps + u32::from(flips)));
        }
    }

    pub(super) fn say_within(&mut self, site: &str, said: &str) {
        let (family, site) = match site.split_at(3) {
            (site, "") => (None, site),
            (site, family) => (Some(family == "6"), site),
        };
        let (state, capacity) = match said.split_once('/') {
            Some((state, capacity)) => (state, Some(capacity.parse().unwrap())),
            None => (said, None),
        };
        let state = [State::Serving, State::Empty, State::Drained, State::Stale]
            .into_iter()
            .find(|one| one.as_str() == state);
        let vips = &self.world.sites.iter().find(|one| &*one.name == site).unwrap().vips;
        let vips: Vec<IpAddr> = vips.all().collect();
        let ports: Vec<u16> = self.world.targets.iter().map(|(_, target)| target.port).collect();
        let views = self.inside.entry(site.into()).or_default();
        for address in vips {
            if family.is_some_and(|is_v6| address.is_ipv6() != is_v6) {
                continue;
            }
            for port in &ports {
                let at = SocketAddr::new(address, *port);
                match state {
                    Some(state) => {
                        let last = views.get(&at).cloned();
                        views.insert(at, view_within(self.now, last, state, capacity));
                    }
                    None => drop(views.remove(&at)),
                }
            }
        }
        self.heard += 1;
    }

    pub(super) fn report(&mut self, name: char) {
        let vantage = self.vantages.get_mut(&name).unwrap();
        vantage.seq += 1;
        let mut digest = Digest::default();
        let changes = vantage.says.iter().map(|(id, (state, since, flaps))| {
            let octets = format!("{id}{state}{since:?}{flaps}");
            digest.add(EntryHash::of(&octets));
            let entry = Entry {
                target: *id,
                state: match state {
                    '+' | '1' | '2' => report::State::Up,
                    '~' => report::State::Slow,
                    '-' | '!' => report::State::Down,
                    _ => report::State::None,
                },
                since: (*since - BEHIND).as_millis() as u64,
                streak: state.to_digit(10).unwrap_or(0) as u16,
                need: 3,
                flaps: *flaps,
                phases_ms: Phases::default(),
                reason: match state {
                    '-' => Some(Reason::Timeout),
                    '!' => Some(Reason::Refused),
                    _ => None,
                },
                detail: String::new(),
                cert_days: None,
            };
            (*id, Change::Said(EntryHash::of(&octets), entry))
        });
        let changes: Vec<_> = changes.collect();
        let head = Head {
            cluster: "example".into(),
            producer: name.to_string(),
            kind: Kind::Probe,
            boot: Boot([vantage.boot; 16]),
            mark: Mark { inc: 1, seq: vantage.seq },
            base: None,
            now: self.now - self.under_way - BEHIND,
            digest,
            valid: Duration::from_secs(10),
            own: Own { blind: vantage.blind.then(|| "blind".to_owned()), ..Own::default() },
        };
        let reception = self.inbox.on_report(self.now, &name.to_string(), &head, changes);
        assert!(matches!(reception, Reception::Taken(_)), "{reception:?}");
    }

    pub(super) fn judgement(&mut self) -> Judgement {
        let wall = Timestamp::UNIX_EPOCH + self.now;
        let inside = Said { number: self.heard, views: &self.inside };
        self.judge.judge(Now { monotonic: self.now, wall }, &self.world, &self.inbox, inside);
        self.judge.judgement().clone()
    }

    pub(super) fn views(&mut self) -> Vec<View> {
        let judgement = self.judgement();
        judgement.views.0[0].clone().unwrap().to_vec()
    }

    /// Health, and the share where it is not all.
    pub(super) fn told(&mut self) -> String {
        let views = self.views();
        let told = self.world.services[0].candidates.iter().zip(views).map(|(candidate, view)| {
            let site = &self.world.site(candidate.site).name;
            let admit = match view.admit.share() {
                1.0 => String::new(),
                share => format!("*{share}"),
            };
            let struck = if view.struck.is_empty() { "" } else { "/" };
            let lost: String = view.lost.iter().map(|lost| format!("~{}", lost.region)).collect();
            let halved = match view.halvings {
                0 => String::new(),
                times => format!("^{times}"),
            };
            let drained = if view.drain.is_some() { "!drained" } else { "" };
            let alert = view.alert.map_or(String::new(), |alert| format!("?{}", alert.as_str()));
            format!("{site}={}{admit}{struck}{lost}{halved}{drained}{alert}", view.health)
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

/// What agents say who said something else before; silence holds what it can take.
pub(super) fn view_within(
    now: Duration,
    last: Option<inside::View>,
    state: State,
    capacity: Option<f64>,
) -> inside::View {
    let has_changed = last.as_ref().is_some_and(|last| last.state != state);
    let since = last.as_ref().filter(|_| !has_changed).map_or(Some(now), |last| last.since);
    let flaps = last.as_ref().map_or(0, |last| last.flaps) + u32::from(has_changed);
    let capacity = capacity.or(last.and_then(|last| last.capacity));
    inside::View {
        state,
        ground: inside::Ground::Sum,
        since,
        heard: Some(now),
        owner: None,
        capacity,
        load: None,
        offer: None,
        backends_up: 2,
        backends: 3,
        flaps,
        is_dual_active: false,
    }
}
