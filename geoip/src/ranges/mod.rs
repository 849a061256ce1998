//! Every address of a family, cut into runs that have one value each.
//!
//! What prefixes become when longest-prefix matching has been done once and for all: a sorted array, an
//! index over it, no tree. Used for databases, overrides and compiled places here, and on the query path
//! of whoever looks up. Never allocates on a look-up.

mod addr;

pub use addr::Addr;

/// A value for every address: sorted runs of equal values, covering all addresses.
///
/// `A` is `u32` for IPv4 or `u128` for IPv6. A look-up is one read of an index and a short binary search.
///
/// ```
/// use geoip::RangeTable;
/// let table = RangeTable::from_prefixes('?', [(0x0a00_0000u32, 8, 'a'), (0x0a01_0000, 16, 'b')]);
/// assert_eq!(table.get(0x0a01_0203), 'b');
/// assert_eq!(table.find(0x0a80_0001).depth, 9); // 10.128.0.0/9 is all 'a'; 10.0.0.0/8 is not.
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RangeTable<A, V> {
    /// First address of each run; the first run begins at the first address.
    starts: Box<[A]>,
    values: Box<[V]>,
    index: Index<A>,
}

/// A look-up's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hit<V> {
    /// The value at the address.
    pub value: V,
    /// Length of the shortest prefix around the address in which every address has this value.
    pub depth: u8,
}

/// Narrows a look-up to the few runs that touch one stretch of 2^`shift` addresses.
///
/// It spans only from the second run's start to the last's: IPv6 tables use a sliver of the space, and an
/// index over all of it would put nearly every run into a handful of stretches.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Index<A> {
    base: A,
    shift: u8,
    /// For each stretch the last run that starts before it, and one more entry: the last run.
    before: Box<[u32]>,
}

/// Bits of the largest index: 65 536 stretches, 256 KiB, which the second cache level holds.
const MAX_INDEX_BITS: u32 = 16;

impl<A: Addr, V: Copy + Eq> RangeTable<A, V> {
    /// One value for all addresses.
    pub fn uniform(value: V) -> RangeTable<A, V> {
        Runs::starting_with(value).finish()
    }

    /// The longest prefix wins whatever the order, the last of equal ones wins, `default` fills the rest.
    ///
    /// Host bits in a network are ignored.
    ///
    /// # Panics
    /// When a length is more than the bits of an address, or with 2^32 runs.
    pub fn from_prefixes(
        default: V,
        prefixes: impl IntoIterator<Item = (A, u8, V)>,
    ) -> RangeTable<A, V> {
        let mut prefixes: Vec<(A, u8, V)> = prefixes
            .into_iter()
            .map(|(addr, len, value)| (addr.first_of(len), len, value))
            .collect();
        // Stable, so equal prefixes keep their order and the last is written last.
        prefixes.sort_by_key(|(network, len, _)| (*network, *len));

        let mut runs = Runs::starting_with(default);
        let mut open: Vec<(A, V)> = Vec::new(); // Prefixes around where we are: last address and value.
        let close = |open: &mut Vec<(A, V)>, runs: &mut Runs<A, V>, last: A| {
            open.pop();
            let outer = open.last().map_or(default, |(_, value)| *value);
            if let Some(next) = last.after() {
                runs.push(next, outer);
            }
        };
        for (network, len, value) in prefixes {
            while let Some((last, _)) = open.last().copied().filter(|(last, _)| *last < network) {
                close(&mut open, &mut runs, last);
            }
            runs.push(network, value);
            open.push((network.last_of(len), value));
        }
        while let Some((last, _)) = open.last().copied() {
            close(&mut open, &mut runs, last);
        }
        runs.finish()
    }

    /// The value at `addr`.
    #[inline]
    pub fn get(&self, addr: A) -> V {
        self.values[self.run_of(addr)]
    }

    /// The value at `addr` and how long a prefix around it must be to have no other value in it.
    #[inline]
    pub fn find(&self, addr: A) -> Hit<V> {
        let run = self.run_of(addr);
        // A prefix leaves the run when it is so short that it reaches the neighbour's nearest address.
        let beyond = |neighbour: A| addr.common_prefix(neighbour) + 1;
        let left = self.starts[run].before().map_or(0, beyond);
        let right = self.starts.get(run + 1).map_or(0, |start| beyond(*start));
        Hit { value: self.values[run], depth: left.max(right) }
    }

    /// The table of `f` of each value; neighbours that became equal are one run.
    pub fn map<W: Copy + Eq>(&self, mut f: impl FnMut(V) -> W) -> RangeTable<A, W> {
        let mut runs = Runs::with_capacity(self.len());
        for (start, value) in self.starts.iter().zip(&self.values) {
            runs.push(*start, f(*value));
        }
        runs.finish()
    }

    /// The table of `join` of this table's and the other's value at each address.
    pub fn overlay<W: Copy + Eq, X: Copy + Eq>(
        &self,
        other: &RangeTable<A, W>,
        mut join: impl FnMut(V, W) -> X,
    ) -> RangeTable<A, X> {
        let mut runs = Runs::with_capacity(self.len().max(other.len()));
        let (mut mine, mut theirs) = (0, 0);
        let mut at = A::FIRST;
        loop {
            runs.push(at, join(self.values[mine], other.values[theirs]));
            let (my_next, their_next) = (self.starts.get(mine + 1), other.starts.get(theirs + 1));
            at = match (my_next, their_next) {
                (None, None) => return runs.finish(),
                (Some(next), None) | (None, Some(next)) => *next,
                (Some(one), Some(other)) => *one.min(other),
            };
            mine += usize::from(my_next == Some(&at));
            theirs += usize::from(their_next == Some(&at));
        }
    }

    /// The runs in order, as first address, last address and value.
    pub fn runs(&self) -> impl Iterator<Item = (A, A, V)> {
        (0..self.starts.len()).map(|run| {
            let next = self.starts.get(run + 1).and_then(|start| start.before());
            (self.starts[run], next.unwrap_or(A::LAST), self.values[run])
        })
    }

    /// How many runs there are; never zero.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a table covers every address, so it is never empty"
    )]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    #[inline]
    fn run_of(&self, addr: A) -> usize {
        let (mut low, last) = self.index.candidates(addr);
        let mut count = last - low + 1;
        // Halving with one predictable branch, the loop's: the choice inside compiles to a move.
        while count > 1 {
            let half = count / 2;
            low = if self.starts[low + half] <= addr { low + half } else { low };
            count -= half;
        }
        low
    }
}

impl<A: Addr> Index<A> {
    fn over(starts: &[A]) -> Index<A> {
        let runs = starts.len();
        let (base, end) = (*starts.get(1).unwrap_or(&A::FIRST), starts[runs - 1]);
        let index_bits = runs.next_power_of_two().trailing_zeros().min(MAX_INDEX_BITS);
        let span_bits =
            (0..=A::BITS).rev().find(|bits| *bits == 0 || end.stretch(base, bits - 1) > 0);
        let shift = span_bits.unwrap_or(0).saturating_sub(index_bits as u8);

        let mut before = vec![0u32; end.stretch(base, shift) + 2];
        for (run, start) in starts.iter().enumerate().skip(1) {
            let run = u32::try_from(run).expect("a table has fewer than 2^32 runs");
            before[start.stretch(base, shift) + 1] = run;
        }
        // A stretch in which no run starts continues with the run before it.
        for at in 1..before.len() {
            before[at] = before[at].max(before[at - 1]);
        }
        Index { base, shift, before: before.into() }
    }

    /// The first and the last run that may hold `addr`.
    #[inline]
    fn candidates(&self, addr: A) -> (usize, usize) {
        let stretch = addr.stretch(self.base, self.shift).min(self.before.len() - 2);
        (self.before[stretch] as usize, self.before[stretch + 1] as usize)
    }
}

/// Runs being written in ascending order; neighbours with one value become one.
struct Runs<A, V> {
    starts: Vec<A>,
    values: Vec<V>,
}

impl<A: Addr, V: Copy + Eq> Runs<A, V> {
    fn with_capacity(runs: usize) -> Runs<A, V> {
        Runs { starts: Vec::with_capacity(runs), values: Vec::with_capacity(runs) }
    }

    fn starting_with(value: V) -> Runs<A, V> {
        Runs { starts: vec![A::FIRST], values: vec![value] }
    }

    /// From `start` on the value is `value`; a second push at one start replaces the first.
    fn push(&mut self, start: A, value: V) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    fn finish(self) -> RangeTable<A, V> {
        let index = Index::over(&self.starts);
        RangeTable { starts: self.starts.into(), values: self.values.into(), index }
    }
}
