//! Reads entries one after another, into records or into problems; directives go to `directive`.
//!
//! The middle of `master`: takes words from `lexer`, has `rdata` read what follows the type, and
//! gathers records and problems. Opens files only through the `open` it is given.

use std::io;
use std::path::{Path, PathBuf};

use super::lexer::{Lexer, Margin, Token};
use super::words::{Fault, Words};
use super::{Limits, Master, Place, Problem, rdata, ttl};
use crate::name::Name;
use crate::record::{Record, RecordType};

/// Reads `text`, the contents of `file`, and everything it includes.
pub fn read_zone(
    file: &Path,
    text: Vec<u8>,
    zone: &Name,
    limits: Limits,
    open: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Master, Vec<Problem>> {
    let mut reader = Reader {
        zone,
        open,
        limits,
        text_left: limits.text,
        open_files: Vec::new(),
        ttls: Ttls::default(),
        rdata: Vec::new(),
        master: Master::default(),
        problems: Vec::new(),
        state: State::Reading,
    };
    let scope = Scope { origin: zone.clone(), owner: None };
    if let Err(fault) = reader.file(file.into(), text, scope) {
        reader.report(file, Fault { line: 0, ..fault });
    }
    match reader.problems.is_empty() {
        true => Ok(reader.master),
        false => Err(reader.problems),
    }
}

/// A zone being read.
pub struct Reader<'r> {
    zone: &'r Name,
    pub open: &'r mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    pub limits: Limits,
    /// Octets that files and $GENERATE may still add.
    text_left: usize,
    /// The file being read, last, and those that include it.
    pub open_files: Vec<PathBuf>,
    pub ttls: Ttls,
    /// Where data is put together; one buffer for all records.
    rdata: Vec<u8>,
    master: Master,
    problems: Vec<Problem>,
    state: State,
}

#[derive(Eq, PartialEq)]
enum State {
    Reading,
    /// A limit is reached: what is left is not read.
    Stopped,
}

/// What each file has for itself: an included one changes nothing of this for the one including it.
pub struct Scope {
    pub origin: Name,
    /// Of the last record, for entries that begin with a blank.
    pub owner: Option<Name>,
}

/// Where a TTL comes from when a record has none. $TTL holds on beyond the end of an included file.
#[derive(Default)]
pub struct Ttls {
    /// By $TTL.
    pub default: Option<u32>,
    /// On the last record that had one (RFC 1035 §5.1).
    last: Option<u32>,
    /// The minimum of an SOA record that had nothing better itself.
    soa: Option<u32>,
}

/// What stands between a record's owner and its data.
pub struct Head {
    ttl: Option<u32>,
    rtype: RecordType,
}

impl Reader<'_> {
    /// Reads a whole file; faulty entries are reported, a faulty file is the caller's to report.
    pub fn file(&mut self, path: PathBuf, text: Vec<u8>, mut scope: Scope) -> Result<(), Fault> {
        self.spend(text.len(), 1)?;
        let index = self.master.files.len();
        self.master.files.push((path.clone(), Vec::new()));
        self.open_files.push(path.clone());
        let mut lexer = Lexer::new(&text, 1, self.limits.entry);
        let mut tokens = Vec::new();
        while self.state == State::Reading {
            let Some(margin) = lexer.entry(&mut tokens) else {
                break;
            };
            let outcome = margin.and_then(|margin| self.entry(margin, &tokens, index, &mut scope));
            if let Err(fault) = outcome {
                self.report(&path, fault);
            }
        }
        self.open_files.pop();
        self.master.files[index].1 = text;
        Ok(())
    }

    fn entry(
        &mut self,
        margin: Margin,
        tokens: &[Token<'_>],
        file: usize,
        scope: &mut Scope,
    ) -> Result<(), Fault> {
        let mut words = Words::new(tokens);
        let place = Place { file: file as u32, line: words.line() };
        match (margin, words.peek()) {
            (Margin::Word, Some(first)) if first.text.starts_with(b"$") => {
                words.next();
                self.directive(first, words, place, scope)
            }
            (Margin::Word, _) => {
                let owner = words.name(&scope.origin, "an owner name")?;
                scope.owner = Some(owner.clone());
                self.record(owner, words, place, &scope.origin)
            }
            (Margin::Blank, Some(first)) if first.text.starts_with(b"$") => Err(first.fault(
                "a blank stands before a directive; expected it at the start of its line"
                    .to_owned(),
            )),
            (Margin::Blank, _) => {
                let owner = scope.owner.clone().ok_or_else(|| Fault {
                    line: place.line,
                    message: "the line begins with a blank, which repeats the owner before, and there is none; \
                              expected an owner name at its start"
                        .to_owned(),
                })?;
                self.record(owner, words, place, &scope.origin)
            }
        }
    }

    fn record(
        &mut self,
        owner: Name,
        mut words: Words<'_>,
        place: Place,
        origin: &Name,
    ) -> Result<(), Fault> {
        let head = head(&mut words).map_err(|fault| fault.within(&owner))?;
        self.keep(owner, &head, words, place, origin)
    }

    /// Reads the data and keeps the record.
    pub fn keep(
        &mut self,
        owner: Name,
        head: &Head,
        words: Words<'_>,
        place: Place,
        origin: &Name,
    ) -> Result<(), Fault> {
        let rtype = head.rtype;
        let kept = self.read_data(&owner, head, words, place, origin);
        let ttl = kept.map_err(|fault| fault.within(format_args!("{owner} {rtype}")))?;
        self.master.records.push(Record { owner, ttl, rtype, rdata: self.rdata.as_slice().into() });
        self.master.places.push(place);
        Ok(())
    }

    /// Everything that can be wrong with a record whose type is known. Leaves its data in `rdata`.
    fn read_data(
        &mut self,
        owner: &Name,
        head: &Head,
        mut words: Words<'_>,
        place: Place,
        origin: &Name,
    ) -> Result<u32, Fault> {
        let fault = |message| Err(Fault { line: place.line, message });
        if self.master.records.len() >= self.limits.records {
            self.state = State::Stopped;
            return fault(format!(
                "a zone holds at most {} records; the rest is not read",
                self.limits.records
            ));
        }
        if !owner.is_within(self.zone) {
            return fault(format!("is not within {}", self.zone));
        }
        self.rdata.clear();
        rdata::read(head.rtype, &mut words, origin, &mut self.rdata)?;
        match self.ttls.of(head, &self.rdata) {
            Some(ttl) => Ok(ttl),
            None => fault(
                "has no TTL, and none stands before it; expected one here or $TTL above".to_owned(),
            ),
        }
    }

    /// Takes `octets` from what may still be read.
    pub fn spend(&mut self, octets: usize, line: u32) -> Result<(), Fault> {
        match self.text_left.checked_sub(octets) {
            Some(left) => {
                self.text_left = left;
                Ok(())
            }
            None => {
                self.state = State::Stopped;
                let most = self.limits.text;
                let message = format!(
                    "a zone's text, included and generated, is at most {most} octets; the rest is not read"
                );
                Err(Fault { line, message })
            }
        }
    }

    fn report(&mut self, file: &Path, fault: Fault) {
        let Fault { line, message } = fault;
        let message = match self.problems.len() {
            most if most >= self.limits.problems => {
                if self.state == State::Stopped {
                    return; // Said already: faults of the files above still come by.
                }
                self.state = State::Stopped;
                format!("and more: only the first {most} problems are listed")
            }
            _ => message,
        };
        self.problems.push(Problem { file: file.into(), line, message });
    }
}

/// TTL and class, in either order and either missing, then the type.
pub fn head(words: &mut Words<'_>) -> Result<Head, Fault> {
    let mut ttl = None;
    let mut class = None;
    loop {
        let token = words.bare("a TTL, the class IN or a record type")?;
        if token.text.first().is_some_and(u8::is_ascii_digit) {
            let seconds = ttl::seconds(token, ttl::MAX_TTL)?;
            if ttl.replace(seconds).is_some() {
                return Err(token.fault(format!("{} is a second TTL; expected one", token.shown())));
            }
        } else if token.text.eq_ignore_ascii_case(b"IN")
            || token.text.eq_ignore_ascii_case(b"CLASS1")
        {
            if class.replace(token).is_some() {
                return Err(
                    token.fault(format!("{} is a second class; expected one", token.shown()))
                );
            }
        } else if is_other_class(token.text) {
            return Err(token.fault(format!("class {} is not served; expected IN", token.shown())));
        } else {
            return Ok(Head { ttl, rtype: record_type(token)? });
        }
    }
}

fn record_type(token: Token<'_>) -> Result<RecordType, Fault> {
    let text = str::from_utf8(token.text).unwrap_or_default();
    let rtype: RecordType =
        text.parse().map_err(|error| token.fault(format!("{} is {error}", token.shown())))?;
    match rtype.is_meta() {
        false => Ok(rtype),
        true => Err(token.fault(format!(
            "{rtype} is a type of queries and messages; no zone holds such records"
        ))),
    }
}

/// Classes but IN and ANY, which is a type here (RFC 6895 §3.2, RFC 3597 §5).
fn is_other_class(text: &[u8]) -> bool {
    let numbered = || {
        let (prefix, digits) = text.split_at_checked(5)?;
        (prefix.eq_ignore_ascii_case(b"CLASS") && digits.iter().all(u8::is_ascii_digit))
            .then_some(())
    };
    ["CH", "CS", "HS", "NONE"].iter().any(|class| text.eq_ignore_ascii_case(class.as_bytes()))
        || numbered().is_some()
}

impl Ttls {
    /// The TTL of a record (RFC 2308 §4), remembered for those that follow.
    fn of(&mut self, head: &Head, rdata: &[u8]) -> Option<u32> {
        if head.ttl.is_some() {
            self.last = head.ttl;
            return head.ttl;
        }
        let known = self.default.or(self.last).or(self.soa);
        if known.is_none() && head.rtype == RecordType::SOA {
            // An SOA's data ends in its minimum.
            let minimum = rdata.last_chunk().map(|&minimum| u32::from_be_bytes(minimum));
            self.soa = minimum.map(|minimum| minimum.min(ttl::MAX_TTL));
        }
        known.or(self.soa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits =
        Limits { text: 60, entry: 30, records: 3, generated: 10, depth: 1, problems: 2 };

    fn check(text: &str, expected: &str) {
        let zone: Name = "z".parse().unwrap();
        let mut open = |_: &Path| Ok(b"@ 1 NS .".to_vec());
        let got = match read_zone(Path::new("f"), text.into(), &zone, SMALL, &mut open) {
            Ok(master) => format!("{} records", master.records.len()),
            Err(problems) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn what_a_zone_may_take_is_bounded() {
        check("@ 1 NS .\n\tNS a\n\tNS b", "3 records");
        check(
            "@ 1 NS .\n\tNS a\n\tNS b\n\tNS c\nx",
            "f:4: z. NS: a zone holds at most 3 records; the rest is not read",
        );
        check("$GENERATE 1-3 $ 1 NS .", "3 records");
        check(
            "$GENERATE 1-4 $ 1 NS .",
            "f:1: $GENERATE: at 4: 4.z. NS: a zone holds at most 3 records; the rest is not read",
        );

        let too_much =
            "a zone's text, included and generated, is at most 60 octets; the rest is not read";
        let padded =
            |text: &str, octets: usize| text.to_owned() + &"\n".repeat(octets - text.len());
        check(&padded("@ 1 NS .", 60), "1 records");
        check(&padded("@ 1 NS .", 61), &format!("f: {too_much}"));
        check(&padded("$INCLUDE a", 52), "1 records");
        check(&padded("$INCLUDE a", 53), &format!("f:1: $INCLUDE: {too_much}"));
        check(&padded("$GENERATE 1-2 $ 1 NS .", 56), "2 records");
        check(&padded("$GENERATE 1-2 $ 1 NS .", 57), &format!("f:1: $GENERATE: at 2: {too_much}"));

        check(
            "x ; 8901234567890123456789\n.",
            "f:1: x.z.: the entry ends too soon; expected a TTL, the class IN or a record type\nf:2: .: the entry ends too soon; expected a TTL, the class IN or a record type",
        );
        check(
            "x ( ; 890123456789012345678901\n)\nx",
            "f:1: the entry is longer than 30 octets; the rest of the file is not read",
        );
        check(
            "\u{7}\n\u{7}\n\u{7}\n\u{7}",
            "f:1: control octet 0x07; expected text, with such octets written \\007\nf:2: control octet 0x07; expected text, with such octets written \\007\nf:3: and more: only the first 2 problems are listed",
        );
    }
}
