//! A query's bytes to an answer's: the whole path, in order, with early returns.
//!
//! query ▶ zone ▶ locate ▶ steer ▶ bytes, or what the guard makes of them. Pure but for the buffer it
//! writes into, the limiter's table and the ledger's page: the snapshot, the asker and the time come in; nothing is
//! allocated, locked or sent.

mod binding;
mod ede;
mod guard;
mod opt;
mod resolve;
mod writer;

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

pub use self::guard::{Guard, Limit, Limited, Resolved};
pub use self::resolve::MAX_CHAIN;

use self::ede::Ede;
use self::guard::Over;
use self::opt::Opt;
use self::resolve::{Entries, Resolution, Resolver};
use self::writer::{Full, Writer};
use crate::cookie::{self, Judged};
use crate::ids::ServiceId;
use crate::locate::ToldBy;
use crate::name::NameKey;
use crate::query::{Class, ClientSubnet, Cookie, HEADER, Query, Rcode, Rejection};
use crate::rate_limit;
use crate::record::RecordType;
use crate::snapshot::Snapshot;
use crate::stamp::{self, Short, Stamp};

/// The largest message over UDP, asked for or not: it crosses any path whole (RFC 9715 §3.2).
pub const MAX_UDP: usize = 1232;
/// The largest message over a stream: its length has two octets (RFC 1035 §4.2.2).
pub const MAX_STREAM: usize = 65_535;
/// What a message without EDNS may have over UDP (RFC 1035 §2.3.4).
const PLAIN_UDP: usize = 512;

/// Who asks, how and when.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub address: IpAddr,
    pub transport: Transport,
    /// Whole seconds of Unix time.
    pub now: u64,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Https,
    Quic,
}

impl Transport {
    /// As metrics and logs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Https => "https",
            Transport::Quic => "quic",
        }
    }

    fn is_encrypted(self) -> bool {
        match self {
            Transport::Udp | Transport::Tcp => false,
            Transport::Tls | Transport::Https | Transport::Quic => true,
        }
    }

    /// Whether a message may have as many octets as its length can say.
    fn is_stream(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls | Transport::Https | Transport::Quic => true,
        }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// 0 where nothing may be sent: `limited` says why.
    pub length: usize,
    pub rcode: Rcode,
    pub truncated: bool,
    /// The service that decided what it says; the last of them along a chain.
    pub steered: Option<ServiceId>,
    /// What became of an answer over the limit.
    pub limited: Option<Limited>,
    /// What the query's cookie was, if it had one.
    pub cookie: Option<cookie::State>,
}

const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;

/// Answers `packet` into `out`, which must hold `MAX_UDP` or `MAX_STREAM` octets. `None`: say nothing.
/// `name` is where the question's name is put: who answers many queries makes that room once.
pub fn answer(
    snapshot: &Snapshot,
    node_name: &str,
    packet: &[u8],
    asker: &Asker,
    name: &mut NameKey,
    out: &mut [u8],
) -> Option<Answer> {
    answer_guarded(&Guard::OPEN, snapshot, node_name, packet, asker, name, out)
}

/// The same, with cookies, and within the limits of the guard.
pub fn answer_guarded(
    guard: &Guard<'_>,
    snapshot: &Snapshot,
    node_name: &str,
    packet: &[u8],
    asker: &Asker,
    name: &mut NameKey,
    out: &mut [u8],
) -> Option<Answer> {
    if let Some(note) = guard.note {
        note.borrow_mut().rcode = None;
    }
    // By reference: a query moved is a query copied.
    match &Query::parse(packet, name) {
        Ok(query) => Some(Reply { guard, snapshot, node_name, query, asker }.write(out)),
        Err(Rejection::Silence) => None,
        Err(Rejection::CookieOnly { id, recursion_desired, dnssec_ok, cookie }) => {
            let bare = Bare { guard, asker, id: *id, recursion_desired: *recursion_desired };
            Some(bare.cookie(cookie, *dnssec_ok, out))
        }
        &Err(Rejection::Error { id, opcode, recursion_desired, rcode, question, edns }) => {
            let bare = Bare { guard, asker, id, recursion_desired };
            Some(bare.error(rcode, opcode, question, edns, out))
        }
    }
}

/// A message that has no use for the snapshot.
struct Bare<'a> {
    guard: &'a Guard<'a>,
    asker: &'a Asker,
    id: u16,
    recursion_desired: bool,
}

impl Bare<'_> {
    fn error(
        &self,
        rcode: Rcode,
        opcode: u8,
        question: Option<&[u8]>,
        edns: bool,
        out: &mut [u8],
    ) -> Answer {
        let mut writer = Writer::new(out, question.unwrap_or_default());
        if edns {
            writer.opt(&Opt::PLAIN, rcode, 0);
        }
        let flags = flags(rcode, self.recursion_desired) | u16::from(opcode) << 11;
        self.finish(writer, rcode, flags, None)
    }

    /// RFC 7873 §5.4: a server cookie for a client that has none, or word whether its own is good.
    fn cookie(&self, cookie: &Cookie<'_>, dnssec_ok: bool, out: &mut [u8]) -> Answer {
        let Some(judged) = self.guard.judge(cookie, self.asker) else {
            return self.error(Rcode::FormErr, 0, None, true, out);
        };
        let rcode = match judged.state {
            cookie::State::New | cookie::State::Valid => Rcode::NoError,
            cookie::State::Expired | cookie::State::Invalid => Rcode::BadCookie,
        };
        let opt = Opt { dnssec_ok, cookie: Some(&judged.reply), ..Opt::PLAIN };
        let mut writer = Writer::new(out, &[]);
        writer.opt(&opt, rcode, 0);
        self.finish(writer, rcode, flags(rcode, self.recursion_desired), Some(judged.state))
    }

    /// Over the limit it is sent as it is, if at all: it could not be shorter.
    fn finish(
        &self,
        writer: Writer<'_>,
        rcode: Rcode,
        flags: u16,
        cookie: Option<cookie::State>,
    ) -> Answer {
        let over = self.guard.over(self.asker, class(rcode), cookie);
        let (length, limited) = match over {
            None => (writer.finish(self.id, flags), None),
            Some(Over::Drop) => (0, Some(Limited::Dropped)),
            Some(Over::Slip) => (writer.finish(self.id, flags), Some(Limited::Slipped)),
        };
        Answer { length, rcode, truncated: false, steered: None, limited, cookie }
    }
}

/// What an answer counts as.
fn class(rcode: Rcode) -> rate_limit::Class {
    match rcode {
        Rcode::NoError => rate_limit::Class::Answer,
        Rcode::FormErr
        | Rcode::ServFail
        | Rcode::NxDomain
        | Rcode::NotImp
        | Rcode::Refused
        | Rcode::YxDomain
        | Rcode::BadVers
        | Rcode::BadCookie => rate_limit::Class::Error,
    }
}

fn flags(rcode: Rcode, recursion_desired: bool) -> u16 {
    let recursion = if recursion_desired { FLAG_RECURSION_DESIRED } else { 0 };
    // The upper bits of an extended code stand in the OPT record.
    FLAG_RESPONSE | recursion | (rcode as u16 & 0xf)
}

/// One query that can be answered, and all that the answer depends on.
struct Reply<'a, 'p> {
    guard: &'a Guard<'a>,
    snapshot: &'a Snapshot,
    node_name: &'a str,
    query: &'a Query<'p>,
    asker: &'a Asker,
}

impl Reply<'_, '_> {
    fn write(&self, out: &mut [u8]) -> Answer {
        let room = self.room();
        let mut writer = Writer::new(&mut out[..room], self.query.question.section);
        let judged = self.judge();
        let opt = self.opt(judged.as_ref());
        writer.reserve(opt.as_ref().map_or(0, Opt::length));
        let mut entries = Entries::new();
        let (resolution, truncated) = match self.resolve(&mut writer, &mut entries) {
            Ok(resolution) => (resolution, false),
            Err((Full, resolution)) => {
                // RFC 2181 §9, RFC 6891 §7: nothing but the question and the OPT, so that none is
                // taken for the whole.
                writer.back_to_question();
                (resolution, true)
            }
        };
        let Resolution { rcode, authoritative, scope, steered } = resolution;
        if let Some(note) = self.guard.note.filter(|_| self.query.question.class == Class::Internet)
        {
            let mut note = note.borrow_mut();
            note.rcode = Some(rcode);
            note.entries.clone_from(&entries);
        }
        let cookie = judged.as_ref().map(|judged| judged.state);
        if let Some(over) = self.guard.over(self.asker, class(rcode), cookie) {
            return self.limited(writer, over, &resolution, opt, cookie);
        }
        // One that was cut named nobody: its client asks again.
        if let Some(page) = self.guard.page.filter(|_| !truncated) {
            entries.iter().for_each(|entry| page.write(entry));
        }
        let mut flags = flags(rcode, self.query.recursion_desired);
        if authoritative {
            flags |= FLAG_AUTHORITATIVE;
        }
        if truncated {
            flags |= FLAG_TRUNCATED;
        }
        if let Some(opt) = opt {
            let ede = Ede::of(self.snapshot.world(), rcode, self.query.question.qtype, &entries);
            let opt = opt.explained(ede, writer.length(), room);
            let stamp = self.stamp();
            let opt = opt.stamped(stamp.as_ref(), writer.length(), room);
            let opt = if self.pads() { opt.padded(writer.length(), room) } else { opt };
            writer.opt(&opt, rcode, scope);
        }
        let length = writer.finish(self.query.id, flags);
        Answer { length, rcode, truncated, steered, limited: None, cookie }
    }

    /// What is sent of an answer over the limit, if anything: never a record, nor an NSID, which is longer
    /// than the wish for it. So it is not longer than the query, but for a server cookie.
    #[cold]
    fn limited(
        &self,
        mut writer: Writer<'_>,
        over: Over,
        resolution: &Resolution,
        opt: Option<Opt<'_>>,
        cookie: Option<cookie::State>,
    ) -> Answer {
        let &Resolution { rcode, authoritative, scope, .. } = resolution;
        let answer = |length, rcode, truncated, limited| {
            let limited = Some(limited);
            Answer { length, rcode, truncated, steered: None, limited, cookie }
        };
        if over == Over::Drop {
            return answer(0, rcode, false, Limited::Dropped);
        }
        writer.back_to_question();
        let (rcode, flag, limited) = match rcode {
            // With the server cookie that it brings, the client will be answered (RFC 7873 §5.2.3).
            _ if cookie.is_some() => (Rcode::BadCookie, 0, Limited::BadCookie),
            Rcode::NoError | Rcode::NxDomain => (rcode, FLAG_TRUNCATED, Limited::Slipped),
            // An error says no more over TCP.
            Rcode::FormErr
            | Rcode::ServFail
            | Rcode::NotImp
            | Rcode::Refused
            | Rcode::YxDomain
            | Rcode::BadVers
            | Rcode::BadCookie => (rcode, 0, Limited::Slipped),
        };
        let mut flags = flags(rcode, self.query.recursion_desired) | flag;
        if authoritative && limited == Limited::Slipped {
            flags |= FLAG_AUTHORITATIVE;
        }
        if let Some(opt) = opt {
            writer.opt(&Opt { nsid: None, ..opt }, rcode, scope);
        }
        let length = writer.finish(self.query.id, flags);
        answer(length, rcode, flag == FLAG_TRUNCATED, limited)
    }

    fn judge(&self) -> Option<Judged> {
        let edns = self.query.edns.as_ref()?;
        self.guard.judge(edns.cookie.as_ref()?, self.asker)
    }

    /// Whether the answer's length is to tell less (RFC 7830 §4): who padded wants padding, and nobody else
    /// gets any. In the open it would hide nothing and amplify.
    fn pads(&self) -> bool {
        let is_padded = self.query.edns.as_ref().is_some_and(|edns| edns.padded);
        is_padded && self.asker.transport.is_encrypted()
    }

    /// Octets the whole message may have.
    fn room(&self) -> usize {
        match &self.query.edns {
            _ if self.asker.transport.is_stream() => MAX_STREAM,
            None => PLAIN_UDP,
            Some(edns) => usize::from(edns.udp_size).clamp(PLAIN_UDP, MAX_UDP),
        }
    }

    fn resolve(
        &self,
        writer: &mut Writer<'_>,
        entries: &mut Entries,
    ) -> Result<Resolution, (Full, Resolution)> {
        let question = &self.query.question;
        match (question.class, question.qtype) {
            (_, RecordType::OPT | RecordType::TSIG | RecordType::TKEY | RecordType::NXNAME) => {
                Ok(Resolution::error(Rcode::FormErr)) // RFC 6895 §3.1, RFC 9824 §3.5
            }
            (_, RecordType::MAILA | RecordType::MAILB) => Ok(Resolution::error(Rcode::NotImp)),
            (_, RecordType::AXFR | RecordType::IXFR) => Ok(Resolution::error(Rcode::Refused)),
            (Class::Internet, _) => self.resolver(entries).run(writer),
            (Class::Chaos, _) => self.chaos(writer).map_err(|full| (full, Resolution::answer())),
            (Class::Any | Class::Other, _) => Ok(Resolution::error(Rcode::Refused)),
        }
    }

    fn resolver<'r>(&'r self, entries: &'r mut Entries) -> Resolver<'r> {
        let subnet = self.query.edns.as_ref().and_then(|edns| edns.subnet.as_ref());
        Resolver::new(self.snapshot, &self.query.question, subnet, self.asker, entries)
    }

    /// RFC 4892: which server is this?
    fn chaos(&self, writer: &mut Writer<'_>) -> Result<Resolution, Full> {
        const IDENTITIES: [&[u8]; 2] = [b"\x02id\x06server\0", b"\x08hostname\x04bind\0"];
        let question = &self.query.question;
        let name = question.name.wire();
        if !IDENTITIES.contains(&name) {
            return Ok(Resolution::error(Rcode::Refused));
        }
        if matches!(question.qtype, RecordType::TXT | RecordType::ANY) {
            let text = &self.node_name.as_bytes()[..self.node_name.len().min(255)];
            let mut rdata = [0; 256];
            rdata[0] = text.len() as u8;
            rdata[1..=text.len()].copy_from_slice(text);
            writer.chaos_text(&rdata[..=text.len()])?;
        }
        Ok(Resolution::answer())
    }

    /// None in answer to a query without EDNS.
    fn opt<'o>(&'o self, judged: Option<&'o Judged>) -> Option<Opt<'o>> {
        let edns = self.query.edns.as_ref()?;
        Some(Opt {
            dnssec_ok: edns.dnssec_ok,
            nsid: edns.nsid.then_some(self.node_name),
            subnet: edns.subnet.as_ref(),
            cookie: judged.map(|judged| &judged.reply),
            ..Opt::PLAIN // The rest is known only once the answer is.
        })
    }

    /// What this answer is made from, for a client that may know: whoever it says it asks for, and whatever
    /// brought it.
    fn stamp(&self) -> Option<[u8; stamp::LENGTH]> {
        let address = self.asker.address;
        self.snapshot.trusts(address).then(|| self.stamp_for(address))
    }

    #[cold]
    fn stamp_for(&self, address: IpAddr) -> [u8; stamp::LENGTH] {
        let Snapshot { ground, board, .. } = self.snapshot;
        let subnet = self.query.edns.as_ref().and_then(|edns| edns.subnet.as_ref());
        let told = subnet.filter(|_| ground.client(subnet, address).told_by == ToldBy::Subnet);
        let net = told.and_then(|told| IpNet::new(told.address()?, told.source).ok());
        let at = i64::try_from(self.asker.now).ok().map(Timestamp::from_second);
        let stamp = Stamp {
            epoch: Short::of(&ground.world.epoch.0),
            board: Short::of(&board.digest.0),
            orders: board.orders,
            board_at: board.at,
            at: at.and_then(Result::ok).unwrap_or_default(),
            client: net.map_or(stamp::Client::Resolver(address), stamp::Client::Subnet),
        };
        stamp.octets()
    }
}

/// The header's length, for those who cut messages from a stream.
pub const MIN_MESSAGE: usize = HEADER;

#[cfg(test)]
mod tests;
