//! Countries and their subdivisions, and what we know of a country by its code alone.
//!
//! Reads `data/countries.csv`, compiled in. Used by `place`, `record` and `build`. Never guesses: a code
//! that is not in the table has no continent and no centroid.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Serialize, Serializer};

use crate::distance::Coordinates;
use crate::place::Continent;

/// A country by its ISO 3166-1 alpha-2 code, in capitals.
///
/// Parsed from text it is one of the codes in force (and `XK`); a database may bring a newer one, which
/// then has no continent and no centroid.
///
/// ```
/// use geoip::{Continent, Country};
/// let germany: Country = "DE".parse()?;
/// assert_eq!(germany.continent(), Some(Continent::Europe));
/// # Ok::<(), geoip::CountryError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Country([u8; 2]);

/// Text that names no country.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no country has the code {found:?} (expected an ISO 3166-1 alpha-2 code in capitals, such as \"DE\"; the United Kingdom is \"GB\")"
)]
pub struct CountryError {
    found: String,
}

impl Country {
    /// The continent it belongs to, as GeoNames and MaxMind see it.
    pub fn continent(self) -> Option<Continent> {
        TABLE.of(self).map(|known| known.continent)
    }

    /// The middle of where its people live.
    pub fn centroid(self) -> Option<Coordinates> {
        TABLE.of(self).map(|known| known.centroid)
    }

    /// Every country in the table, by code.
    pub fn all() -> impl Iterator<Item = Country> {
        TABLE.0.iter().map(|known| known.country)
    }

    /// Two capitals, in the table or not: the code may be newer than we are.
    pub(crate) fn from_capitals(text: &str) -> Option<Country> {
        match *text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Country([a, b])),
            _ => None,
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a country is two ASCII capitals")
    }
}

impl FromStr for Country {
    type Err = CountryError;

    fn from_str(text: &str) -> Result<Country, CountryError> {
        Country::from_capitals(text)
            .filter(|country| TABLE.of(*country).is_some())
            .ok_or_else(|| CountryError { found: text.to_owned() })
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A part of a country by its ISO 3166-2 code, such as `US-CA`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subdivision {
    country: Country,
    /// One to three capitals or digits, then zeros.
    part: [u8; 3],
}

/// Text that names no subdivision.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{found:?} is not a subdivision (expected an ISO 3166-2 code in capitals, such as \"US-CA\")"
)]
pub struct SubdivisionError {
    found: String,
}

impl Subdivision {
    /// The country it is part of.
    pub fn country(self) -> Country {
        self.country
    }

    /// The part of `country` that a database calls `part`, such as `CA`.
    pub(crate) fn within(country: Country, part: &str) -> Option<Subdivision> {
        let bytes = part.as_bytes();
        let fits = matches!(bytes.len(), 1..=3);
        if !fits || !bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return None;
        }
        let mut part = [0; 3];
        part[..bytes.len()].copy_from_slice(bytes);
        Some(Subdivision { country, part })
    }

    /// The code without the country, such as `CA`.
    pub(crate) fn part(&self) -> &str {
        let len = self.part.iter().position(|b| *b == 0).unwrap_or(self.part.len());
        std::str::from_utf8(&self.part[..len]).expect("a subdivision is ASCII capitals and digits")
    }
}

impl FromStr for Subdivision {
    type Err = SubdivisionError;

    fn from_str(text: &str) -> Result<Subdivision, SubdivisionError> {
        text.split_once('-')
            .and_then(|(country, part)| Subdivision::within(country.parse().ok()?, part))
            .ok_or_else(|| SubdivisionError { found: text.to_owned() })
    }
}

impl fmt::Display for Subdivision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.country, self.part())
    }
}

impl Serialize for Subdivision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the table says of one country.
struct Known {
    country: Country,
    continent: Continent,
    centroid: Coordinates,
}

/// All countries, in the order of their codes.
struct Table(Vec<Known>);

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let text = include_str!("../data/countries.csv");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut known: Vec<Known> = lines
        .map(|line| Known::parse(line).expect("a test reads every line of countries.csv"))
        .collect();
    known.sort_by_key(|known| known.country);
    Table(known)
});

impl Table {
    fn of(&self, country: Country) -> Option<&Known> {
        self.0.binary_search_by_key(&country, |known| known.country).ok().map(|at| &self.0[at])
    }
}

impl Known {
    fn parse(line: &str) -> Option<Known> {
        let mut fields = line.split(',');
        let country = Country::from_capitals(fields.next()?)?;
        let continent = fields.next()?.parse().ok()?;
        let (lat, lon) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let centroid = Coordinates::new(lat, lon).ok()?;
        fields.next().is_none().then_some(Known { country, continent, centroid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code_of_iso_3166_1_and_kosovo() {
        assert_eq!(Country::all().count(), 250);
        let check = |code: &str, continent, near: (f64, f64), within_km: f64| {
            let country: Country = code.parse().unwrap();
            let near = Coordinates::new(near.0, near.1).unwrap();
            assert_eq!(country.continent(), Some(continent), "{code}");
            assert!(country.centroid().unwrap().distance_km(near) < within_km, "{code}");
        };
        check("DE", Continent::Europe, (52.52, 13.40), 400.0);
        check("US", Continent::NorthAmerica, (38.0, -94.0), 300.0);
        check("FJ", Continent::Oceania, (-18.14, 178.44), 100.0); // Its islands lie on both sides of 180.
        check("NA", Continent::Africa, (-22.56, 17.08), 400.0); // Namibia, not "not available".
        check("XK", Continent::Europe, (42.67, 21.17), 60.0);
        check("AQ", Continent::Antarctica, (-90.0, 0.0), 1400.0);
    }

    #[test]
    fn countries_are_codes_in_force_in_capitals() {
        let check = |text: &str, stands: bool| {
            assert_eq!(text.parse::<Country>().is_ok(), stands, "{text:?}")
        };
        check("DE", true);
        check("de", false);
        check("UK", false);
        check("CS", false);
        check("DEU", false);
        check("D", false);
        check("ÄÖ", false);
        let error = "uk".parse::<Country>().unwrap_err().to_string();
        assert!(
            error.starts_with("no country has the code \"uk\" (expected an ISO 3166-1"),
            "{error}"
        );
    }

    #[test]
    fn subdivisions_read_back_as_they_were_written() {
        let check = |text: &str, stands: bool| {
            let parsed: Result<Subdivision, _> = text.parse();
            assert_eq!(
                parsed.as_ref().ok().map(ToString::to_string),
                stands.then(|| text.to_owned()),
                "{text:?}"
            );
        };
        check("US-CA", true);
        check("GB-ENG", true);
        check("FR-75", true);
        check("AT-9", true);
        check("US-", false);
        check("US-CALI", false);
        check("us-ca", false);
        check("XX-AA", false);
        check("USCA", false);
    }
}
