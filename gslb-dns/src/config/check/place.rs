//! Places as operators write them.

use std::ops::RangeInclusive;

use geoip::{Coordinates, Place};

use super::{or, within};
use crate::config::file;
use crate::config::problems::{Problems, Spot};
use crate::config::read::At;
use crate::config::words::{Continent, Country, Subdivision};

/// AS numbers: 0 and the last are reserved (RFC 7607, RFC 7300).
pub const ASNS: RangeInclusive<i64> = 1..=u32::MAX as i64 - 1;

/// Why a network is no place to look for clients.
pub const NOBODY_THERE: &str = "holds only addresses that stand for IPv4 ones, so no client is ever \
     found in it; write the IPv4 network";

/// Where a site is.
pub fn of_site(raw: At<file::Place>, problems: &mut Problems) -> Option<Place> {
    let At { value: raw, spot } = raw;
    let file::Place { continent, country, subdivision, city, lat, lon } = raw;
    let asn = Some(None);
    Written { continent, country, subdivision, city, lat, lon, asn }.place(&spot, problems)
}

/// Where the clients of a network are.
pub fn of_clients(raw: At<file::Placed>, problems: &mut Problems) -> Option<Place> {
    let At { value: raw, spot } = raw;
    let file::Placed { continent, country, subdivision, city, lat, lon, asn } = raw;
    let asn = or(asn, None, |asn| problems.one(within(&asn, ASNS)).map(Some));
    Written { continent, country, subdivision, city, lat, lon, asn }.place(&spot, problems)
}

struct Written {
    continent: Option<Option<Continent>>,
    country: Option<Option<At<Country>>>,
    subdivision: Option<Option<At<Subdivision>>>,
    city: Option<Option<String>>,
    lat: Option<Option<At<f64>>>,
    lon: Option<Option<At<f64>>>,
    asn: Option<Option<u32>>,
}

impl Written {
    /// With what its country tells of it. A continent that is written stands, even where the
    /// country is thought to lie on another.
    fn place(self, spot: &Spot, problems: &mut Problems) -> Option<Place> {
        let Written { continent, country, subdivision, city, lat, lon, asn } = self;
        let location = location(lat, lon, problems);
        if let (Some(Some(country)), Some(Some(part))) = (&country, &subdivision)
            && part.value.0.country() != country.value.0
        {
            problems.add(part.spot.problem(format!(
                "{} is not in {}, which is the country here; change one of them",
                part.value, country.value
            )));
        }
        let place = Place {
            continent: continent?.map(|Continent(continent)| continent),
            country: country?.map(|country| country.value.0),
            subdivision: subdivision?.map(|part| part.value.0),
            city: city?.map(Into::into),
            location: location?,
            asn: asn?,
        };
        if place.is_unknown() {
            problems.add(spot.problem("says nothing (expected a country, or lat and lon)"));
            return None;
        }
        Some(place.completed())
    }
}

fn location(
    lat: Option<Option<At<f64>>>,
    lon: Option<Option<At<f64>>>,
    problems: &mut Problems,
) -> Option<Option<Coordinates>> {
    match (lat?, lon?) {
        (None, None) => Some(None),
        (Some(lat), Some(lon)) => {
            let point = Coordinates::new(lat.value, lon.value);
            problems.one(point.map_err(|error| lat.spot.problem(error.to_string()))).map(Some)
        }
        (Some(lat), None) => {
            problems.add(lat.spot.problem("is here without lon; a point needs both"));
            None
        }
        (None, Some(lon)) => {
            problems.add(lon.spot.problem("is here without lat; a point needs both"));
            None
        }
    }
}
