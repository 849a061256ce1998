//! Address to place and prefix, from mmdb files and an operator's own overrides.
//!
//! ```text
//! lookup:   embedded ─▶ overrides ─▶ database ─▶ place ─▶ atlas      one address, with its prefix and source
//! compile:  atlas ─▶ compiled (two range tables)                    every address at once, for a hot path
//! build:    list ─▶ build ─▶ mmdb bytes                             range lists into a database
//! ```
//!
//! A database is read once, checked whole and turned into tables: a look-up does no decoding, cannot fail
//! and does not allocate in the tables. [`Atlas::lookup`] and [`Atlas::compile`] say the same of every
//! address; the first is for people who ask why, the second for servers.
//!
//! ```
//! use geoip::{Atlas, Overrides, Place};
//!
//! let office = Place { country: Some("DE".parse()?), ..Place::default() };
//! let atlas = Atlas::new(vec![], Overrides::new([("192.0.2.0/24".parse()?, office)]));
//! let found = atlas.lookup("192.0.2.7".parse()?);
//! assert_eq!(found.place.to_string(), "Europe, DE, 51.26 9.64");
//! assert_eq!(found.network.to_string(), "192.0.2.0/24");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atlas;
pub mod build;
pub mod command;
mod compiled;
mod country;
mod database;
mod distance;
pub mod embedded;
mod interned;
mod overrides;
mod place;
pub mod ranges;
mod record;

pub use atlas::{Atlas, Located, Source};
pub use compiled::{Compiled, PlaceId};
pub use country::{Country, CountryError, Subdivision, SubdivisionError};
pub use database::{Database, MAX_DATABASE_BYTES, OpenError};
pub use distance::{Coordinates, CoordinatesError, EARTH_RADIUS_KM};
pub use embedded::{Embedded, embedded};
pub use overrides::{Overrides, PlaceOverride, PlaceOverrideError};
pub use place::{Continent, ContinentError, Place};
pub use ranges::{Addr, Hit, RangeTable};
