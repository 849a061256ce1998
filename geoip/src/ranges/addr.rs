//! Addresses as numbers: 32 bits for IPv4, 128 for IPv6.

use std::fmt::Debug;
use std::hash::Hash;

/// An address as a number; `u32` and `u128` and nothing else.
pub trait Addr: sealed::Sealed + Copy + Debug + Eq + Hash + Ord + Send + Sync + 'static {
    /// Bits of an address.
    const BITS: u8;
    /// The first address there is.
    const FIRST: Self;
    /// The last address there is.
    const LAST: Self;

    /// How many leading bits two addresses share.
    fn common_prefix(self, other: Self) -> u8;
    /// The first address of the prefix of `len` bits around this one.
    ///
    /// # Panics
    /// When `len` is more than `BITS`.
    fn first_of(self, len: u8) -> Self;
    /// The last address of the prefix of `len` bits around this one.
    ///
    /// # Panics
    /// When `len` is more than `BITS`.
    fn last_of(self, len: u8) -> Self;
    /// The address after this one.
    fn after(self) -> Option<Self>;
    /// The address before this one.
    fn before(self) -> Option<Self>;
    /// In which stretch of 2^`shift` addresses after `base` this one is; the first for any before `base`,
    /// the largest number for any further than it can say.
    fn stretch(self, base: Self, shift: u8) -> usize;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u128 {}
}

macro_rules! host_bits {
    ($int:ty, $len:expr) => {{
        assert!($len <= <$int as Addr>::BITS, "a prefix of {} bits does not fit the address", $len);
        <$int>::MAX.checked_shr(u32::from($len)).unwrap_or(0)
    }};
}

macro_rules! addr {
    ($int:ty) => {
        impl Addr for $int {
            const BITS: u8 = <$int>::BITS as u8;
            const FIRST: Self = <$int>::MIN;
            const LAST: Self = <$int>::MAX;

            #[inline]
            fn common_prefix(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            #[inline]
            fn first_of(self, len: u8) -> Self {
                self & !host_bits!($int, len)
            }

            #[inline]
            fn last_of(self, len: u8) -> Self {
                self | host_bits!($int, len)
            }

            #[inline]
            fn after(self) -> Option<Self> {
                self.checked_add(1)
            }

            #[inline]
            fn before(self) -> Option<Self> {
                self.checked_sub(1)
            }

            #[inline]
            fn stretch(self, base: Self, shift: u8) -> usize {
                usize::try_from(self.saturating_sub(base) >> shift).unwrap_or(usize::MAX)
            }
        }
    };
}

addr!(u32);
addr!(u128);
