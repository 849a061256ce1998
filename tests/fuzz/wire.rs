//! A packet as an independent decoder sees it, with the octets that it would not tell of.

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// A message that was decoded, and what stands around its values.
pub struct Decoded<'p> {
    pub message: Message,
    /// Octets after the last record.
    pub trailing: usize,
    pub opts: Vec<RawOpt<'p>>,
}

/// An OPT record before anybody made sense of it.
pub struct RawOpt<'p> {
    pub owner: &'p [u8],
    pub rdata: &'p [u8],
}

const HEADER: usize = 12;
const TYPE_OPT: [u8; 2] = [0, 41];

impl<'p> Decoded<'p> {
    pub fn read(packet: &'p [u8]) -> Option<Decoded<'p>> {
        let mut decoder = BinDecoder::new(packet);
        let message = Message::read(&mut decoder).ok()?;
        let trailing = packet.len() - decoder.index();
        let (opts, _) = records(packet)?;
        Some(Decoded { message, trailing, opts })
    }
}

/// The OPT records and the number of others, if names and lengths are sound.
pub fn records(packet: &[u8]) -> Option<(Vec<RawOpt<'_>>, usize)> {
    let header = packet.get(..HEADER)?;
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let mut decoder = BinDecoder::new(packet);
    decoder.read_slice(HEADER).ok()?;
    for _ in 0..count(4) {
        Name::read(&mut decoder).ok()?;
        decoder.read_slice(4).ok()?;
    }
    let (mut opts, mut others) = (vec![], 0);
    for _ in 0..count(6) + count(8) + count(10) {
        let start = decoder.index();
        Name::read(&mut decoder).ok()?;
        let fixed_at = decoder.index();
        decoder.read_slice(10).ok()?;
        let fixed = &packet[fixed_at..fixed_at + 10];
        let data_at = decoder.index();
        decoder.read_slice(u16::from_be_bytes([fixed[8], fixed[9]]).into()).ok()?;
        if fixed[..2] == TYPE_OPT {
            let (owner, rdata) = (&packet[start..fixed_at], &packet[data_at..decoder.index()]);
            opts.push(RawOpt { owner, rdata });
        } else {
            others += 1;
        }
    }
    Some((opts, others))
}

impl<'p> RawOpt<'p> {
    /// Code and value of each option; `None` if one is cut short.
    pub fn options(&self) -> Option<Vec<(u16, &'p [u8])>> {
        let mut rest = self.rdata;
        let mut options = vec![];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at_checked(4)?;
            let (value, tail) =
                tail.split_at_checked(u16::from_be_bytes([head[2], head[3]]).into())?;
            options.push((u16::from_be_bytes([head[0], head[1]]), value));
            rest = tail;
        }
        Some(options)
    }

    /// The first cookie: the others do not count (RFC 7873 §5.2).
    pub fn cookie(&self) -> Option<&'p [u8]> {
        let mut options = self.options()?.into_iter();
        options.find(|(code, _)| *code == 10).map(|(_, value)| value)
    }

    /// The values of the client subnets.
    pub fn subnets(&self) -> Option<Vec<&'p [u8]>> {
        let options = self.options()?.into_iter();
        Some(options.filter(|(code, _)| *code == 8).map(|(_, value)| value).collect())
    }
}

/// RFC 7871 §6, §7.1.2: is this the client subnet of a query?
pub fn is_sound_subnet(value: &[u8]) -> bool {
    let &[0, family, source, 0, ref address @ ..] = value else { return false };
    let bits = match family {
        0 => 0,
        1 => 32,
        2 => 128,
        _ => return false,
    };
    let source = usize::from(source);
    let is_zero = |bit: usize| address[bit / 8] & 0x80 >> (bit % 8) == 0;
    source <= bits
        && address.len() == source.div_ceil(8)
        && (source..address.len() * 8).all(is_zero)
}

/// A name's octets on the wire in lower case, from what the decoder made of it.
pub fn lower_wire(name: &Name) -> Vec<u8> {
    let mut wire = vec![];
    for label in name.iter() {
        wire.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
        wire.extend(label.to_ascii_lowercase());
    }
    wire.push(0);
    wire
}
