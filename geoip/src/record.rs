//! What a record of an mmdb file says, as a place.
//!
//! Reads the shapes of GeoIP2 and GeoLite2 City, Country, Enterprise, ASN and ISP, and passes over every
//! other field. A field that is there but is not what the format says refuses the file: a place misread in
//! silence would steer people wrong and nobody would know why.

use serde::Deserialize;

use crate::country::{Country, Subdivision};
use crate::distance::{Coordinates, CoordinatesError};
use crate::place::{Continent, ContinentError, Place};

/// A record as it stands in the file.
///
/// `registered_country` is passed over on purpose, also where `country` is missing: it is where the
/// network's owner is registered. MaxMind leaves `country` out where users may be anywhere, anycast
/// resolvers for one, and their registrant's country would pull the world to one site.
#[derive(Debug, Deserialize)]
pub(crate) struct Record<'a> {
    #[serde(borrow)]
    continent: Option<ContinentField<'a>>,
    #[serde(borrow)]
    country: Option<CodeField<'a>>,
    #[serde(borrow)]
    subdivisions: Option<Vec<CodeField<'a>>>,
    #[serde(borrow)]
    city: Option<CityField<'a>>,
    location: Option<LocationField>,
    /// At the top in ASN and ISP databases.
    autonomous_system_number: Option<u32>,
    /// Holds the number in Enterprise databases.
    traits: Option<TraitsField>,
}

#[derive(Debug, Deserialize)]
struct ContinentField<'a> {
    code: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct CodeField<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct CityField<'a> {
    #[serde(borrow)]
    names: Option<NamesField<'a>>,
}

#[derive(Debug, Deserialize)]
struct NamesField<'a> {
    en: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct LocationField {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct TraitsField {
    autonomous_system_number: Option<u32>,
}

/// Why a record is not a place.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("continent.code: {0}")]
    Continent(#[source] ContinentError),
    #[error("country.iso_code: {found:?} is not two capitals")]
    Country { found: String },
    #[error("subdivisions[0].iso_code: {found:?} is not one to three capitals or digits")]
    Subdivision { found: String },
    #[error("location: {0}")]
    Location(#[source] CoordinatesError),
}

impl Record<'_> {
    /// The place, with only what the record itself says.
    pub(crate) fn place(&self) -> Result<Place, RecordError> {
        let country = self.country()?;
        Ok(Place {
            continent: self.continent()?,
            country,
            subdivision: self.subdivision(country)?,
            city: self.city.as_ref().and_then(CityField::name).map(Box::from),
            location: self.location()?,
            asn: self
                .autonomous_system_number
                .or(self.traits.as_ref().and_then(|t| t.autonomous_system_number)),
        })
    }

    fn continent(&self) -> Result<Option<Continent>, RecordError> {
        let code = self.continent.as_ref().and_then(|continent| given(continent.code));
        code.map(str::parse).transpose().map_err(RecordError::Continent)
    }

    fn country(&self) -> Result<Option<Country>, RecordError> {
        let Some(code) = self.country.as_ref().and_then(|country| given(country.iso_code)) else {
            return Ok(None);
        };
        match Country::from_capitals(code) {
            Some(country) => Ok(Some(country)),
            None => Err(RecordError::Country { found: code.to_owned() }),
        }
    }

    /// The first and largest; it means nothing without its country.
    fn subdivision(&self, country: Option<Country>) -> Result<Option<Subdivision>, RecordError> {
        let first = self.subdivisions.as_ref().and_then(|all| all.first());
        let (Some(country), Some(code)) = (country, first.and_then(|first| given(first.iso_code)))
        else {
            return Ok(None);
        };
        match Subdivision::within(country, code) {
            Some(subdivision) => Ok(Some(subdivision)),
            None => Err(RecordError::Subdivision { found: code.to_owned() }),
        }
    }

    fn location(&self) -> Result<Option<Coordinates>, RecordError> {
        match self.location {
            Some(LocationField { latitude: Some(lat), longitude: Some(lon) }) => {
                Coordinates::new(lat, lon).map(Some).map_err(RecordError::Location)
            }
            Some(_) | None => Ok(None),
        }
    }
}

impl CityField<'_> {
    fn name(&self) -> Option<&str> {
        given(self.names.as_ref()?.en)
    }
}

/// Some makers write an empty text for what they do not know.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_places_or_refused_with_the_field() {
        let check = |json: &str, expected: &str| {
            let record: Record<'_> = serde_json::from_str(json).unwrap();
            let place =
                record.place().map_or_else(|error| error.to_string(), |place| place.to_string());
            assert_eq!(place, expected, "{json}");
        };
        check("{}", "unknown place");
        check(r#"{"continent": {"code": "EU"}, "country": {"iso_code": "DE"}}"#, "Europe, DE");
        check(
            r#"{"country": {"iso_code": "GB"}, "subdivisions": [{"iso_code": "ENG"}, {"iso_code": "WBK"}]}"#,
            "GB, GB-ENG",
        );
        check(r#"{"subdivisions": [{"iso_code": "ENG"}]}"#, "unknown place");
        check(r#"{"city": {"names": {"de": "Wien", "en": "Vienna"}}}"#, "Vienna");
        check(r#"{"city": {"names": {"de": "Wien"}}}"#, "unknown place");
        check(r#"{"location": {"latitude": 1.5, "longitude": 2}}"#, "1.50 2.00");
        check(r#"{"location": {"latitude": 1.5}}"#, "unknown place");
        check(r#"{"autonomous_system_number": 64500}"#, "AS64500");
        check(r#"{"traits": {"autonomous_system_number": 64500, "is_anycast": true}}"#, "AS64500");
        check(
            r#"{"registered_country": {"iso_code": "AU"}, "traits": {"is_anycast": true}}"#,
            "unknown place",
        );
        check(r#"{"country": {"iso_code": ""}}"#, "unknown place");
        check(r#"{"country": {"iso_code": "QZ"}}"#, "QZ"); // A code newer than our table.
        check(r#"{"country": {"iso_code": "de"}}"#, "country.iso_code: \"de\" is not two capitals");
        check(
            r#"{"country": {"iso_code": "DE"}, "subdivisions": [{"iso_code": "Hessen"}]}"#,
            "subdivisions[0].iso_code: \"Hessen\" is not one to three capitals or digits",
        );
        check(
            r#"{"continent": {"code": "XX"}}"#,
            "continent.code: no continent has the code \"XX\" (continents: AF, AN, AS, EU, NA, OC, SA)",
        );
        check(
            r#"{"location": {"latitude": 91.0, "longitude": 0.0}}"#,
            "location: 91 0 is not on the earth (expected latitude -90 to 90 and longitude -180 to 180, in degrees)",
        );
    }
}
