//! Frame Streams (<https://farsightsec.github.io/fstrm>), as the side that writes: the words said before and after
//! the frames, and where frames end. Pure.

/// What our frames hold.
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// The one field that control frames have.
const FIELD_CONTENT_TYPE: u32 = 1;
/// Octets of the longest control frame, as fstrm has it (`FSTRM_CONTROL_FRAME_LENGTH_MAX`).
const MAX_CONTROL: usize = 512;
/// Octets of a length.
const PREFIX: usize = 4;

/// Which control frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control {
    Accept = 1,
    Start = 2,
    Stop = 3,
    Ready = 4,
    Finish = 5,
}

/// Why a peer is no reader of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misfit {
    #[error("does not speak Frame Streams")]
    Garbled,
    #[error("does not take dnstap")]
    OtherContent,
    #[error("said {0:?} where it should not")]
    OutOfTurn(Control),
}

impl Control {
    /// On the wire. The first and the last say what the stream holds; an end says nothing.
    pub fn to_wire(self) -> Vec<u8> {
        let field = match self {
            Control::Ready | Control::Accept | Control::Start => {
                let head = [FIELD_CONTENT_TYPE, CONTENT_TYPE.len() as u32].map(u32::to_be_bytes);
                [&head.concat(), CONTENT_TYPE].concat()
            }
            Control::Stop | Control::Finish => vec![],
        };
        let length = (PREFIX + field.len()) as u32;
        [&[0, length, self as u32].map(u32::to_be_bytes).concat()[..], &field].concat()
    }

    /// The expected control frame at the front of what a reader has said: how many octets it has, or `None`
    /// while it is not whole.
    pub fn expect(self, said: &[u8]) -> Result<Option<usize>, Misfit> {
        let mut rest = said;
        let (Some(escape), Some(length)) = (word(&mut rest), word(&mut rest)) else {
            return Ok(None);
        };
        let length = length as usize;
        if escape != 0 || !(PREFIX..=MAX_CONTROL).contains(&length) {
            return Err(Misfit::Garbled);
        }
        let Some(mut frame) = rest.get(..length) else {
            return Ok(None);
        };
        let said = match word(&mut frame) {
            Some(1) => Control::Accept,
            Some(2) => Control::Start,
            Some(3) => Control::Stop,
            Some(4) => Control::Ready,
            Some(5) => Control::Finish,
            Some(_) | None => return Err(Misfit::Garbled),
        };
        if said != self {
            return Err(Misfit::OutOfTurn(said));
        }
        // Who names no content takes all; who names some must name ours.
        let mut named = content_types(frame)?.peekable();
        if named.peek().is_some() && !named.any(|content| content == CONTENT_TYPE) {
            return Err(Misfit::OtherContent);
        }
        Ok(Some(2 * PREFIX + length))
    }
}

fn content_types(mut fields: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Misfit> {
    let mut named = Vec::new();
    while !fields.is_empty() {
        let (Some(FIELD_CONTENT_TYPE), Some(length)) = (word(&mut fields), word(&mut fields))
        else {
            return Err(Misfit::Garbled);
        };
        let (content, rest) = fields.split_at_checked(length as usize).ok_or(Misfit::Garbled)?;
        named.push(content);
        fields = rest;
    }
    Ok(named.into_iter())
}

/// The next number, if it is whole.
fn word(octets: &mut &[u8]) -> Option<u32> {
    let (word, rest) = octets.split_first_chunk::<PREFIX>()?;
    *octets = rest;
    Some(u32::from_be_bytes(*word))
}

/// Of frames in a row: how many lie whole within the first `end` octets, and where they end.
pub fn whole_frames(frames: &[u8], end: usize) -> (u64, usize) {
    let (mut count, mut at) = (0, 0);
    while let Some(prefix) = frames[at..].first_chunk::<PREFIX>() {
        let next = at + PREFIX + u32::from_be_bytes(*prefix) as usize;
        if next > end {
            break;
        }
        (count, at) = (count + 1, next);
    }
    (count, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_is_what_fstrm_sends() {
        let ready = b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
        assert_eq!(Control::Ready.to_wire(), ready);
        assert_eq!(Control::Stop.to_wire(), b"\0\0\0\0\0\0\0\x04\0\0\0\x03");
    }

    #[test]
    fn an_accept_is_read_as_it_comes() {
        let accept = Control::Accept.to_wire();
        for end in 0..accept.len() {
            assert_eq!(Control::Accept.expect(&accept[..end]), Ok(None), "{end}");
        }
        assert_eq!(Control::Accept.expect(&accept), Ok(Some(accept.len())));
        let more = [&accept[..], b"more"].concat();
        assert_eq!(Control::Accept.expect(&more), Ok(Some(accept.len())));
        assert_eq!(Control::Finish.expect(&accept), Err(Misfit::OutOfTurn(Control::Accept)));
        // No content named: all is taken.
        assert_eq!(Control::Accept.expect(b"\0\0\0\0\0\0\0\x04\0\0\0\x01"), Ok(Some(12)));
    }

    #[test]
    fn who_takes_something_else_is_no_reader() {
        let check = |said: &[u8], misfit| assert_eq!(Control::Accept.expect(said), Err(misfit));
        let mut other = Control::Accept.to_wire();
        *other.last_mut().unwrap() = b'q';
        check(&other, Misfit::OtherContent);
        check(b"HTTP/1.1 400 Bad Request", Misfit::Garbled);
        check(b"\0\0\0\0\0\0\0\x03", Misfit::Garbled); // Too short for a type.
        check(b"\0\0\0\0\0\0\x02\x01", Misfit::Garbled); // 513 octets.
        assert_eq!(Control::Accept.expect(b"\0\0\0\0\0\0\x02\x00"), Ok(None)); // 512.
        check(b"\0\0\0\0\0\0\0\x04\0\0\0\x06", Misfit::Garbled); // No such type.
        check(b"\0\0\0\0\0\0\0\x08\0\0\0\x01\0\0\0\x01", Misfit::Garbled); // A field cut short.
        check(b"\0\0\0\0\0\0\0\x0c\0\0\0\x01\0\0\0\x01\0\0\0\x01", Misfit::Garbled);
        check(b"\0\0\0\0\0\0\0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x00", Misfit::Garbled);
    }

    #[test]
    fn frames_are_whole_or_sent_again() {
        let frames = b"\0\0\0\x01a\0\0\0\0\0\0\0\x02bc";
        let check = |end, count, at| assert_eq!(whole_frames(frames, end), (count, at), "{end}");
        check(0, 0, 0);
        check(4, 0, 0);
        check(5, 1, 5);
        check(8, 1, 5);
        check(9, 2, 9);
        check(14, 2, 9);
        check(15, 3, 15);
    }
}
