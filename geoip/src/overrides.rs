//! What the operator knows better than any database: prefixes with their places.
//!
//! Built from config or command line, read by `atlas`. Stands above every database.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::distance::Coordinates;
use crate::embedded::carries_only_v4;
use crate::place::Place;
use crate::ranges::RangeTable;

/// Prefixes and their places; the longest prefix wins, and the last of two equal ones.
///
/// An override replaces the whole place; only its missing AS number is taken from the databases. What a
/// place leaves out and its country tells (continent, centroid) is filled in.
#[derive(Debug)]
pub struct Overrides {
    places: Vec<(IpNet, Place)>,
    /// Index into `places`.
    pub(crate) v4: RangeTable<u32, Option<u32>>,
    pub(crate) v6: RangeTable<u128, Option<u32>>,
}

impl Overrides {
    /// Overrides from prefixes and places.
    ///
    /// ```
    /// use geoip::{Overrides, Place};
    /// let office = Place { country: Some("DE".parse()?), ..Place::default() };
    /// let overrides = Overrides::new([("10.20.0.0/16".parse()?, office)]);
    /// assert_eq!(overrides.iter().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(places: impl IntoIterator<Item = (IpNet, Place)>) -> Overrides {
        let places: Vec<(IpNet, Place)> = places
            .into_iter()
            .map(|(network, place)| (network.trunc(), place.completed()))
            .collect();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (id, (network, _)) in (0u32..).zip(&places) {
            match network {
                IpNet::V4(net) => v4.push((net.addr().to_bits(), net.prefix_len(), Some(id))),
                IpNet::V6(net) => v6.push((net.addr().to_bits(), net.prefix_len(), Some(id))),
            }
        }
        Overrides {
            places,
            v4: RangeTable::from_prefixes(None, v4),
            v6: RangeTable::from_prefixes(None, v6),
        }
    }

    /// No overrides.
    pub fn none() -> Overrides {
        Overrides::new([])
    }

    /// The prefixes and their completed places, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &Place)> {
        self.places.iter().map(|(network, place)| (*network, place))
    }

    /// Prefixes that no look-up reaches, because all their addresses are read as the IPv4 inside
    /// (see [`embedded`](crate::embedded())): the operator should write the IPv4 prefix instead.
    pub fn without_effect(&self) -> impl Iterator<Item = IpNet> {
        self.places.iter().map(|(network, _)| *network).filter(|network| carries_only_v4(*network))
    }

    /// The override at `addr`, and the length of the shortest prefix around it that has this one (or
    /// none) throughout.
    pub(crate) fn find(&self, addr: IpAddr) -> (Option<(IpNet, &Place)>, u8) {
        let hit = match addr {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        };
        (hit.value.map(|id| self.at(id)), hit.depth)
    }

    pub(crate) fn at(&self, id: u32) -> (IpNet, &Place) {
        let (network, place) = &self.places[id as usize];
        (*network, place)
    }
}

impl Default for Overrides {
    fn default() -> Overrides {
        Overrides::none()
    }
}

/// One override as written on a command line: `10.20.0.0/16=country:DE,city:Berlin`.
///
/// Keys: `continent`, `country`, `subdivision`, `city`, `lat` with `lon`, `asn`.
///
/// ```
/// let office: geoip::PlaceOverride = "10.20.0.0/16=country:DE,asn:64500".parse()?;
/// assert_eq!(office.place.asn, Some(64500));
/// # Ok::<(), geoip::PlaceOverrideError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlaceOverride {
    /// Which addresses.
    pub network: IpNet,
    /// Where they are.
    pub place: Place,
}

/// Text that is not an override.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct PlaceOverrideError {
    field: String,
    reason: String,
}

impl FromStr for PlaceOverride {
    type Err = PlaceOverrideError;

    fn from_str(text: &str) -> Result<PlaceOverride, PlaceOverrideError> {
        let wrong = |field: &str, reason: &dyn ToString| PlaceOverrideError {
            field: field.to_owned(),
            reason: reason.to_string(),
        };
        let (prefix, fields) = text.split_once('=').ok_or_else(|| {
            wrong(text, &"expected PREFIX=KEY:VALUE,... such as 10.20.0.0/16=country:DE")
        })?;
        let network =
            prefix.parse().map_err(|_| wrong(prefix, &"expected a prefix such as 10.20.0.0/16"))?;

        let mut place = Place::default();
        let (mut lat, mut lon) = (None, None);
        for field in fields.split(',') {
            let (key, value) =
                field.split_once(':').ok_or_else(|| wrong(field, &"expected KEY:VALUE"))?;
            match key {
                "continent" => {
                    place.continent = Some(value.parse().map_err(|error| wrong(key, &error))?)
                }
                "country" => {
                    place.country = Some(value.parse().map_err(|error| wrong(key, &error))?)
                }
                "subdivision" => {
                    place.subdivision = Some(value.parse().map_err(|error| wrong(key, &error))?)
                }
                "city" => place.city = Some(value.into()),
                "lat" => lat = Some(value.parse::<f64>().map_err(|error| wrong(key, &error))?),
                "lon" => lon = Some(value.parse::<f64>().map_err(|error| wrong(key, &error))?),
                "asn" => place.asn = Some(value.parse().map_err(|error| wrong(key, &error))?),
                _ => {
                    return Err(wrong(
                        key,
                        &"no such key (keys: continent, country, subdivision, city, lat, lon, asn)",
                    ));
                }
            }
        }
        place.location = match (lat, lon) {
            (Some(lat), Some(lon)) => {
                Some(Coordinates::new(lat, lon).map_err(|error| wrong("lat", &error))?)
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(wrong("lat", &"expected both lat and lon, or neither"));
            }
        };
        Ok(PlaceOverride { network, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_read_from_text_or_refused_with_the_field() {
        let check = |text: &str, expected: &str| {
            let read = text.parse::<PlaceOverride>();
            let read = read.map_or_else(
                |error| error.to_string(),
                |over| format!("{} {}", over.network, over.place),
            );
            assert_eq!(read, expected, "{text}");
        };
        check("10.0.0.0/8=country:DE", "10.0.0.0/8 DE");
        check(
            "2001:db8::/32=city:Berlin,lat:52.5,lon:13.4,asn:64500",
            "2001:db8::/32 Berlin, 52.50 13.40, AS64500",
        );
        check("10.0.0.0/8=continent:EU,subdivision:DE-HE", "10.0.0.0/8 Europe, DE-HE");
        check(
            "10.0.0.0/8",
            "10.0.0.0/8: expected PREFIX=KEY:VALUE,... such as 10.20.0.0/16=country:DE",
        );
        check("10.0.0.0=country:DE", "10.0.0.0: expected a prefix such as 10.20.0.0/16");
        check("10.0.0.0/8=DE", "DE: expected KEY:VALUE");
        check(
            "10.0.0.0/8=land:DE",
            "land: no such key (keys: continent, country, subdivision, city, lat, lon, asn)",
        );
        check("10.0.0.0/8=lat:52.5", "lat: expected both lat and lon, or neither");
        check(
            "10.0.0.0/8=lat:95,lon:0",
            "lat: 95 0 is not on the earth (expected latitude -90 to 90 and longitude -180 to 180, in degrees)",
        );
        check("10.0.0.0/8=asn:AS1", "asn: invalid digit found in string");
    }

    #[test]
    fn overrides_that_no_look_up_reaches_are_named() {
        let check = |prefix: &str, reached: bool| {
            let overrides = Overrides::new([(prefix.parse().unwrap(), Place::default())]);
            assert_eq!(overrides.without_effect().next().is_none(), reached, "{prefix}");
        };
        check("10.0.0.0/8", true);
        check("2001:db8::/32", true);
        check("2001::/16", true); // All but Teredo.
        check("2001::/32", false);
        check("::ffff:10.0.0.0/104", false);
        check("2002:a00::/24", false);
    }
}
