//! What a name server tells of a world, and what clients are answered.

use std::collections::BTreeSet;

use gslb_tests::asking::answered;
use gslb_tests::resolver::Resolver;
use gslb_tests::wait::until;
use serde_json::Value;

use super::{NOWHERE, Node, SERVICE, SITES};

impl Node {
    pub fn answered(&self) -> BTreeSet<String> {
        self.answered_to(NOWHERE)
    }

    pub fn answered_to(&self, clients: &str) -> BTreeSet<String> {
        let mut resolver = Resolver::of(self.server().dns()).unwrap();
        let networks = (0..64).map(|network| format!("{clients}.{network}.0/24"));
        let all = networks.flat_map(|network| answered(&mut resolver, SERVICE, &network));
        // The third octet of a site's address is its number.
        all.map(|address| SITES[usize::from(address.octets()[2]) - 1].to_owned()).collect()
    }

    pub fn until_answered(&self, sites: &[&str]) {
        self.until_answered_to(NOWHERE, sites);
    }

    pub fn until_answered_to(&self, clients: &str, sites: &[&str]) {
        let wanted = set(sites);
        let mut last = BTreeSet::new();
        until(&format!("the answers are {sites:?}"), || {
            last = self.answered_to(clients);
            Ok((last == wanted).then_some(()))
        })
        .unwrap_or_else(|why| panic!("{why}, but {last:?}\n{}", self.board()));
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.server().get(path).unwrap().body).unwrap()
    }

    pub fn board(&self) -> String {
        self.server().get("/v1/board?format=text").unwrap().body
    }

    pub fn digest(&self) -> String {
        self.json("/v1/board")["digest"].as_str().unwrap().to_owned()
    }

    pub fn sites(&self) -> Vec<Value> {
        self.json("/v1/board")["services"][0]["sites"].as_array().unwrap().clone()
    }

    pub fn site(&self, name: &str) -> Value {
        self.sites().into_iter().find(|site| site["site"] == name).unwrap()
    }

    pub fn until_sites(&self, what: &str, are: impl Fn(&[Value]) -> bool) {
        until(what, || Ok(are(&self.sites()).then_some(())))
            .unwrap_or_else(|why| panic!("{why}\n{}", self.board()));
    }

    /// So many say this of each site, whether or not it counts.
    pub fn until_votes(&self, count: usize, state: &str) {
        self.until_sites(&format!("{count} votes of {state}"), |sites| {
            sites.iter().all(|site| votes(site, state) == count)
        });
    }

    /// All are heard, so many of them have it down, and it is up all the same: not only held in.
    pub fn until_it_is_up_against(&self, site: &str, down: usize) {
        let target = || self.site(site)["targets"][0].clone();
        until(&format!("{down} of 4 have {site} down"), || {
            let counted = &target()["counted"];
            let is_so = counted["up"] == 4 - down && counted["down"] == down;
            Ok(is_so.then_some(()))
        })
        .unwrap_or_else(|why| panic!("{why}\n{}", self.board()));
        assert_eq!(target()["verdict"], "up", "{}", self.board());
    }

    pub fn standing(&self, vantage: &str) -> Value {
        let all = self.json("/v1/vantages");
        all.as_array().unwrap().iter().find(|one| one["vantage"] == vantage).unwrap().clone()
    }

    pub fn until_vantage(&self, vantage: &str, standing: &str) {
        until(&format!("{vantage} is {standing}"), || {
            Ok((self.standing(vantage)["standing"] == standing).then_some(()))
        })
        .unwrap_or_else(|why| panic!("{why}\n{}", self.board()));
    }

    pub fn metric(&self, series: &str) -> f64 {
        self.server().metric(series).unwrap()
    }
}

pub fn set(sites: &[&str]) -> BTreeSet<String> {
    sites.iter().map(|site| (*site).to_owned()).collect()
}

pub fn votes(site: &Value, state: &str) -> usize {
    let votes = site["targets"][0]["votes"].as_array().unwrap();
    votes.iter().filter(|vote| vote["state"] == state).count()
}
