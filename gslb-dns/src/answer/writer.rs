//! A message written front to back into a buffer of fixed size, names compressed (RFC 1035 §4.1.4).
//!
//! Allocates nothing. What does not fit is an error, and the caller goes back to a mark.

use arrayvec::ArrayVec;

use super::opt::Opt;
use crate::name;
use crate::query::{HEADER, Rcode};
use crate::record::RecordType;

/// The message has no room left for what was to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// Whose record it is.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'n> {
    /// The name that was asked: always a pointer to the question.
    Question,
    /// An uncompressed name.
    Name(&'n [u8]),
}

pub struct Writer<'b> {
    buffer: &'b mut [u8],
    question_end: usize,
    at: usize,
    /// Less than the buffer while room is kept for an OPT record.
    limit: usize,
    counts: [u16; 4],
    /// Where names and their suffixes stand that a pointer may lead to.
    suffixes: ArrayVec<u16, MAX_SUFFIXES>,
}

/// A place to go back to.
pub struct Mark {
    at: usize,
    counts: [u16; 4],
    suffixes: usize,
}

/// Names looked through for a suffix to point to; past that, names are written whole.
const MAX_SUFFIXES: usize = 48;
/// A pointer has 14 bits.
const MAX_POINTER: usize = 0x3fff;
const POINTER: u16 = 0xc000;
/// A pointer to the question's name.
const QUESTION: u16 = POINTER | HEADER as u16;
/// A pointer's first octet is no less; a label's length is far less.
const POINTER_TAG: u8 = 0xc0;
const CLASS_IN: u16 = 1;
const CLASS_CH: u16 = 3;

impl<'b> Writer<'b> {
    /// Starts a message with room for its header, and the question section as it was asked.
    /// `buffer` must hold both.
    pub fn new(buffer: &'b mut [u8], question: &[u8]) -> Writer<'b> {
        let limit = buffer.len();
        buffer[HEADER..HEADER + question.len()].copy_from_slice(question);
        let at = HEADER + question.len();
        let counts = [u16::from(!question.is_empty()), 0, 0, 0];
        Writer { buffer, question_end: at, at, limit, counts, suffixes: ArrayVec::new() }
    }

    /// Keeps room at the end for `octets` that will be written by `Writer::opt`.
    pub fn reserve(&mut self, octets: usize) {
        self.limit -= octets;
    }

    /// Octets written so far.
    pub fn length(&self) -> usize {
        self.at
    }

    pub fn mark(&self) -> Mark {
        Mark { at: self.at, counts: self.counts, suffixes: self.suffixes.len() }
    }

    /// Forgets every record.
    pub fn back_to_question(&mut self) {
        self.at = self.question_end;
        self.counts = [self.counts[0], 0, 0, 0];
        self.suffixes.clear();
    }

    /// Forgets what was written since.
    pub fn back_to(&mut self, mark: &Mark) {
        self.at = mark.at;
        self.counts = mark.counts;
        self.suffixes.truncate(mark.suffixes);
    }

    /// One record of class IN. `rdata` is uncompressed.
    pub fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: RecordType,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), Full> {
        self.record_of(CLASS_IN, section, owner, rtype, ttl, rdata)
    }

    fn record_of(
        &mut self,
        class: u16,
        section: Section,
        owner: Owner<'_>,
        rtype: RecordType,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), Full> {
        let data_at = self.head(class, owner, rtype, ttl)?;
        self.rdata(rtype, rdata)?;
        self.close(section, data_at);
        Ok(())
    }

    /// One record of class IN whose data comes piece by piece. No name in it is compressed.
    pub fn record_in_pieces(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: RecordType,
        ttl: u32,
        pieces: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Full>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let data_at = self.head(CLASS_IN, owner, rtype, ttl)?;
        pieces(&mut |octets| self.octets(octets))?;
        self.close(section, data_at);
        Ok(())
    }

    /// All of a record before its data; returns where that begins.
    fn head(
        &mut self,
        class: u16,
        owner: Owner<'_>,
        rtype: RecordType,
        ttl: u32,
    ) -> Result<usize, Full> {
        match owner {
            Owner::Question => self.octets(&QUESTION.to_be_bytes())?,
            Owner::Name(name) => self.name(name)?,
        }
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&rtype.0.to_be_bytes());
        fixed[2..4].copy_from_slice(&class.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        self.octets(&fixed)?;
        Ok(self.at)
    }

    /// Says how long the data was that begins there, and counts the record.
    fn close(&mut self, section: Section, data_at: usize) {
        let length = (self.at - data_at) as u16;
        self.buffer[data_at - 2..data_at].copy_from_slice(&length.to_be_bytes());
        self.counts[section as usize] += 1;
    }

    /// One TXT record of class CH for the name asked, with a TTL of 0 (RFC 4892 §3).
    pub fn chaos_text(&mut self, rdata: &[u8]) -> Result<(), Full> {
        self.record_of(CLASS_CH, Section::Answer, Owner::Question, RecordType::TXT, 0, rdata)
    }

    /// Writes the OPT record into the room reserved for it.
    pub fn opt(&mut self, opt: &Opt<'_>, rcode: Rcode, scope: u8) {
        let end = self.at + opt.length();
        opt.write(rcode, scope, &mut self.buffer[self.at..end]);
        self.at = end;
        self.counts[Section::Additional as usize] += 1;
    }

    /// Writes the header; returns the message's length.
    pub fn finish(self, id: u16, flags: u16) -> usize {
        let [questions, answers, authorities, additionals] = self.counts;
        let words = [id, flags, questions, answers, authorities, additionals];
        for (octets, word) in self.buffer.as_chunks_mut().0.iter_mut().zip(words) {
            *octets = word.to_be_bytes();
        }
        self.at
    }

    /// Only the types of RFC 1035 may hold compressed names (RFC 3597 §4).
    fn rdata(&mut self, rtype: RecordType, rdata: &[u8]) -> Result<(), Full> {
        let fixed_before = match rtype {
            RecordType::NS | RecordType::CNAME | RecordType::PTR => 0,
            RecordType::MX => 2,
            RecordType::SOA => return self.soa(rdata),
            _ => return self.octets(rdata),
        };
        let (fixed, target) = rdata.split_at(fixed_before.min(rdata.len()));
        self.octets(fixed)?;
        self.name(target)
    }

    fn soa(&mut self, rdata: &[u8]) -> Result<(), Full> {
        let primary = name::wire_length(rdata).ok_or(Full)?;
        let mailbox = name::wire_length(&rdata[primary..]).ok_or(Full)?;
        self.name(&rdata[..primary])?;
        self.name(&rdata[primary..primary + mailbox])?;
        self.octets(&rdata[primary + mailbox..])
    }

    /// Writes a name, its longest suffix already in the message as a pointer.
    fn name(&mut self, wire: &[u8]) -> Result<(), Full> {
        if self.suffixes.is_empty() && self.counts[0] > 0 {
            self.remember(HEADER); // Most answers name nothing but the question, and never need it.
        }
        let start = self.at;
        let mut rest = wire;
        while rest.len() > 1 {
            if let Some(pointer) = self.find(rest) {
                self.octets(&(POINTER | pointer).to_be_bytes())?;
                self.remember(start);
                return Ok(());
            }
            let (label, tail) = rest.split_at(1 + usize::from(rest[0]));
            self.octets(label)?;
            rest = tail;
        }
        self.octets(&[0])?;
        // Only now: a name must not be found in its own unwritten end.
        self.remember(start);
        Ok(())
    }

    /// Where this very suffix stands in the message.
    fn find(&self, suffix: &[u8]) -> Option<u16> {
        self.suffixes.iter().copied().find(|&at| self.stands_at(at.into(), suffix))
    }

    fn stands_at(&self, mut at: usize, mut suffix: &[u8]) -> bool {
        loop {
            let length = usize::from(self.buffer[at]);
            if length >= POINTER_TAG.into() {
                at = (length & 0x3f) << 8 | usize::from(self.buffer[at + 1]);
                continue;
            }
            let end = 1 + length;
            let Some(label) = suffix.get(..end) else {
                return false;
            };
            if !self.buffer[at..at + end].eq_ignore_ascii_case(label) {
                return false;
            }
            if length == 0 {
                return true;
            }
            at += end;
            suffix = &suffix[end..];
        }
    }

    /// Lets later names point into the name at `at`, as far as it is written out.
    fn remember(&mut self, mut at: usize) {
        while at <= MAX_POINTER && (1..POINTER_TAG).contains(&self.buffer[at]) {
            if self.suffixes.try_push(at as u16).is_err() {
                return; // Later names are still right, only longer.
            }
            at += 1 + usize::from(self.buffer[at]);
        }
    }

    fn octets(&mut self, octets: &[u8]) -> Result<(), Full> {
        let end = self.at + octets.len();
        if end > self.limit {
            return Err(Full);
        }
        self.buffer[self.at..end].copy_from_slice(octets);
        self.at = end;
        Ok(())
    }
}
