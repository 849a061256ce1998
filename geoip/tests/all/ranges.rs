//! Range tables against a naive model: a list of prefixes, searched whole.

use geoip::{Addr, RangeTable};

use crate::dice::{Dice, Rolled};

#[test]
fn the_longest_prefix_wins_and_the_last_of_equals() {
    let check = |prefixes: &str, addr: u32, value: char, depth: u8| {
        let hit =
            RangeTable::from_prefixes('-', prefixes.split_whitespace().map(prefix)).find(addr);
        assert_eq!((hit.value, hit.depth), (value, depth), "{prefixes} at {addr:#x}");
    };
    check("", 0, '-', 0);
    check("0/0a", 7, 'a', 0);
    check("0/0- 1/8-", 0x0100_0000, '-', 0); // All the same is one run.
    check("10/8a", 0x0a00_0000, 'a', 8);
    check("10/8a", 0x0b00_0000, '-', 8);
    check("10/8a", 0xffff_ffff, '-', 1);
    check("10/8a 10/8b", 0x0a00_0000, 'b', 8);
    check("10/8a 10/16b", 0x0a00_0000, 'b', 16);
    check("10/16b 10/8a", 0x0a00_0000, 'b', 16);
    check("10/16b 10/8a", 0x0a80_0000, 'a', 9);
    check("10/8a 11/8a", 0x0a00_0000, 'a', 7); // Neighbours of one value.
    check("10/16- 10/8a", 0x0a00_0000, '-', 16); // The default's value, on purpose.
    check("0/32a 255/8b", 0, 'a', 32);
    check("0/32a 255/8b", 0xffff_ffff, 'b', 8);
}

#[test]
#[should_panic(expected = "a prefix of 33 bits does not fit the address")]
fn a_prefix_longer_than_the_address_panics() {
    RangeTable::from_prefixes(0, [(0u32, 33, 1)]);
}

#[test]
fn random_ipv4_tables_answer_as_a_list_of_prefixes_does() {
    random_tables::<u32>();
}

#[test]
fn random_ipv6_tables_answer_as_a_list_of_prefixes_does() {
    random_tables::<u128>();
}

fn random_tables<A: Rolled>() {
    let mut dice = Dice::new();
    for round in 0..150 {
        let one = random_prefixes::<A>(&mut dice, 1 << (round % 8));
        let other = random_prefixes::<A>(&mut dice, 1 << (round % 5));
        let table = RangeTable::from_prefixes(0, one.iter().copied());
        let second = RangeTable::from_prefixes(0, other.iter().copied());
        let halved = table.map(|value| value / 2);
        let both = table.overlay(&second, |one, other| (one, other / 2));
        assert_whole(&table);
        assert_whole(&halved);
        assert_whole(&both);
        for addr in addresses(&mut dice, &one, &other) {
            let expected = longest(&one, addr);
            assert_eq!(table.get(addr), expected, "{addr:?}");
            assert_eq!(halved.get(addr), expected / 2, "{addr:?}");
            assert_eq!(both.get(addr), (expected, longest(&other, addr) / 2), "{addr:?}");
            assert_depth(&table, addr);
            assert_depth(&both, addr);
        }
    }
}

/// The value of the longest prefix around `addr`, the last of equal ones.
fn longest<A: Addr>(prefixes: &[(A, u8, u8)], addr: A) -> u8 {
    let around =
        prefixes.iter().filter(|(network, len, _)| network.first_of(*len) == addr.first_of(*len));
    around.max_by_key(|(_, len, _)| *len).map_or(0, |(_, _, value)| *value)
}

/// Runs cover every address once, in order, and no two neighbours are equal.
fn assert_whole<A: Addr, V: Copy + Eq + std::fmt::Debug>(table: &RangeTable<A, V>) {
    let runs: Vec<(A, A, V)> = table.runs().collect();
    assert_eq!(runs.len(), table.len());
    assert_eq!((runs[0].0, runs[runs.len() - 1].1), (A::FIRST, A::LAST));
    for pair in runs.windows(2) {
        assert_eq!(pair[0].1.after(), Some(pair[1].0));
        assert_ne!(pair[0].2, pair[1].2);
    }
}

/// The prefix of the depth lies in the run, the next shorter one does not.
fn assert_depth<A: Addr, V: Copy + Eq + std::fmt::Debug>(table: &RangeTable<A, V>, addr: A) {
    let hit = table.find(addr);
    let (first, last, value) = table.runs().find(|(_, last, _)| addr <= *last).unwrap();
    assert_eq!(hit.value, value);
    let inside = |len: u8| first <= addr.first_of(len) && addr.last_of(len) <= last;
    assert!(inside(hit.depth), "{addr:?}");
    assert!(hit.depth == 0 || !inside(hit.depth - 1), "{addr:?}");
}

/// Prefixes of few values, many nested: each new one is random or near one that is there.
fn random_prefixes<A: Rolled>(dice: &mut Dice, most: usize) -> Vec<(A, u8, u8)> {
    let mut prefixes: Vec<(A, u8, u8)> = Vec::new();
    for _ in 0..dice.below(most + 1) {
        let addr = match prefixes.len() {
            0 => A::rolled(dice),
            len if dice.below(2) == 0 => prefixes[dice.below(len)].0,
            _ => A::rolled(dice),
        };
        prefixes.push((addr, dice.below(usize::from(A::BITS) + 1) as u8, dice.below(6) as u8));
    }
    prefixes
}

/// Edges of every prefix and their neighbours, the ends of the space, and random ones.
fn addresses<A: Rolled>(dice: &mut Dice, one: &[(A, u8, u8)], other: &[(A, u8, u8)]) -> Vec<A> {
    let mut addresses = vec![A::FIRST, A::LAST];
    addresses.extend((0..8).map(|_| A::rolled(dice)));
    for (addr, len, _) in one.iter().chain(other) {
        let (first, last) = (addr.first_of(*len), addr.last_of(*len));
        addresses.extend([first, last, *addr]);
        addresses.extend(first.before());
        addresses.extend(last.after());
    }
    addresses
}

/// `10/8a`: the first octet, the length, the value.
fn prefix(text: &str) -> (u32, u8, char) {
    let (octet, rest) = text.split_once('/').unwrap();
    let (len, value) = rest.split_at(rest.len() - 1);
    (octet.parse::<u32>().unwrap() << 24, len.parse().unwrap(), value.chars().next().unwrap())
}
