//! Sightings as they are shown: to tools as JSON, to people as lines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Identity, Seen, Sender, Sightings, Way, remarks};

/// How many VRIDs are proposed.
const PROPOSED: usize = 3;

#[derive(Debug, Deserialize, Serialize)]
pub struct Told {
    pub listened_ms: u64,
    /// Where it was listened.
    pub interfaces: Vec<String>,
    /// By interface, family and VRID.
    pub senders: Vec<SenderTold>,
    /// What standard routers refuse.
    pub refused: Vec<RefusedTold>,
    pub vrids: Vec<VridsTold>,
    /// What somebody should look at.
    pub remarks: Vec<String>,
}

/// A box, by what it says of one virtual router.
#[derive(Debug, Deserialize, Serialize)]
pub struct SenderTold {
    pub interface: String,
    pub vrid: u8,
    /// 4 or 6.
    pub family: u8,
    pub version: u8,
    pub source: IpAddr,
    /// Its latest word was neither too long ago nor that it resigns.
    pub is_active: bool,
    /// Another one is Active too.
    pub is_contested: bool,
    pub resigned: bool,
    /// The last one but 0; none where it was only heard to resign.
    pub priority: Option<u8>,
    pub interval_ms: u64,
    /// `multicast` or `unicast`.
    pub way: String,
    /// `none`, `password`, `signature` (which is not judged) or `other`.
    pub authentication: String,
    /// `message` or `pseudo_header`.
    pub checksum: String,
    pub adverts: u64,
    pub last_ms_ago: u64,
    pub vips: Vec<IpAddr>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct RefusedTold {
    pub interface: String,
    pub source: Option<IpAddr>,
    /// A word for tools, as in metrics.
    pub reason: String,
    pub why: String,
    pub packets: u64,
}

/// VRIDs of one family on one interface.
#[derive(Debug, Deserialize, Serialize)]
pub struct VridsTold {
    pub interface: String,
    pub family: u8,
    pub heard: Vec<u8>,
    /// Near those. That nobody was heard does not say that nobody has them.
    pub not_heard: Vec<u8>,
}

impl Sightings {
    /// `since` is when it was begun to listen, `interfaces` where.
    pub fn told<'i>(
        &self,
        since: Duration,
        now: Duration,
        interfaces: impl Iterator<Item = &'i str>,
    ) -> Told {
        let senders = self.routers.iter().flat_map(|(identity, seen)| {
            seen.senders.iter().map(move |sender| SenderTold::of(identity, seen, sender, now))
        });
        let refused = self.refused.iter().map(|refused| RefusedTold {
            interface: refused.interface.to_string(),
            source: refused.from,
            reason: refused.why.word().to_owned(),
            why: refused.why.to_string(),
            packets: refused.packets,
        });
        Told {
            listened_ms: milliseconds(now.saturating_sub(since)),
            interfaces: interfaces.map(str::to_owned).collect(),
            senders: senders.collect(),
            refused: refused.collect(),
            vrids: self.vrids(),
            remarks: remarks::of(self, now),
        }
    }

    fn vrids(&self) -> Vec<VridsTold> {
        let mut heard: BTreeMap<(&str, u8), BTreeSet<u8>> = BTreeMap::new();
        for Identity { interface, family, vrid } in self.routers.keys() {
            heard.entry((&**interface, *family)).or_default().insert(vrid.get());
        }
        let told = |((interface, family), heard): ((&str, u8), BTreeSet<u8>)| VridsTold {
            interface: interface.to_owned(),
            family,
            not_heard: near(&heard),
            heard: heard.into_iter().collect(),
        };
        heard.into_iter().map(told).collect()
    }
}

/// VRIDs that are not among these, and no farther from the lowest of them than they have to be.
pub(super) fn near(heard: &BTreeSet<u8>) -> Vec<u8> {
    let lowest = heard.first().copied().unwrap_or(1);
    let mut free: Vec<u8> = (1..=u8::MAX).filter(|vrid| !heard.contains(vrid)).collect();
    free.sort_by_key(|vrid| vrid.abs_diff(lowest));
    free.truncate(PROPOSED);
    free.sort_unstable();
    free
}

impl SenderTold {
    fn of(identity: &Identity, seen: &Seen, sender: &Sender, now: Duration) -> SenderTold {
        SenderTold {
            interface: identity.interface.to_string(),
            vrid: identity.vrid.get(),
            family: identity.family,
            version: sender.version.number(),
            source: sender.from,
            is_active: sender.leads(now),
            is_contested: sender.leads(now) && seen.is_contested(now),
            resigned: sender.claim.octet() == 0,
            priority: sender.priority.map(|priority| priority.get()),
            interval_ms: milliseconds(sender.interval.duration()),
            way: match sender.way {
                Way::Multicast => "multicast",
                Way::Unicast => "unicast",
            }
            .to_owned(),
            authentication: sender.authentication.word().to_owned(),
            checksum: sender.form.word().to_owned(),
            adverts: sender.adverts,
            last_ms_ago: milliseconds(now.saturating_sub(sender.last)),
            vips: sender.vips.clone(),
        }
    }

    fn line(&self) -> String {
        let SenderTold { interface, vrid, family, version, source, adverts, vips, .. } = self;
        let SenderTold { interval_ms, way, authentication, checksum, last_ms_ago, .. } = self;
        let priority = self.priority.map_or("?".to_owned(), |priority| priority.to_string());
        let is = match (self.resigned, self.is_active) {
            (true, _) => format!("resigned {last_ms_ago} ms ago, had priority {priority}"),
            (false, true) => format!("Active with priority {priority}"),
            (false, false) => {
                format!("silent for {last_ms_ago} ms, was Active with priority {priority}")
            }
        };
        let vips: Vec<String> = vips.iter().map(IpAddr::to_string).collect();
        format!(
            "{interface} vrid {vrid} IPv{family} version {version}: {source} {is}, every {interval_ms} ms by {way}, \
             authentication {authentication}, checksum {checksum}, adverts {adverts}: {}\n",
            vips.join(" ")
        )
    }
}

impl Told {
    /// As lines for people.
    pub fn lines(&self) -> String {
        let mut lines: String = self.senders.iter().map(SenderTold::line).collect();
        if self.senders.is_empty() {
            let (listened, at) = (self.listened_ms, self.interfaces.join(", "));
            lines += &format!("no advert was heard in {listened} ms at {at}\n");
        }
        for VridsTold { interface, family, heard, not_heard } in &self.vrids {
            let list =
                |vrids: &[u8]| vrids.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
            let (heard, not_heard) = (list(heard), list(not_heard));
            lines += &format!(
                "{interface} IPv{family}: VRIDs heard: {heard}; near them and not heard: {not_heard}\n"
            );
        }
        for remark in &self.remarks {
            lines += &format!("remark: {remark}\n");
        }
        lines
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
