//! Maps: from where clients are to the sites they should have, in order.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use geoip::embedded::carries_only_v4;
use ipnet::IpNet;

use super::names::{Named, Names};
use super::{or, place};
use crate::config::file;
use crate::config::problems::{Problem, Problems, Spot};
use crate::config::read::{At, Entries, NameOr, Word};
use crate::config::words::{Continent, Country, Subdivision};
use crate::ids::SiteId;
use crate::world::{Map, Tiers};

pub fn maps(
    entries: Entries<At<file::Map>>,
    sites: &Names,
    knows_places: bool,
    problems: &mut Problems,
) -> Named<Map> {
    let names = Names::new(("map", "maps"), &entries);
    let reader = Reader { sites, knows_places };
    let list = entries.0.into_iter().map(|(name, raw)| reader.map(&name, raw?, problems));
    Named { names, list: list.collect() }
}

struct Reader<'n> {
    sites: &'n Names,
    /// Whether anything tells where clients are.
    knows_places: bool,
}

/// The entries of one kind, as read.
type Written = Option<Option<At<Entries<file::Tiers>>>>;

impl Reader<'_> {
    fn map(&self, name: &At<String>, raw: At<file::Map>, problems: &mut Problems) -> Option<Map> {
        let At { value: raw, spot } = raw;
        let file::Map { default, continent, country, subdivision, asn, net } = raw;
        let is_absent = |written: &Written| {
            written.as_ref().is_some_and(|written| {
                written.as_ref().is_none_or(|entries| entries.value.0.is_empty())
            })
        };
        if matches!(default, Some(None))
            && [&continent, &country, &subdivision, &asn, &net].into_iter().all(is_absent)
        {
            problems.add(spot.problem(
                "names no sites (expected default, continent, country, subdivision, asn or net)",
            ));
        }
        let default = or(default, None, |tiers| self.tiers(&tiers, problems).map(Some));
        let continent: Option<Vec<(Continent, Tiers)>> = self.by_place(continent, problems);
        let country: Option<Vec<(Country, Tiers)>> = self.by_place(country, problems);
        let subdivision: Option<Vec<(Subdivision, Tiers)>> = self.by_place(subdivision, problems);
        let asn: Option<Vec<(Asn, Tiers)>> = self.by_place(asn, problems);
        let net = or(net, Vec::new(), |entries| {
            for (written, _) in &entries.value.0 {
                if written.word::<IpNet>().is_ok_and(carries_only_v4) {
                    problems.add(written.spot.problem(place::NOBODY_THERE));
                }
            }
            self.by_key(entries.value, problems)
        });
        Some(Map {
            name: name.value.as_str().into(),
            default: default?,
            continent: continent?.into_iter().map(|(key, tiers)| (key.0, tiers)).collect(),
            country: country?.into_iter().map(|(key, tiers)| (key.0, tiers)).collect(),
            subdivision: subdivision?.into_iter().map(|(key, tiers)| (key.0, tiers)).collect(),
            asn: asn?.into_iter().map(|(Asn(asn), tiers)| (asn, tiers)).collect(),
            net: net?,
        })
    }

    /// Entries that need to know where a client is.
    fn by_place<K: Word + Copy + Display + Eq + Hash>(
        &self,
        written: Written,
        problems: &mut Problems,
    ) -> Option<Vec<(K, Tiers)>> {
        or(written, Vec::new(), |entries| {
            if !self.knows_places && !entries.value.0.is_empty() {
                problems.add(entries.spot.problem(
                    "these entries can never matter: no database and no override tells where clients are; \
                     add geoip.databases or remove it",
                ));
            }
            self.by_key(entries.value, problems)
        })
    }

    fn by_key<K: Word + Copy + Display + Eq + Hash>(
        &self,
        entries: Entries<file::Tiers>,
        problems: &mut Problems,
    ) -> Option<Vec<(K, Tiers)>> {
        let mut seen: HashMap<K, Spot> = HashMap::new();
        let mut list = Vec::new();
        let count = entries.0.len();
        for (written, tiers) in entries.0 {
            let key = problems.one(written.word::<K>());
            let tiers = tiers.and_then(|tiers| self.tiers(&tiers, problems));
            let Some(key) = key else { continue };
            if let Some(first) = seen.insert(key, written.spot.clone()) {
                problems.add(written.spot.twice(&first, key));
            }
            list.extend(tiers.map(|tiers| (key, tiers)));
        }
        (list.len() == count).then_some(list)
    }

    fn tiers(&self, written: &file::Tiers, problems: &mut Problems) -> Option<Tiers> {
        let mut seen: HashMap<SiteId, Spot> = HashMap::new();
        if written.value.is_empty() {
            problems.add(written.spot.problem("is empty; list a site, or leave the key out"));
            return None;
        }
        let mut tiers = Vec::new();
        for tier in written.value.iter().flatten() {
            let names = match &tier.value {
                NameOr::Name(name) => vec![Some(name)],
                NameOr::More(names) => names.iter().map(Option::as_ref).collect(),
            };
            if names.is_empty() {
                problems.add(tier.spot.problem("is empty; list a site, or leave the tier out"));
            }
            let sites: Vec<SiteId> = names
                .iter()
                .filter_map(|name| problems.one(self.site((*name)?, &mut seen)))
                .collect();
            if sites.len() == names.len() {
                tiers.push(sites);
            }
        }
        (tiers.len() == written.value.len()).then_some(tiers)
    }

    fn site(&self, name: &At<String>, seen: &mut HashMap<SiteId, Spot>) -> Result<SiteId, Problem> {
        let site = SiteId(self.sites.find(name)?);
        match seen.insert(site, name.spot.clone()) {
            None => Ok(site),
            Some(first) => Err(name.spot.twice(&first, format!("site {:?}", name.value))),
        }
    }
}

/// An AS number as a key.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Asn(u32);

impl Display for Asn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Word for Asn {
    const EXPECTED: &'static str = "an AS number from 1 to 4294967294 such as 64500";

    fn word(text: &str) -> Result<Asn, String> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        let number = number.filter(|number| place::ASNS.contains(&i64::from(*number)));
        number.map(Asn).ok_or_else(|| format!("{text:?} is not {}", Self::EXPECTED))
    }
}
