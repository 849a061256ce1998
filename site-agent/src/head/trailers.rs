//! What comes behind a chunked body: fields, of which none may frame a message, lead it, or say who may ask.

use super::Limits;
use super::fields::{Fields, Unwritable};
use super::lines::Lines;
use super::name::{Known, is_forbidden_in_trailers};
use super::refusal::Refusal;

/// The trailers of a message; none that are forbidden (RFC 9110 §6.5.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trailers(Fields);

impl Trailers {
    pub const NONE: Trailers = Trailers(Fields::NONE);

    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// Adds one, unless it is forbidden here.
    ///
    /// # Errors
    ///
    /// If no field can be so.
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unwritable> {
        if is_forbidden(name) { Ok(()) } else { self.0.append(name, value) }
    }

    /// Writes them behind the last chunk's size line, and so ends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        out.extend_from_slice(b"\r\n");
    }

    fn read(&mut self, section: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let read = Lines::default().fields(section, limits.trailer_fields, &mut self.0);
        read.map_err(|refusal| match refusal {
            Refusal::TooManyFields => Refusal::TooManyTrailers,
            other => other,
        })?;
        self.0.keep(section);
        self.0.retain(|name, _| !is_forbidden(name));
        Ok(())
    }
}

fn is_forbidden(name: &[u8]) -> bool {
    is_forbidden_in_trailers(name) || Known::of(name) == Known::LookAlike
}

/// A trailer section as it comes: its octets up to now.
#[derive(Clone, Debug, Default)]
pub struct Section {
    octets: Vec<u8>,
    lines: Lines,
}

impl Section {
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Takes as many octets as are the section's; once it is whole, the trailers.
    pub fn take(
        &mut self,
        octets: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Option<Trailers>), Refusal> {
        let before = self.octets.len();
        // An empty section is never too long.
        let most = limits.trailers.max(2);
        let room = most - before;
        self.octets.extend_from_slice(&octets[..octets.len().min(room)]);
        while let Some(line) = self.lines.next(&self.octets)? {
            if line.start == line.end {
                let end = line.end as usize + 2;
                let mut trailers = Trailers::default();
                trailers.read(&self.octets[..end], limits)?;
                return Ok((end - before, Some(trailers)));
            }
        }
        if self.octets.len() == most {
            return Err(Refusal::TrailersTooLong);
        }
        Ok((octets.len(), None))
    }
}
