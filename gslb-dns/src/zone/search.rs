//! Where a name falls in a zone (RFC 1034 §4.3.2, RFC 4592 §3.3, RFC 6672 §3.2).

use super::store::Cut;
use super::{NodeId, Zone};
use crate::ids::ServiceId;
use crate::name::NameKey;
use crate::record::RecordType;

/// What stands at a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Match {
    /// The name exists.
    Node(NodeId),
    /// It does not, and a wildcard of its closest encloser covers it.
    Wildcard(NodeId),
    /// Authority ends at this node. `Exactly` is the delegation's own name, where DS still is ours.
    Delegation(NodeId),
    DelegationExactly(NodeId),
    /// A DNAME at this node, above the name, rewrites it.
    Rename(NodeId),
    /// No such name (RFC 8020: nor any below it).
    Nothing,
}

impl Zone {
    /// Finds what stands at `key`, which must lie within the zone. At most as many probes as the
    /// zone's deepest name has labels, whatever is asked.
    pub fn search(&self, key: &NameKey) -> Match {
        let Some((encloser, labels)) = self.enclose(key) else { return Match::Nothing };
        let exact = labels == key.labels();
        match self.store.cut(encloser) {
            Cut::Delegation(at) if exact && at == encloser => Match::DelegationExactly(at),
            Cut::Delegation(at) => Match::Delegation(at),
            Cut::Rename(at) => Match::Rename(at),
            Cut::None if exact => Match::Node(encloser),
            Cut::None if self.set(encloser, RecordType::DNAME).is_some() => Match::Rename(encloser),
            Cut::None => self.store.wildcard(encloser).map_or(Match::Nothing, Match::Wildcard),
        }
    }

    /// The deepest name of the zone at or above `key`, which must lie within the zone.
    pub fn closest_encloser(&self, key: &NameKey) -> NodeId {
        self.enclose(key).map_or(self.top, |(encloser, _)| encloser)
    }

    /// The same, and how many labels it has.
    fn enclose(&self, key: &NameKey) -> Option<(NodeId, usize)> {
        let mut labels = key.labels().min(self.deepest);
        loop {
            match self.store.find(key.suffix(labels)) {
                Some(node) => return Some((node, labels)),
                None if labels <= self.apex_labels => return None,
                None => labels -= 1,
            }
        }
    }

    /// The service that answers for this name, itself or by wildcard.
    pub fn service_of(&self, key: &NameKey) -> Option<ServiceId> {
        match self.search(key) {
            Match::Node(node) | Match::Wildcard(node) => self.service(node),
            Match::Delegation(_)
            | Match::DelegationExactly(_)
            | Match::Rename(_)
            | Match::Nothing => None,
        }
    }

    /// The node of a name server's addresses, be they authoritative or below a cut.
    pub fn glue(&self, server: &NameKey) -> Option<NodeId> {
        self.store.find(server.wire())
    }
}
