//! Blocks to queries, one block in memory at a time. Believes nothing that it reads.

use std::io::{self, Read};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use super::{
    BLOCK_HEAD, EDNS, Header, ITEM_OUTCOME, ITEM_STATE, LAST_INSTANT, MAGIC, MAX_BLOCK, Outcome,
    Part, Query, SENT, SUBNET_NOBODY, SUBNET_V6, State, TRANSPORTS, VERSION, crc32, varint,
};
use crate::health::board::BoardDigest;
use crate::name::{MAX_NAME, wire_length};
use crate::query::ClientSubnet;
use crate::record::RecordType;
use crate::steer::Failing;
use crate::world::{Clients, Epoch, Sample};

/// Octets of a header before its body, and of the fixed part of that.
const HEADER_HEAD: usize = 12;
const HEADER_BODY: usize = 50;

/// Why a recording could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is no recording of queries: it does not begin as one")]
    Stranger,
    #[error("it is a recording of version {0}, and this gslb-dns reads version {VERSION}")]
    Version(u16),
    #[error("its header is damaged")]
    Header,
    #[error("it is damaged at octet {at}: {what}; what stands before has been read")]
    Damaged { at: u64, what: &'static str },
}

/// Reads one recording from its beginning.
pub struct Reader<R> {
    input: R,
    header: Header,
    /// Octets before the present block, and those of it.
    at: u64,
    length: u64,
    cut: u64,
    block: Block,
}

/// A query, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked<'r> {
    pub query: Query<'r>,
    pub outcome: &'r Outcome,
    pub state: State,
}

/// The present block, and what it has said so far.
#[derive(Default)]
struct Block {
    items: Vec<u8>,
    next: usize,
    /// Queries still to come.
    left: u32,
    last: u64,
    questions: Vec<(Range<usize>, RecordType)>,
    resolvers: Vec<IpAddr>,
    texts: Vec<Arc<str>>,
    outcomes: Vec<Outcome>,
    state: Option<State>,
}

/// A query by what its block knows.
struct Found {
    question: usize,
    outcome: usize,
    state: State,
    /// All but the name.
    query: Query<'static>,
}

impl<R: Read> Reader<R> {
    pub fn open(mut input: R) -> Result<Reader<R>, ReadError> {
        let mut octets = vec![0; HEADER_HEAD];
        if fill(&mut input, &mut octets)? < HEADER_HEAD || !octets.starts_with(&MAGIC) {
            return Err(ReadError::Stranger);
        }
        let version = u16::from_be_bytes([octets[8], octets[9]]);
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let length = usize::from(u16::from_be_bytes([octets[10], octets[11]]));
        octets.resize(HEADER_HEAD + length + 4, 0);
        if fill(&mut input, &mut octets[HEADER_HEAD..])? < length + 4 {
            return Err(ReadError::Header);
        }
        let header = read_header(&octets).ok_or(ReadError::Header)?;
        let at = octets.len() as u64;
        Ok(Reader { input, header, at, length: 0, cut: 0, block: Default::default() })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Octets at the end that are no whole block: whoever wrote it was killed, or is about to write the rest.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// The next query; `None` at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it returns is lent, which no iterator can"
    )]
    pub fn next(&mut self) -> Result<Option<Asked<'_>>, ReadError> {
        while self.block.left == 0 {
            if self.block.next < self.block.items.len() {
                self.block.begin(0);
                let what = "there is more in its block than the block says";
                return Err(ReadError::Damaged { at: self.at, what });
            }
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let found = self.block.query();
        let found = found.map_err(|what| ReadError::Damaged { at: self.at, what })?;
        let Block { items, questions, outcomes, .. } = &self.block;
        let (name, qtype) = &questions[found.question];
        let query = Query { name: &items[name.clone()], qtype: *qtype, ..found.query };
        Ok(Some(Asked { query, outcome: &outcomes[found.outcome], state: found.state }))
    }

    /// False at the end, be it one that is cut.
    fn next_block(&mut self) -> Result<bool, ReadError> {
        self.at += self.length;
        self.length = 0;
        let mut head = [0; BLOCK_HEAD];
        let read = fill(&mut self.input, &mut head)?;
        if read < BLOCK_HEAD {
            self.cut = read as u64;
            return Ok(false);
        }
        let damaged = |what| ReadError::Damaged { at: self.at, what };
        let [length, queries, check, of_head] =
            std::array::from_fn(|at| u32::from_be_bytes([0, 1, 2, 3].map(|i| head[4 * at + i])));
        if crc32(&head[..BLOCK_HEAD - 4]) != of_head {
            return Err(damaged("the head of a block is not what was written"));
        }
        if length as usize > MAX_BLOCK || queries == 0 {
            return Err(damaged("a block is larger than any, or empty"));
        }
        self.block.begin(queries);
        self.block.items.resize(length as usize, 0);
        let read = fill(&mut self.input, &mut self.block.items)?;
        if read < length as usize {
            self.cut = (BLOCK_HEAD + read) as u64;
            self.block.begin(0);
            return Ok(false);
        }
        if crc32(&self.block.items) != check {
            self.block.begin(0);
            return Err(damaged("a block is not what was written"));
        }
        self.length = (BLOCK_HEAD + read) as u64;
        Ok(true)
    }
}

pub(super) const CUT: &str = "a block ends in the middle of an item";
pub(super) const UNKNOWN: &str = "an item has a value that nothing means";
pub(super) const UNSAID: &str = "an item refers to what its block has not said";
pub(super) const NO_STATE: &str = "a query comes before what it was answered by";

impl Block {
    fn begin(&mut self, queries: u32) {
        let Block { items, next, left, last, questions, resolvers, texts, outcomes, state } = self;
        items.clear();
        (*next, *left, *last, *state) = (0, queries, 0, None);
        questions.clear();
        resolvers.clear();
        texts.clear();
        outcomes.clear();
    }

    /// Reads up to the next query.
    fn query(&mut self) -> Result<Found, &'static str> {
        let items = std::mem::take(&mut self.items);
        let mut rest = &items[self.next..];
        let found = loop {
            match self.item(&items, &mut rest) {
                Ok(None) => {}
                Ok(Some(found)) => break Ok(found),
                Err(what) => break Err(what),
            }
        };
        self.next = items.len() - rest.len();
        self.items = items;
        // A damaged block is not read on.
        self.left = if found.is_ok() { self.left - 1 } else { 0 };
        if found.is_err() {
            self.next = self.items.len();
        }
        found
    }

    fn item(&mut self, items: &[u8], rest: &mut &[u8]) -> Result<Option<Found>, &'static str> {
        let [first] = *chunk(rest)?;
        match first & 7 {
            ITEM_STATE if first == ITEM_STATE => {
                let (epoch, board) = (Epoch(*chunk(rest)?), BoardDigest(*chunk(rest)?));
                self.state = Some(State { epoch, board });
                Ok(None)
            }
            ITEM_OUTCOME if first == ITEM_OUTCOME => {
                let outcome = self.outcome(rest)?;
                self.outcomes.push(outcome);
                Ok(None)
            }
            ITEM_STATE | ITEM_OUTCOME => Err(UNKNOWN),
            transport => {
                let pick = |code: u8| usize::from(code);
                let transport = *TRANSPORTS.get(pick(transport)).ok_or(UNKNOWN)?;
                let edns = *EDNS.get(pick(first >> 3 & 3)).ok_or(UNKNOWN)?;
                let sent = *SENT.get(pick(first >> 6)).ok_or(UNKNOWN)?;
                let since = varint::unzigzag(number(rest)?);
                let at = self.last.checked_add_signed(since).filter(|at| *at <= LAST_INSTANT);
                self.last = at.ok_or(UNKNOWN)?;
                let question = self.question(items, rest)?;
                let resolver = self.resolver(rest)?;
                let subnet = if first >> 5 & 1 == 1 { Some(subnet(rest)?) } else { None };
                let outcome = number(rest)?;
                let outcome = usize::try_from(outcome).ok().filter(|at| *at < self.outcomes.len());
                let outcome = outcome.ok_or(UNSAID)?;
                let state = self.state.ok_or(NO_STATE)?;
                let (name, qtype) = (&[][..], RecordType(0));
                let at = self.last;
                let query = Query { at, transport, edns, sent, name, qtype, resolver, subnet };
                Ok(Some(Found { question, outcome, state, query }))
            }
        }
    }

    fn outcome(&mut self, rest: &mut &[u8]) -> Result<Outcome, &'static str> {
        let (rcode, records) = (small(rest)?, small(rest)?);
        let mut services = vec![];
        for _ in 0..number(rest)? {
            let service = self.text(rest)?;
            let [failing] = *chunk(rest)?;
            let failing = *Failing::ALL.get(usize::from(failing)).ok_or(UNKNOWN)?;
            let mut sites = vec![];
            for _ in 0..number(rest)? {
                sites.push(self.text(rest)?);
            }
            services.push(Part { service, failing, sites });
        }
        Ok(Outcome { rcode, records, services })
    }

    fn text(&mut self, rest: &mut &[u8]) -> Result<Arc<str>, &'static str> {
        if let Some(before) = said(&self.texts, rest)? {
            return Ok(Arc::clone(before));
        }
        let length = usize::try_from(number(rest)?).map_err(|_| CUT)?;
        let (text, after) = rest.split_at_checked(length).ok_or(CUT)?;
        *rest = after;
        let text: Arc<str> = str::from_utf8(text).map_err(|_| UNKNOWN)?.into();
        self.texts.push(Arc::clone(&text));
        Ok(text)
    }

    fn question(&mut self, items: &[u8], rest: &mut &[u8]) -> Result<usize, &'static str> {
        let number_said = number(rest)?;
        if number_said > 0 {
            let index = usize::try_from(number_said - 1).map_err(|_| UNSAID)?;
            return if index < self.questions.len() { Ok(index) } else { Err(UNSAID) };
        }
        let start = items.len() - rest.len();
        let length = wire_length(rest).filter(|length| *length <= MAX_NAME).ok_or(UNKNOWN)?;
        *rest = &rest[length..];
        let qtype = RecordType(small(rest)?);
        self.questions.push((start..start + length, qtype));
        Ok(self.questions.len() - 1)
    }

    fn resolver(&mut self, rest: &mut &[u8]) -> Result<IpAddr, &'static str> {
        if let Some(before) = said(&self.resolvers, rest)? {
            return Ok(*before);
        }
        let [family] = *chunk(rest)?;
        let resolver = match family {
            4 => IpAddr::from(*chunk::<4>(rest)?),
            6 => IpAddr::from(*chunk::<16>(rest)?),
            _ => return Err(UNKNOWN),
        };
        self.resolvers.push(resolver);
        Ok(resolver)
    }
}

/// What a number refers to; `None` for 0, behind which stands something new.
fn said<'t, T>(table: &'t [T], rest: &mut &[u8]) -> Result<Option<&'t T>, &'static str> {
    match number(rest)?.checked_sub(1) {
        None => Ok(None),
        Some(index) => {
            let known = usize::try_from(index).ok().and_then(|index| table.get(index));
            known.map(Some).ok_or(UNSAID)
        }
    }
}

fn subnet(rest: &mut &[u8]) -> Result<ClientSubnet, &'static str> {
    let [code] = *chunk(rest)?;
    let (address, source) = match code {
        0..=32 => (IpAddr::from(padded::<4>(rest, code)?), code),
        SUBNET_NOBODY => return Ok(ClientSubnet::NOBODY),
        SUBNET_V6..=192 => {
            let source = code - SUBNET_V6;
            (IpAddr::from(padded::<16>(rest, source)?), source)
        }
        _ => return Err(UNKNOWN),
    };
    Ok(ClientSubnet::new(address, source))
}

/// An address of which only so many bits are written.
fn padded<const N: usize>(rest: &mut &[u8], bits: u8) -> Result<[u8; N], &'static str> {
    let (written, after) = rest.split_at_checked(usize::from(bits.div_ceil(8))).ok_or(CUT)?;
    *rest = after;
    let mut address = [0; N];
    address[..written.len()].copy_from_slice(written);
    Ok(address)
}

fn number(rest: &mut &[u8]) -> Result<u64, &'static str> {
    varint::take(rest).ok_or(CUT)
}

fn small(rest: &mut &[u8]) -> Result<u16, &'static str> {
    u16::try_from(number(rest)?).map_err(|_| UNKNOWN)
}

fn chunk<'r, const N: usize>(rest: &mut &'r [u8]) -> Result<&'r [u8; N], &'static str> {
    let (chunk, after) = rest.split_first_chunk().ok_or(CUT)?;
    *rest = after;
    Ok(chunk)
}

/// Whole or damaged. What stands behind the name is of a later time, and passed over.
fn read_header(octets: &[u8]) -> Option<Header> {
    let (before, check) = octets.split_last_chunk::<4>()?;
    if crc32(before) != u32::from_be_bytes(*check) {
        return None;
    }
    let (fixed, rest) = before[HEADER_HEAD..].split_first_chunk::<HEADER_BODY>()?;
    let node = rest.get(..usize::from(fixed[HEADER_BODY - 1]))?;
    let word = |at: usize| Some(u64::from_be_bytes(*fixed[at..].first_chunk()?));
    Some(Header {
        node: str::from_utf8(node).ok()?.into(),
        started: word(0).filter(|at| *at <= LAST_INSTANT)?,
        sample: Sample::of_parts(word(8)?)?,
        clients: match fixed[16] {
            0 => Clients::Whole,
            1 => Clients::Networks,
            _ => return None,
        },
        epoch: Epoch(*fixed[17..].first_chunk()?),
    })
}

/// As many octets as there are: fewer only at the end.
fn fill(input: &mut impl Read, mut room: &mut [u8]) -> io::Result<usize> {
    let wanted = room.len();
    while !room.is_empty() {
        match input.read(room) {
            Ok(0) => break,
            Ok(octets) => room = &mut room[octets..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - room.len())
}
