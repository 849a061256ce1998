//! From records to a zone: checks what RFC 1034 and 2181 ask of the whole, then lays it out.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::Zone;
use super::store::{Cut, NodeHead, NodeId, Store};
use crate::ids::ServiceId;
use crate::name::Name;
use crate::record::{Record, RecordType};

/// What is wrong with a zone as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Index of the record to blame, if one can be named.
    pub record: Option<usize>,
    pub message: String,
}

impl Zone {
    /// Lays out a zone. Duplicate records are dropped (RFC 2181 §5), and an RRset whose TTLs
    /// differ takes the lowest (§5.2). Reports every fault. Panics if a record or a service lies
    /// outside of `apex`: whoever reads them has refused those.
    pub fn build(
        apex: Name,
        records: Vec<Record>,
        services: &[(Name, ServiceId)],
    ) -> Result<Zone, Vec<Fault>> {
        let mut tree = Tree::new(&apex);
        let mut rows: Vec<Row> = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let name = tree.name(&record.owner);
            rows.push(Row { name, rtype: record.rtype, index: index as u32 });
        }
        for (owner, service) in services {
            let name = tree.name(owner);
            tree.names[name].service = Some(*service);
        }
        // By name and type, so that sets are runs; within one, in the order of the file.
        rows.sort_by_key(|row| (row.name, row.rtype, row.index));
        let mut layout = Layout::new(apex, tree, &records);
        layout.write(&rows);
        layout.finish()
    }
}

/// One record's place in the layout.
struct Row {
    name: usize,
    rtype: RecordType,
    index: u32,
}

/// The names that exist, each with its parent: all ancestors up to the apex, since those between are
/// empty non-terminals (RFC 4592 §2.2.2).
struct Tree {
    /// Lower-cased name to index.
    known: HashMap<Box<[u8]>, usize, RandomState>,
    names: Vec<TreeName>,
    /// Labels of the deepest name.
    deepest: usize,
}

struct TreeName {
    wire: Box<[u8]>,
    /// The apex is its own.
    parent: usize,
    service: Option<ServiceId>,
}

impl Tree {
    fn new(apex: &Name) -> Tree {
        let mut tree = Tree { known: HashMap::default(), names: Vec::new(), deepest: apex.depth() };
        tree.add(apex.to_lower().wire(), 0);
        tree
    }

    /// The index of a name, made with its missing ancestors if it is new. Parents come before their
    /// children.
    fn name(&mut self, name: &Name) -> usize {
        let lower = name.to_lower();
        let mut missing = Vec::new();
        let mut above = lower.wire();
        let mut found = loop {
            if let Some(&known) = self.known.get(above) {
                break known;
            }
            missing.push(above);
            above = &above[1 + usize::from(above[0])..];
        };
        if missing.is_empty() {
            return found;
        }
        for wire in missing.into_iter().rev() {
            found = self.add(wire, found);
        }
        self.deepest = self.deepest.max(lower.depth());
        found
    }

    fn add(&mut self, wire: &[u8], parent: usize) -> usize {
        let index = self.names.len();
        self.known.insert(wire.into(), index);
        self.names.push(TreeName { wire: wire.into(), parent, service: None });
        index
    }
}

/// Writes the store, and collects what is wrong on the way.
struct Layout<'r> {
    apex: Name,
    tree: Tree,
    records: &'r [Record],
    store: Store,
    /// By index in the tree.
    nodes: Vec<NodeId>,
    cuts: Vec<Cut>,
    faults: Vec<Fault>,
}

impl<'r> Layout<'r> {
    fn new(apex: Name, tree: Tree, records: &'r [Record]) -> Layout<'r> {
        let store = Store::for_names(tree.names.len());
        Layout { apex, tree, records, store, nodes: vec![], cuts: vec![], faults: vec![] }
    }

    /// Every name in the order of the tree, with its rows.
    fn write(&mut self, rows: &[Row]) {
        let mut rest = rows;
        for index in 0..self.tree.names.len() {
            let own = rest.iter().take_while(|row| row.name == index).count();
            let (own, later) = rest.split_at(own);
            rest = later;
            let name = &self.tree.names[index];
            let head = NodeHead { name: &name.wire, service: name.service };
            let Some(node) = self.store.add_node(&head) else {
                let message = format!("{} has more than 4 GiB of names and records", self.apex);
                self.faults.push(Fault { record: None, message });
                return;
            };
            self.nodes.push(node);
            if index > 0 {
                self.faults.extend(fault_below_apex(own, self.records));
            }
            for set in own.chunk_by(|a, b| a.rtype == b.rtype) {
                self.write_set(node, set);
            }
            self.faults.extend(fault_of_name(own, self.records));
            self.link(index, node);
        }
    }

    fn write_set(&mut self, node: NodeId, rows: &[Row]) {
        let records = rows.iter().map(|row| &self.records[row.index as usize]);
        let ttl = records.clone().map(|record| record.ttl).min().unwrap_or(0);
        let mut seen = HashSet::with_capacity(rows.len());
        let unique: Vec<&Record> = records.filter(|record| seen.insert(&record.rdata)).collect();
        let fault = fault_of_set(rows, &unique);
        // A set that is at fault still stands there, for the checks that follow.
        let kept = if fault.is_some() { &unique[..1] } else { &unique[..] };
        self.faults.extend(fault);
        self.store.add_set(node, rows[0].rtype, ttl, kept.iter().map(|record| &*record.rdata));
    }

    /// Ties a name to those above it: as the wildcard of its parent, and to the topmost delegation or
    /// DNAME at or above it.
    fn link(&mut self, index: usize, node: NodeId) {
        let TreeName { wire, parent, .. } = &self.tree.names[index];
        if index == 0 {
            self.cuts.push(Cut::None);
            return;
        }
        let above = self.nodes[*parent];
        if wire.starts_with(b"\x01*") {
            self.store.set_wildcard(above, node);
        }
        let has = |node, rtype| self.store.sets(node).any(|set| set.rtype == rtype);
        let cut = match self.cuts[*parent] {
            inherited @ (Cut::Delegation(_) | Cut::Rename(_)) => inherited,
            Cut::None if has(above, RecordType::DNAME) => Cut::Rename(above),
            Cut::None if has(node, RecordType::NS) => Cut::Delegation(node),
            Cut::None => Cut::None,
        };
        self.store.set_cut(node, cut);
        self.cuts.push(cut);
    }

    fn finish(mut self) -> Result<Zone, Vec<Fault>> {
        let Some(&top) = self.nodes.first() else {
            return Err(self.faults);
        };
        for (rtype, advice) in [
            (RecordType::SOA, "begin it with the zone's SOA record (RFC 1035 §5.2)"),
            (RecordType::NS, "list the zone's name servers (RFC 1034 §4.2.1)"),
        ] {
            if !self.store.sets(top).any(|set| set.rtype == rtype) {
                let message = format!("{} has no {rtype} record: {advice}", self.apex);
                self.faults.push(Fault { record: None, message });
            }
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let apex = self.apex.to_lower();
        Ok(Zone {
            apex_labels: apex.depth(),
            apex,
            deepest: self.tree.deepest,
            names: self.tree.names.len(),
            store: self.store,
            top,
        })
    }
}

fn fault_of_set(rows: &[Row], unique: &[&Record]) -> Option<Fault> {
    let second = unique.get(1)?;
    let single = matches!(second.rtype, RecordType::CNAME | RecordType::DNAME | RecordType::SOA);
    let message = if single {
        format!("{} has a second {} record; there can be one", second.owner, second.rtype)
    } else if unique.len() > usize::from(u16::MAX) {
        format!("{} has more than 65535 {} records", second.owner, second.rtype)
    } else {
        return None;
    };
    Some(Fault { record: rows.get(1).map(|row| row.index as usize), message })
}

/// A SOA marks the top of a zone, and there alone it stands (RFC 1035 §5.2). Written below, it most often
/// is a line that took over the owner before it.
fn fault_below_apex(rows: &[Row], records: &[Record]) -> Option<Fault> {
    let row = rows.iter().find(|row| row.rtype == RecordType::SOA)?;
    let owner = &records[row.index as usize].owner;
    let message = format!("{owner} has a SOA record, which stands at the top of a zone alone");
    Some(Fault { record: Some(row.index as usize), message })
}

/// A CNAME stands alone (RFC 1034 §3.6.2), save for what signs it (RFC 4034 §3, RFC 4035 §2.5).
fn fault_of_name(rows: &[Row], records: &[Record]) -> Option<Fault> {
    rows.iter().find(|row| row.rtype == RecordType::CNAME)?;
    let other = rows.iter().find(|row| {
        !matches!(
            row.rtype,
            RecordType::CNAME | RecordType::RRSIG | RecordType::NSEC | RecordType::KEY
        )
    })?;
    let record = &records[other.index as usize];
    let message = format!(
        "{} has a CNAME record, so it cannot have any {} record as well (RFC 1034 §3.6.2)",
        record.owner, record.rtype
    );
    Some(Fault { record: Some(other.index as usize), message })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::zone::master;

    /// What is wrong with `example.com` when it has these records besides a SOA and an NS.
    fn check(text: &str, expected: &[&str]) {
        let origin: Name = "example.com".parse().unwrap();
        let text = format!("@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\n{text}");
        let mut nothing_else = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let master =
            master::parse(Path::new("zone"), text.as_bytes(), &origin, &mut nothing_else).unwrap();
        let faults = Zone::build(origin, master.records, &[]).err().unwrap_or_default();
        let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(messages, expected, "{text}");
    }

    #[test]
    fn a_zone_as_a_whole_is_judged() {
        check("www 60 A 192.0.2.1\nwww 60 A 192.0.2.1", &[]);
        check(
            "@ 60 SOA ns h 2 2 3 4 5",
            &["example.com. has a second SOA record; there can be one"],
        );
        check(
            "www 60 SOA ns h 1 2 3 4 5",
            &["www.example.com. has a SOA record, which stands at the top of a zone alone"],
        );
        check(
            "www 60 CNAME a\nwww 60 CNAME b",
            &["www.example.com. has a second CNAME record; there can be one"],
        );
        check(
            "www 60 CNAME a\nwww 60 A 192.0.2.1",
            &[
                "www.example.com. has a CNAME record, so it cannot have any A record as well (RFC 1034 §3.6.2)",
            ],
        );
    }

    #[test]
    fn one_name_and_type_hold_65535_records() {
        let records =
            |most: u32| -> String { (0..most).map(|n| format!("many 60 TXT {n}\n")).collect() };
        check(&records(65_535), &[]);
        check(&records(65_536), &["many.example.com. has more than 65535 TXT records"]);
    }
}
