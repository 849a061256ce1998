//! Name servers of a zone that nobody could ask.

use crate::name::{Name, NameKey};
use crate::record::RecordType;
use crate::zone::{Match, Zone};

/// Why a name server at a zone's apex cannot be asked, if its own zone is the one to say so.
pub fn server_fault(zone: &Zone, server: &Name) -> Option<String> {
    if !server.is_within(zone.apex()) {
        return None;
    }
    let key = NameKey::of(server.wire())?;
    let says = match zone.search(&key) {
        Match::Node(node) | Match::Wildcard(node) => {
            let has = |rtype| zone.set(node, rtype).is_some();
            if zone.service(node).is_some() || has(RecordType::A) || has(RecordType::AAAA) {
                return None;
            }
            if has(RecordType::CNAME) {
                "is a CNAME, and a name server's name may not be one (RFC 2181 §10.3)"
            } else {
                "has no address in this zone"
            }
        }
        Match::Rename(_) => "lies below a DNAME, and a name server's name may be no alias",
        Match::Nothing => "is not in this zone",
        // Its address is another zone's to tell.
        Match::Delegation(_) | Match::DelegationExactly(_) => return None,
    };
    Some(format!(
        "name server {server} {says}, so nobody can ask it for {}; give it an A or AAAA record, or \
         remove it here",
        zone.apex()
    ))
}
