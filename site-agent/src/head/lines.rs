//! Lines and fields, from octets that come in any pieces. Each octet is looked at once, however they come.

use super::Limits;
use super::fields::Fields;
use super::octets::{fault, is_tchar, is_text, trim};
use super::refusal::Refusal;

/// How far the reading of a section of lines has come, in octets from the message's first.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Where the line begins that is being waited for.
    start: usize,
    /// Up to where it has no end.
    searched: usize,
}

/// How far the reading of a head has come.
#[derive(Clone, Debug, Default)]
pub enum Reading {
    #[default]
    Start,
    Line(Lines),
    Fields(Lines),
    Whole,
}

/// Octets from one to another; those of a head are fewer than 2^32.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self { start: start as u32, end: end as u32 }
    }

    pub fn of<'o>(&self, octets: &'o [u8]) -> &'o [u8] {
        &octets[self.start as usize..self.end as usize]
    }
}

impl Lines {
    pub fn starting_at(start: usize) -> Self {
        Self { start, searched: start }
    }

    /// The next whole line, without its end.
    pub fn next(&mut self, octets: &[u8]) -> Result<Option<Span>, Refusal> {
        let Some(lf) = memchr::memchr(b'\n', &octets[self.searched..]) else {
            self.searched = octets.len();
            return Ok(None);
        };
        let lf = self.searched + lf;
        if lf == self.start || octets[lf - 1] != b'\r' {
            return Err(Refusal::BareLf);
        }
        let line = Span::new(self.start, lf - 1);
        *self = Self::starting_at(lf + 1);
        Ok(Some(line))
    }

    /// Reads fields up to the empty line; then how many octets there are with it.
    pub fn fields(
        &mut self,
        octets: &[u8],
        most: usize,
        fields: &mut Fields,
    ) -> Result<Option<usize>, Refusal> {
        while let Some(line) = self.next(octets)? {
            if line.start == line.end {
                return Ok(Some(self.start));
            }
            if fields.len() == most {
                return Err(Refusal::TooManyFields);
            }
            field(octets, line, fields)?;
        }
        Ok(None)
    }
}

/// What a window on octets is: as many as a head may have. A head that does not end within it is too long.
pub fn window<'o>(octets: &'o [u8], limits: &Limits) -> &'o [u8] {
    &octets[..octets.len().min(limits.head)]
}

fn field(octets: &[u8], line: Span, fields: &mut Fields) -> Result<(), Refusal> {
    let text = line.of(octets);
    let colon = text.iter().position(|octet| !is_tchar(*octet)).unwrap_or(text.len());
    match text.get(colon) {
        Some(b':') if colon > 0 => {}
        Some(b':') => return Err(Refusal::EmptyName),
        Some(b' ' | b'\t') if colon == 0 && fields.is_empty() => return Err(Refusal::LeadingSpace),
        Some(b' ' | b'\t') if colon == 0 => return Err(Refusal::ObsFold),
        _ if !is_text(text) => return Err(fault(text)),
        Some(b' ' | b'\t') if trim(&text[colon..]).first() == Some(&b':') => {
            return Err(Refusal::SpaceBeforeColon);
        }
        Some(_) if text.contains(&b':') => return Err(Refusal::FieldName),
        Some(_) | None => return Err(Refusal::NoColon),
    }
    let after = &text[colon + 1..];
    if !is_text(after) {
        return Err(fault(after));
    }
    let value = trim(after);
    let lead = after.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
    let colon = line.start as usize + colon;
    // A value of spaces alone is empty, and ends where they do.
    let value_start = if value.is_empty() { colon + 1 } else { colon + 1 + lead };
    let value = Span::new(value_start, value_start + value.len());
    fields.read(octets, colon, value, line);
    Ok(())
}
