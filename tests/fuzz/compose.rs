//! A well-formed query out of a few octets, so that mutations reach the zones behind the parser.

/// Labels of the zones, and some of no zone.
const LABELS: [&str; 48] = [
    "example",
    "com",
    "inner",
    "www",
    "ns",
    "mail",
    "geo",
    "map",
    "hash",
    "wide",
    "cdn",
    "alias",
    "chain",
    "steered",
    "astray",
    "away",
    "loop",
    "pool",
    "a",
    "b",
    "c",
    "wild",
    "x",
    "turn",
    "sub",
    "other",
    "into",
    "tree",
    "spin",
    "pair",
    "riap",
    "long",
    "many",
    "crowd",
    "odd",
    "deep",
    "svc",
    "_s",
    "_tcp",
    "*",
    "missing",
    "net",
    "WwW",
    "id",
    "server",
    "hostname",
    "bind",
    "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
];
const TYPES: [u16; 25] = [
    1, 28, 5, 2, 6, 12, 15, 16, 33, 39, 43, 41, 46, 65, 99, 128, 249, 250, 251, 252, 253, 254, 255,
    65280, 64,
];

/// `[labels and flags, type, class, (a label)*, (EDNS)*]`; whatever is missing is zero.
pub fn query(recipe: &[u8]) -> Vec<u8> {
    let mut recipe = recipe.iter().copied();
    let mut next = || recipe.next().unwrap_or(0);
    let (shape, qtype, class) = (next(), next(), next());
    let mut packet = vec![0xab, 0xcd, shape & 1, 0, 0, 1, 0, 0, 0, 0, 0, shape >> 1 & 1];
    for _ in 0..shape >> 4 {
        let label = LABELS[usize::from(next()) % LABELS.len()];
        let label = &label[..label.len().min(63)];
        packet.push(label.len() as u8);
        packet.extend(label.bytes());
    }
    match shape >> 2 & 3 {
        0 => packet.extend(b"\x07example\x03com\0"),
        1 => packet.extend(b"\x05inner\x07eXample\x03com\0"),
        2 => packet.extend(b"\x04wild\x07example\x03com\0"),
        _ => packet.push(0),
    }
    packet.extend(TYPES[usize::from(qtype) % TYPES.len()].to_be_bytes());
    packet.extend([0, if class == 0 { 1 } else { class }]);
    if shape >> 1 & 1 == 1 {
        let (options, size, flags) = (next(), [next(), next()], next());
        let mut data = vec![];
        if options & 1 == 1 {
            data.extend([0, 3, 0, 0]);
        }
        if options & 2 == 2 {
            let bits = if options & 4 == 4 { 128 } else { 32 };
            let source = next() % (bits + 1);
            let octets = source.div_ceil(8);
            data.extend([0, 8, 0, 4 + octets, 0, if bits == 32 { 1 } else { 2 }, source, 0]);
            data.extend((0..octets).map(|_| next()));
            if let (1.., Some(last)) = (source % 8, data.last_mut()) {
                *last &= !(0xff >> (source % 8));
            }
        }
        if options & 8 == 8 {
            // Cookies of every shape, the last of them malformed.
            let octets = [8, 24, 40, 15][usize::from(options >> 4 & 3)];
            data.extend([0, 10, 0, octets]);
            data.extend(1..=octets);
        }
        packet.extend([0, 0, 41, size[0], size[1], 0, 0, flags & 0x80, 0]);
        packet.extend([0, data.len() as u8]);
        packet.extend(data);
    }
    packet
}
