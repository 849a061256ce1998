//! The fields of a head: in their order and case, edited without being moved.
//!
//! Octets are only ever added: a field is where its name and value stand, and an edit points it elsewhere. What
//! nobody touched, and was written as we would, goes out in runs of whole lines.

use std::ops::Range;

use super::lines::Span;
use super::name::Known;
use super::octets::{decimal_digits, elements, is_text, is_token, trim};
use super::refusal::Refusal;

/// A buffer that a long head has made larger than this is given back with its head.
const KEPT: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
    known: Known,
    /// Its octets are `name: value`, in one piece, with the end of line behind them.
    is_plain: bool,
}

impl Field {
    fn line(&self) -> Range<usize> {
        self.name.start as usize..self.value.end as usize + 2
    }
}

/// A field that cannot be: a name that is no token, or a value with a control octet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no field has such a name or value")]
pub struct Unwritable;

/// The fields of a head, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    octets: Vec<u8>,
    list: Vec<Field>,
    /// Bits of the names that are there, or were: most heads have few, and then nothing is looked for.
    seen: u16,
}

impl Fields {
    pub const NONE: Fields = Fields { octets: vec![], list: vec![], seen: 0 };

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Names and values, as they were written.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.list.iter().map(|field| (field.name.of(&self.octets), field.value.of(&self.octets)))
    }

    /// The values of all fields of this name, whatever its case.
    pub fn all<'f>(&'f self, name: &'f [u8]) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        self.iter()
            .filter_map(move |(other, value)| other.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The value of the first field of this name.
    pub fn first<'f>(&'f self, name: &'f [u8]) -> Option<&'f [u8]> {
        self.all(name).next()
    }

    /// Adds a field at the end.
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unwritable> {
        let value = writable(name, value)?;
        self.push(name, value);
        Ok(())
    }

    /// Has one field of this name: the first of them with another value, where it stands, or a new one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unwritable> {
        let value = writable(name, value)?;
        let octets = &self.octets;
        let first =
            self.list.iter().position(|field| field.name.of(octets).eq_ignore_ascii_case(name));
        let Some(first) = first else {
            self.push(name, value);
            return Ok(());
        };
        let mut index = 0;
        self.list.retain(|field| {
            index += 1;
            index <= first + 1 || !field.name.of(octets).eq_ignore_ascii_case(name)
        });
        self.revalue(first, value);
        Ok(())
    }

    /// Adds to the list that is the last field of this name, or a field if there is none.
    pub fn extend(&mut self, name: &[u8], element: &[u8]) -> Result<(), Unwritable> {
        let element = writable(name, element)?;
        let octets = &self.octets;
        let last =
            self.list.iter().rposition(|field| field.name.of(octets).eq_ignore_ascii_case(name));
        let Some(last) = last else {
            self.push(name, element);
            return Ok(());
        };
        let old = self.list[last].value;
        let start = self.octets.len();
        self.octets.extend_from_within(old.start as usize..old.end as usize);
        if old.start != old.end {
            self.octets.extend_from_slice(b", ");
        }
        self.octets.extend_from_slice(element);
        self.point(last, start);
        Ok(())
    }

    /// Takes out all fields of this name, whatever its case.
    pub fn remove(&mut self, name: &[u8]) {
        self.retain(|other, _| !other.eq_ignore_ascii_case(name));
    }

    /// Takes out all fields but those for which this holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let octets = &self.octets;
        self.list.retain(|field| keep(field.name.of(octets), field.value.of(octets)));
    }

    /// Writes all fields, each with its end of line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for field in &self.list {
            let line = field.line();
            if field.is_plain && line.start == run.end {
                run.end = line.end;
                continue;
            }
            out.extend_from_slice(&self.octets[run]);
            run = 0..0;
            if field.is_plain {
                run = line;
                continue;
            }
            line_of(field.name.of(&self.octets), field.value.of(&self.octets), out);
        }
        out.extend_from_slice(&self.octets[run]);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.octets.clear();
        self.seen = 0;
        if self.octets.capacity() > KEPT {
            self.octets.shrink_to(KEPT);
        }
    }

    /// Where a field stands in octets that [`Fields::keep`] is given later.
    pub(super) fn read(&mut self, octets: &[u8], colon: usize, value: Span, line: Span) {
        let name = Span { start: line.start, end: Span::new(0, colon).end };
        let gap = &octets[colon..value.start as usize];
        let plain: &[u8] = if value.start == value.end { b":" } else { b": " };
        let is_plain = value.end == line.end && gap == plain;
        let known = Known::of(name.of(octets));
        self.seen |= known.bit();
        self.list.push(Field { name, value, known, is_plain });
    }

    /// Has the octets where the fields stand.
    pub(super) fn keep(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// Octets for the start line, which are not in any field.
    pub(super) fn add_octets(&mut self, parts: &[&[u8]]) -> Span {
        let start = self.octets.len();
        for part in parts {
            self.octets.extend_from_slice(part);
        }
        Span::new(start, self.octets.len())
    }

    /// Whether a field of this name may be there. If not, none is.
    pub(super) fn may_have(&self, known: Known) -> bool {
        self.seen & known.bit() != 0
    }

    pub(super) fn known(&self) -> impl DoubleEndedIterator<Item = (Known, &[u8])> {
        self.list.iter().map(|field| (field.known, field.value.of(&self.octets)))
    }

    pub(super) fn has(&self, known: Known) -> bool {
        self.may_have(known) && self.list.iter().any(|field| field.known == known)
    }

    pub(super) fn first_known(&self, known: Known) -> Option<&[u8]> {
        if !self.may_have(known) {
            return None;
        }
        let field = self.list.iter().find(|field| field.known == known)?;
        Some(field.value.of(&self.octets))
    }

    /// Where the value of Host stands, of which there may be one.
    pub(super) fn only_host(&self) -> Result<Option<Span>, Refusal> {
        if !self.may_have(Known::Host) {
            return Ok(None);
        }
        let mut hosts = self.list.iter().filter(|field| field.known == Known::Host);
        let host = hosts.next().map(|field| field.value);
        if hosts.next().is_some() { Err(Refusal::ManyHosts) } else { Ok(host) }
    }

    pub(super) fn remove_known(&mut self, known: Known) {
        if self.may_have(known) {
            self.list.retain(|field| field.known != known);
        }
    }

    pub(super) fn retain_known(&mut self, mut keep: impl FnMut(Known, &[u8]) -> bool) {
        let octets = &self.octets;
        self.list.retain(|field| keep(field.known, field.name.of(octets)));
    }

    /// The one field of this kind has this value; it is one that may be written.
    pub(super) fn set_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        match self.list.iter().position(|field| field.known == known) {
            Some(index) if self.list[index].value.of(&self.octets) == value => {}
            Some(index) => self.revalue(index, value),
            None => self.push(name, value),
        }
    }

    pub(super) fn set_length(&mut self, length: u64) {
        self.set_known(
            Known::ContentLength,
            b"Content-Length",
            decimal_digits(length, &mut [0; 20]),
        );
    }

    /// Adds a field that may be written.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        debug_assert!(is_token(name) && is_text(value) && trim(value) == value);
        let start = self.octets.len();
        line_of(name, value, &mut self.octets);
        let end = self.octets.len() - 2;
        let known = Known::of(name);
        self.seen |= known.bit();
        self.list.push(Field {
            name: Span::new(start, start + name.len()),
            value: Span::new(end - value.len(), end),
            known,
            is_plain: true,
        });
    }

    fn revalue(&mut self, index: usize, value: &[u8]) {
        let start = self.octets.len();
        self.octets.extend_from_slice(value);
        self.point(index, start);
    }

    /// Its value is what was added from here on.
    fn point(&mut self, index: usize, start: usize) {
        let field = &mut self.list[index];
        field.value = Span::new(start, self.octets.len());
        field.is_plain = false;
    }
}

/// Two are the same if they have the same fields in the same order, however they came to be.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

fn line_of(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(if value.is_empty() { b":" } else { b": " });
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn writable<'v>(name: &[u8], value: &'v [u8]) -> Result<&'v [u8], Unwritable> {
    let value = trim(value);
    if is_token(name) && is_text(value) { Ok(value) } else { Err(Unwritable) }
}

/// Whether a list, perhaps in several fields, has this element, whatever its case.
pub fn has_element<'v>(lists: impl Iterator<Item = &'v [u8]>, wanted: &[u8]) -> bool {
    lists.flat_map(elements).any(|element| element.eq_ignore_ascii_case(wanted))
}
