//! Every address's place, worked out beforehand.
//!
//! The product of `atlas::Atlas::compile`, for servers that cannot afford a look-up. Holds no names, no
//! sources: ask the atlas why.

use crate::place::Place;
use crate::ranges::RangeTable;

/// Every address's place, as ids in two tables.
///
/// The IPv6 table does not speak for addresses that carry an IPv4 address: convert those first, with
/// [`embedded`](fn@crate::embedded), and ask the IPv4 table. A scope for an IPv6 address is then at least
/// [`clear_depth`](crate::embedded::clear_depth) long.
///
/// ```
/// # use geoip::{Atlas, Overrides, Place};
/// # let office = Place { country: Some("DE".parse()?), ..Place::default() };
/// # let atlas = Atlas::new(vec![], Overrides::new([("192.0.2.0/24".parse()?, office)]));
/// let compiled = atlas.compile();
/// let hit = compiled.v4.find(u32::from_be_bytes([192, 0, 2, 7]));
/// assert_eq!(compiled.places[hit.value.index()].to_string(), "Europe, DE, 51.26 9.64");
/// assert_eq!(hit.depth, 24);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The distinct places, in the order of the first address that has them; the first is the unknown one.
    pub places: Vec<Place>,
    /// IPv4.
    pub v4: RangeTable<u32, PlaceId>,
    /// IPv6, but for what carries IPv4.
    pub v6: RangeTable<u128, PlaceId>,
}

/// A place of one [`Compiled`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PlaceId(u32);

impl PlaceId {
    /// The unknown place.
    pub const UNKNOWN: PlaceId = PlaceId(0);

    /// Where it stands in [`Compiled::places`].
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn at(index: u32) -> PlaceId {
        PlaceId(index)
    }
}
