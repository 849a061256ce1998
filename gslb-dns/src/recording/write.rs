//! Queries to blocks: what was said once in a block is afterwards a number.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{
    BLOCK_HEAD, Edns, FULL_BLOCK, Header, ITEM_OUTCOME, ITEM_STATE, MAGIC, MAX_BLOCK, Outcome,
    Query, SUBNET_NOBODY, SUBNET_V6, Sent, State, VERSION, crc32, transport_code, varint,
};
use crate::query::{ClientSubnet, SubnetFamily};
use crate::world::Clients;

/// One block in the making. Its state is told before its first query, and again whenever it changes.
pub struct BlockWriter {
    clients: Clients,
    /// Room for the head, then the items.
    octets: Vec<u8>,
    queries: u32,
    last: u64,
    /// By name and type.
    questions: HashMap<Box<[u8]>, u64>,
    resolvers: HashMap<IpAddr, u64>,
    texts: HashMap<Arc<str>, u64>,
    outcomes: u64,
    /// Room for one question's key.
    key: Vec<u8>,
}

/// An outcome that this block has been told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutcomeRef(u64);

impl Header {
    /// As it stands at the front of the file.
    pub fn to_octets(&self) -> Vec<u8> {
        let Header { node, started, sample, clients, epoch } = self;
        let node = &node.as_bytes()[..node.len().min(255)];
        let body = [
            &started.to_be_bytes()[..],
            &sample.parts().to_be_bytes(),
            &[match clients {
                Clients::Whole => 0,
                Clients::Networks => 1,
            }],
            &epoch.0,
            &[node.len() as u8],
            node,
        ]
        .concat();
        let mut octets = MAGIC.to_vec();
        octets.extend(VERSION.to_be_bytes());
        octets.extend((body.len() as u16).to_be_bytes());
        octets.extend(body);
        octets.extend(crc32(&octets).to_be_bytes());
        octets
    }
}

impl BlockWriter {
    pub fn new(clients: Clients) -> BlockWriter {
        BlockWriter {
            clients,
            octets: vec![0; BLOCK_HEAD],
            queries: 0,
            last: 0,
            questions: HashMap::new(),
            resolvers: HashMap::new(),
            texts: HashMap::new(),
            outcomes: 0,
            key: vec![],
        }
    }

    /// How many queries there are in it.
    pub fn queries(&self) -> u32 {
        self.queries
    }

    pub fn is_full(&self) -> bool {
        self.octets.len() - BLOCK_HEAD >= FULL_BLOCK
    }

    /// From now on queries are answered by this.
    pub fn state(&mut self, state: &State) {
        self.octets.push(ITEM_STATE);
        self.octets.extend(state.epoch.0);
        self.octets.extend(state.board.0);
    }

    /// Queries of this block may have had this outcome.
    pub fn outcome(&mut self, outcome: &Outcome) -> OutcomeRef {
        let Outcome { rcode, records, services } = outcome;
        self.octets.push(ITEM_OUTCOME);
        for number in [u64::from(*rcode), u64::from(*records), services.len() as u64] {
            varint::put(&mut self.octets, number);
        }
        for part in services {
            self.text(&part.service);
            self.octets.push(part.failing as u8);
            varint::put(&mut self.octets, part.sites.len() as u64);
            part.sites.iter().for_each(|site| self.text(site));
        }
        self.outcomes += 1;
        OutcomeRef(self.outcomes - 1)
    }

    /// Its number if it was said before; else 0, its length and itself.
    fn text(&mut self, text: &Arc<str>) {
        if let Some(&number) = self.texts.get(text) {
            return varint::put(&mut self.octets, number);
        }
        self.texts.insert(Arc::clone(text), self.texts.len() as u64 + 1);
        varint::put(&mut self.octets, 0);
        varint::put(&mut self.octets, text.len() as u64);
        self.octets.extend(text.as_bytes());
    }

    pub fn query(&mut self, query: &Query<'_>, outcome: OutcomeRef) {
        let Query { at, transport, edns, sent, name, qtype, resolver, subnet } = *query;
        let edns = match edns {
            Edns::None => 0,
            Edns::Plain => 1,
            Edns::WantsDnssec => 2,
        };
        let sent = match sent {
            Sent::Whole => 0,
            Sent::Cut => 1,
            Sent::Limited => 2,
        };
        let has_subnet = u8::from(subnet.is_some());
        self.octets.push(transport_code(transport) | edns << 3 | has_subnet << 5 | sent << 6);
        let at = at.min(super::LAST_INSTANT);
        varint::put(&mut self.octets, varint::zigzag(at as i64 - self.last as i64));
        self.last = at;
        self.key.clear();
        self.key.extend(name);
        varint::put(&mut self.key, qtype.0.into());
        match self.questions.get(&self.key[..]) {
            Some(&number) => varint::put(&mut self.octets, number),
            None => {
                self.questions.insert(self.key[..].into(), self.questions.len() as u64 + 1);
                varint::put(&mut self.octets, 0);
                self.octets.extend(&self.key);
            }
        }
        let masked = self.clients == Clients::Networks;
        self.resolver(if masked { network(resolver) } else { resolver });
        if let Some(subnet) = subnet {
            self.subnet(&if masked { network_of(subnet) } else { subnet });
        }
        varint::put(&mut self.octets, outcome.0);
        self.queries += 1;
    }

    fn resolver(&mut self, resolver: IpAddr) {
        let next = self.resolvers.len() as u64 + 1;
        match *self.resolvers.entry(resolver).or_insert(next) {
            number if number < next => varint::put(&mut self.octets, number),
            _ => {
                self.octets.push(0);
                match resolver {
                    IpAddr::V4(v4) => {
                        self.octets.push(4);
                        self.octets.extend(v4.octets());
                    }
                    IpAddr::V6(v6) => {
                        self.octets.push(6);
                        self.octets.extend(v6.octets());
                    }
                }
            }
        }
    }

    fn subnet(&mut self, subnet: &ClientSubnet) {
        self.octets.push(match subnet.family {
            SubnetFamily::None => SUBNET_NOBODY,
            SubnetFamily::V4 => subnet.source,
            SubnetFamily::V6 => SUBNET_V6 + subnet.source,
        });
        self.octets.extend(subnet.wire_address());
    }

    /// The block as it stands in the file, if there is a query in it and no more than a reader takes. An empty
    /// one is next, once this is cleared.
    pub fn finish(&mut self) -> Option<&[u8]> {
        let length = self.octets.len() - BLOCK_HEAD;
        if self.queries == 0 || length > MAX_BLOCK {
            return None;
        }
        let check = crc32(&self.octets[BLOCK_HEAD..]);
        let head = [length as u32, self.queries, check].map(u32::to_be_bytes).concat();
        self.octets[..BLOCK_HEAD - 4].copy_from_slice(&head);
        self.octets[BLOCK_HEAD - 4..BLOCK_HEAD].copy_from_slice(&crc32(&head).to_be_bytes());
        Some(&self.octets)
    }

    /// Begins the next block.
    pub fn clear(&mut self) {
        let BlockWriter {
            clients: _,
            octets,
            queries,
            last,
            questions,
            resolvers,
            texts,
            outcomes,
            ..
        } = self;
        octets.truncate(BLOCK_HEAD);
        (*queries, *last, *outcomes) = (0, 0, 0);
        questions.clear();
        resolvers.clear();
        texts.clear();
    }
}

/// The resolver's network: what resolvers tell of their clients.
fn network(address: IpAddr) -> IpAddr {
    let bits = u32::from(ClientSubnet::usual_source(address));
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & u32::MAX << (32 - bits)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX << (128 - bits)).into(),
    }
}

/// The same of a subnet that tells more.
fn network_of(subnet: ClientSubnet) -> ClientSubnet {
    match subnet.address() {
        Some(address) => {
            ClientSubnet::new(address, subnet.source.min(ClientSubnet::usual_source(address)))
        }
        None => subnet,
    }
}
