//! IPv4 classes laid out for the cache: what most queries look up, in two or three lines of it.
//!
//! A random client's look-up misses the cache at every line it touches, and that is all it costs. So the
//! first table is small enough to stay: a word for each /14. Where a whole /14 is of one class its word
//! answers; elsewhere the runs inside it stand together.

use arrayvec::ArrayVec;
use geoip::{Hit, RangeTable};

use super::ClassId;

pub enum V4Table {
    Compact(Compact),
    /// More classes or runs than the compact form has bits for.
    Sorted(RangeTable<u32, ClassId>),
}

pub struct Compact {
    /// One word for each block: its class and depth, or how many runs it has and where they stand.
    blocks: Box<[u32]>,
    /// For each block of several classes its runs, each as the low bits of its first address above its
    /// class.
    runs: Vec<u32>,
}

/// A block is a prefix of this length: 16,384 words are 64 KiB, and a country's database leaves some
/// seven runs a block, which is half a cache line.
const BLOCK: u32 = 14;
/// Bits of an address inside its block.
const LOW_BITS: u32 = 32 - BLOCK;
const LOW: u32 = (1 << LOW_BITS) - 1;
/// Set in the word of a block whose runs stand in `runs`.
const MIXED: u32 = 1 << 31;
/// Bits of a class, in the word of a block and in a run; depth or low bits stand above them.
const CLASS_BITS: u32 = 32 - LOW_BITS;
const CLASS: u32 = (1 << CLASS_BITS) - 1;
/// Bits of a place in `runs`; the count stands above them.
const PLACE_BITS: u32 = 22;
const PLACE: u32 = (1 << PLACE_BITS) - 1;
/// A count that does not fit its bits is written so, and stands in the word before the runs.
const MANY: u32 = (1 << (31 - PLACE_BITS)) - 1;
/// Addresses warmed at a time.
const WARMED: usize = 64;
/// Steps of a search that are taken ahead: of 128 runs, they leave a cache line.
const STEPS: usize = 3;

impl V4Table {
    pub fn new(table: RangeTable<u32, ClassId>) -> V4Table {
        match Compact::new(&table) {
            Some(compact) => V4Table::Compact(compact),
            None => V4Table::Sorted(table),
        }
    }

    pub fn find(&self, address: u32) -> Hit<ClassId> {
        match self {
            V4Table::Compact(compact) => compact.find(address),
            V4Table::Sorted(table) => table.find(address),
        }
    }
}

impl V4Table {
    /// Fetches from memory what look-ups of these addresses will read. One by one they would wait at every
    /// step, and a wait is most of what a step costs; here all take their first step, then all their
    /// second, and no fetch of a step depends on another.
    pub fn warm(&self, addresses: &[u32]) -> u32 {
        let V4Table::Compact(compact) = self else { return 0 };
        addresses.chunks(WARMED).fold(0, |seen, chunk| seen ^ compact.warm(chunk))
    }
}

impl V4Table {
    /// The first address of each run; a run that crosses a block's edge may be told in pieces.
    pub fn starts(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            V4Table::Compact(compact) => Box::new(compact.starts()),
            V4Table::Sorted(table) => Box::new(table.runs().map(|(first, ..)| first)),
        }
    }
}

impl Compact {
    fn starts(&self) -> impl Iterator<Item = u32> {
        self.blocks.iter().zip(0u32..).flat_map(|(word, block)| {
            let runs = if word & MIXED == 0 { &[0][..] } else { self.runs_of(*word) };
            runs.iter().map(move |run| block << LOW_BITS | run >> CLASS_BITS)
        })
    }

    /// `None` if the table has too many classes or runs.
    fn new(table: &RangeTable<u32, ClassId>) -> Option<Compact> {
        let mut compact = Compact { blocks: vec![0; 1 << BLOCK].into(), runs: Vec::new() };
        let mut inside: Vec<u32> = Vec::new();
        for (first, last, ClassId(class)) in table.runs() {
            if class > CLASS {
                return None;
            }
            for block in first >> LOW_BITS..=last >> LOW_BITS {
                let start = first.max(block << LOW_BITS) & LOW;
                let reaches_end = last >= (block << LOW_BITS | LOW);
                if start == 0 && reaches_end {
                    let depth = u32::from(table.find(block << LOW_BITS).depth);
                    compact.blocks[block as usize] = depth << CLASS_BITS | class;
                    continue;
                }
                inside.push(start << CLASS_BITS | class);
                if reaches_end {
                    compact.blocks[block as usize] = compact.add(&mut inside)?;
                }
            }
        }
        Some(compact)
    }

    /// Moves the runs of one block in; returns the word that leads to them.
    fn add(&mut self, inside: &mut Vec<u32>) -> Option<u32> {
        let count = inside.len() as u32;
        if count >= MANY {
            self.runs.push(count);
        }
        let at = u32::try_from(self.runs.len()).ok().filter(|&at| at < 1 << PLACE_BITS)?;
        self.runs.append(inside);
        Some(MIXED | count.min(MANY) << PLACE_BITS | at)
    }

    /// At most `WARMED` addresses. What it returns says nothing.
    fn warm(&self, addresses: &[u32]) -> u32 {
        let mut seen = 0;
        let words: ArrayVec<u32, WARMED> = addresses.iter().map(|one| self.word(*one)).collect();
        let mixed = addresses.iter().zip(&words).filter(|(_, word)| *word & MIXED != 0);
        let mut searches: ArrayVec<(&[u32], u32), WARMED> =
            mixed.map(|(address, word)| (self.runs_of(*word), address & LOW)).collect();
        for _ in 0..STEPS {
            for (runs, low) in &mut searches {
                let (before, behind) = runs.split_at(runs.len() / 2);
                let Some(middle) = behind.first() else { continue };
                *runs = if middle >> CLASS_BITS <= *low { behind } else { before };
                seen ^= middle;
            }
        }
        words.iter().fold(seen, |seen, word| seen ^ word)
    }

    fn word(&self, address: u32) -> u32 {
        self.blocks[(address >> LOW_BITS) as usize]
    }

    /// The runs that the word of a mixed block leads to.
    fn runs_of(&self, word: u32) -> &[u32] {
        let at = (word & PLACE) as usize;
        let count = match (word & !MIXED) >> PLACE_BITS {
            MANY => self.runs[at - 1] as usize,
            count => count as usize,
        };
        &self.runs[at..at + count]
    }

    fn find(&self, address: u32) -> Hit<ClassId> {
        let word = self.word(address);
        if word & MIXED == 0 {
            return Hit { value: ClassId(word & CLASS), depth: (word >> CLASS_BITS) as u8 };
        }
        let runs = self.runs_of(word);
        let low = address & LOW;
        let after = runs.partition_point(|run| run >> CLASS_BITS <= low);
        let found = runs[after - 1];
        // No prefix that reaches out of the block is all of one class, so its ends need no look outside.
        let start = found >> CLASS_BITS;
        let before = if start == 0 { 0 } else { depth_without(low, start - 1) };
        let behind = runs.get(after).map_or(0, |next| depth_without(low, next >> CLASS_BITS));
        Hit { value: ClassId(found & CLASS), depth: before.max(behind) }
    }
}

/// Length of the shortest prefix around `low` that leaves `other` out; both are the low bits of addresses
/// in one block.
fn depth_without(low: u32, other: u32) -> u8 {
    (low ^ other).leading_zeros() as u8 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both tables say the same of every run's ends, and of the addresses around them.
    fn check(prefixes: &[(u32, u8, u32)]) {
        let prefixes = prefixes.iter().map(|&(net, length, class)| (net, length, ClassId(class)));
        let table = RangeTable::from_prefixes(ClassId(0), prefixes);
        let compiled = V4Table::new(table.clone());
        for (first, last, _) in table.runs() {
            for address in [first, last, first / 2 + last / 2, first | LOW, last & !LOW] {
                assert_eq!(compiled.find(address), table.find(address), "{address:#010x}");
            }
        }
        let starts: Vec<u32> = compiled.starts().collect();
        let mut starts_left = starts.iter();
        assert!(starts.is_sorted());
        assert!(table.runs().all(|(first, ..)| starts_left.any(|start| *start == first)));
        // Fetches only what is there, however many are asked for.
        let firsts: Vec<u32> = table.runs().map(|(first, ..)| first).collect();
        compiled.warm(&firsts);
    }

    #[test]
    fn it_finds_what_the_sorted_runs_say() {
        check(&[]);
        check(&[(0x0a00_0000, 8, 1), (0x0a01_0000, 16, 2), (0x0a01_0200, 24, 3)]);
        check(&[(0, 1, 1), (0xffff_ff00, 24, 2), (0xffff_ffff, 32, 3), (0, 32, 4)]);
        check(&[(0x0102_0000, 15, 1), (0x0103_ff00, 24, 2), (0x0104_0000, 24, 2)]);
    }

    #[test]
    fn a_block_may_have_more_runs_than_its_word_can_count() {
        let singles = |step: u32| (0..0x1_0000).step_by(2 * step as usize).map(|low| (low, 32, 1));
        check(&singles(1).collect::<Vec<_>>());
        for count in [MANY - 1, MANY, MANY + 1] {
            check(&singles(1).take((count / 2) as usize).collect::<Vec<_>>());
        }
    }

    #[test]
    fn more_classes_than_the_compact_form_has_bits_for_are_found_as_well() {
        let prefixes: Vec<_> = (0..1 << 17).map(|n: u32| (n << 8, 24, n)).collect();
        check(&prefixes);
    }

    #[test]
    fn it_finds_what_the_sorted_runs_say_of_random_prefixes() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for count in [1, 10, 1_000, 50_000] {
            let prefixes: Vec<(u32, u8, u32)> = (0..count)
                .map(|_| {
                    let length = 4 + (next() % 29) as u8;
                    let mask = !u32::MAX.checked_shr(length.into()).unwrap_or(0);
                    (next() as u32 & mask, length, (next() % 5) as u32)
                })
                .collect();
            check(&prefixes);
        }
    }
}
