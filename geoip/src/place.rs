//! Where an address is, as far as anyone knows.
//!
//! The type every other room speaks of. Pure values: nothing here reads a file or an address.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::country::{Country, Subdivision};
use crate::distance::Coordinates;

/// Where an address is. Every field may be unknown; with all unknown it is the unknown place.
///
/// ```
/// use geoip::Place;
/// let place = Place { country: Some("DE".parse()?), ..Place::default() };
/// assert_eq!(place.completed().to_string(), "Europe, DE, 51.26 9.64");
/// assert_eq!(Place::default().to_string(), "unknown place");
/// # Ok::<(), geoip::CountryError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Place {
    /// The continent.
    pub continent: Option<Continent>,
    /// The country.
    pub country: Option<Country>,
    /// The largest subdivision of the country.
    pub subdivision: Option<Subdivision>,
    /// The city's English name.
    pub city: Option<Box<str>>,
    /// The best known point.
    pub location: Option<Coordinates>,
    /// The autonomous system that announces the address.
    pub asn: Option<u32>,
}

impl Place {
    /// With what the country alone tells: its continent and its centroid, where they were unknown.
    #[must_use]
    pub fn completed(mut self) -> Place {
        self.country = self.country.or(self.subdivision.map(Subdivision::country));
        if let Some(country) = self.country {
            self.continent = self.continent.or(country.continent());
            self.location = self.location.or(country.centroid());
        }
        self
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Place::default()
    }

    /// Takes from a later database what this one does not know.
    ///
    /// A database that sees the address in another country or continent adds its AS number only: a city
    /// of one country with the centre of another would be a place that nobody believes in.
    pub(crate) fn add(&mut self, later: &Place) {
        self.asn = self.asn.or(later.asn);
        if differ(self.country, later.country) || differ(self.continent, later.continent) {
            return;
        }
        self.continent = self.continent.or(later.continent);
        self.country = self.country.or(later.country);
        self.subdivision = self.subdivision.or(later.subdivision);
        self.location = self.location.or(later.location);
        if self.city.is_none() {
            self.city.clone_from(&later.city);
        }
    }
}

fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            self.continent.map(|continent| continent.name().to_owned()),
            self.country.map(|country| country.to_string()),
            self.subdivision.map(|subdivision| subdivision.to_string()),
            self.city.as_deref().map(str::to_owned),
            self.location.map(|location| location.to_string()),
            self.asn.map(|asn| format!("AS{asn}")),
        ];
        let known: Vec<String> = fields.into_iter().flatten().collect();
        if known.is_empty() {
            return f.write_str("unknown place");
        }
        f.write_str(&known.join(", "))
    }
}

/// A continent, by the code that mmdb files use.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Continent {
    Africa,
    Antarctica,
    Asia,
    Europe,
    NorthAmerica,
    Oceania,
    SouthAmerica,
}

/// Text that names no continent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no continent has the code {found:?} (continents: AF, AN, AS, EU, NA, OC, SA)")]
pub struct ContinentError {
    found: String,
}

impl Continent {
    /// All seven, by name.
    pub const ALL: [Continent; 7] = [
        Continent::Africa,
        Continent::Antarctica,
        Continent::Asia,
        Continent::Europe,
        Continent::NorthAmerica,
        Continent::Oceania,
        Continent::SouthAmerica,
    ];

    /// Two capitals, such as `EU`.
    pub fn code(self) -> &'static str {
        match self {
            Continent::Africa => "AF",
            Continent::Antarctica => "AN",
            Continent::Asia => "AS",
            Continent::Europe => "EU",
            Continent::NorthAmerica => "NA",
            Continent::Oceania => "OC",
            Continent::SouthAmerica => "SA",
        }
    }

    /// The English name, such as `Europe`.
    pub fn name(self) -> &'static str {
        match self {
            Continent::Africa => "Africa",
            Continent::Antarctica => "Antarctica",
            Continent::Asia => "Asia",
            Continent::Europe => "Europe",
            Continent::NorthAmerica => "North America",
            Continent::Oceania => "Oceania",
            Continent::SouthAmerica => "South America",
        }
    }
}

impl FromStr for Continent {
    type Err = ContinentError;

    fn from_str(text: &str) -> Result<Continent, ContinentError> {
        let found = Continent::ALL.into_iter().find(|continent| continent.code() == text);
        found.ok_or_else(|| ContinentError { found: text.to_owned() })
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Continent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Continent, D::Error> {
        let code = std::borrow::Cow::<str>::deserialize(deserializer)?;
        code.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Continent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EU DE DE-HE Frankfurt 50/8 AS1`, any of it left out.
    fn place(text: &str) -> Place {
        let mut place = Place::default();
        for word in text.split_whitespace() {
            if let Ok(continent) = word.parse() {
                place.continent = Some(continent);
            } else if let Ok(country) = word.parse() {
                place.country = Some(country);
            } else if let Ok(subdivision) = word.parse() {
                place.subdivision = Some(subdivision);
            } else if let Some((lat, lon)) = word.split_once('/') {
                place.location =
                    Some(Coordinates::new(lat.parse().unwrap(), lon.parse().unwrap()).unwrap());
            } else if let Some(Ok(asn)) = word.strip_prefix("AS").map(str::parse) {
                place.asn = Some(asn);
            } else {
                place.city = Some(word.into());
            }
        }
        place
    }

    #[test]
    fn a_later_database_fills_gaps_and_contradicts_nothing() {
        let check = |first: &str, later: &str, merged: &str| {
            let mut place_merged = place(first);
            place_merged.add(&place(later));
            assert_eq!(place_merged, place(merged), "{first} + {later}");
        };
        check("", "EU DE AS1", "EU DE AS1");
        check("EU DE", "AS1", "EU DE AS1");
        check("EU DE AS2", "EU DE DE-HE Frankfurt 50/8 AS1", "EU DE DE-HE Frankfurt 50/8 AS2");
        check("EU DE", "EU FR Paris 48/2 AS1", "EU DE AS1"); // Paris is not in Germany.
        check("EU", "AS JP AS1", "EU AS1");
        check("DE", "EU 50/8", "EU DE 50/8");
    }

    #[test]
    fn a_country_brings_its_continent_and_centroid_where_they_are_unknown() {
        let check =
            |given: &str, shown: &str| assert_eq!(place(given).completed().to_string(), shown);
        check("", "unknown place");
        check("EU", "Europe");
        check("DE", "Europe, DE, 51.26 9.64");
        check("DE 50/8", "Europe, DE, 50.00 8.00");
        check("DE-HE", "Europe, DE, DE-HE, 51.26 9.64");
        check(
            "EU DE DE-HE Frankfurt 50.11/8.68 AS64500",
            "Europe, DE, DE-HE, Frankfurt, 50.11 8.68, AS64500",
        );
    }

    #[test]
    fn places_are_json_with_codes() {
        let json =
            serde_json::to_string(&place("EU DE DE-HE Frankfurt 50.11/8.68 AS64500")).unwrap();
        assert_eq!(
            json,
            r#"{"continent":"EU","country":"DE","subdivision":"DE-HE","city":"Frankfurt","location":{"lat":50.11,"lon":8.68},"asn":64500}"#
        );
    }

    #[test]
    fn continents_read_back_as_they_were_written() {
        for continent in Continent::ALL {
            assert_eq!(continent.code().parse(), Ok(continent));
        }
        let error = "Europe".parse::<Continent>().unwrap_err().to_string();
        assert_eq!(
            error,
            "no continent has the code \"Europe\" (continents: AF, AN, AS, EU, NA, OC, SA)"
        );
    }
}
