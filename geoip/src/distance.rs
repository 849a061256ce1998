//! Points on the earth and how far apart they are.
//!
//! Used by `place` and by whoever orders sites by distance. Never uses the platform's own trigonometry:
//! two servers must get the same bits from the same points.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::Serialize;

/// Mean radius of the earth in kilometres (IUGG).
pub const EARTH_RADIUS_KM: f64 = 6371.0088;

/// A point on the earth, in degrees: latitude -90 to 90, longitude -180 to 180.
///
/// Equality and hash are those of the bits, so that places can be keys; there is no NaN and no -0.
///
/// ```
/// use geoip::Coordinates;
/// let frankfurt = Coordinates::new(50.11, 8.68)?;
/// let paris = Coordinates::new(48.86, 2.35)?;
/// assert_eq!(frankfurt.distance_km(paris).round(), 478.0);
/// # Ok::<(), geoip::CoordinatesError>(())
/// ```
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Coordinates {
    lat: f64,
    lon: f64,
}

/// A latitude or longitude that is not on the earth.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{lat} {lon} is not on the earth (expected latitude -90 to 90 and longitude -180 to 180, in degrees)"
)]
pub struct CoordinatesError {
    lat: f64,
    lon: f64,
}

impl Coordinates {
    /// A point from degrees.
    ///
    /// # Errors
    /// When either is out of range or not a number.
    pub fn new(lat: f64, lon: f64) -> Result<Coordinates, CoordinatesError> {
        if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lon) {
            return Err(CoordinatesError { lat, lon });
        }
        // Adding zero turns -0 into 0, which is the same point.
        Ok(Coordinates { lat: lat + 0.0, lon: lon + 0.0 })
    }

    /// Latitude in degrees, north positive.
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// Longitude in degrees, east positive.
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// Kilometres along the great circle (haversine on the mean radius): off by 0.5 % at most, the same
    /// bits on every machine and in both directions.
    pub fn distance_km(self, other: Coordinates) -> f64 {
        let (lat, other_lat) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = libm::sin((other_lat - lat) / 2.0);
        let half_lon = libm::sin((other.lon - self.lon).to_radians() / 2.0);
        let chord =
            half_lat * half_lat + libm::cos(lat) * libm::cos(other_lat) * half_lon * half_lon;
        // Rounding may take antipodes a hair past 1, where the arc sine ends.
        2.0 * EARTH_RADIUS_KM * libm::asin(libm::sqrt(chord.min(1.0)))
    }

    fn bits(self) -> (u64, u64) {
        (self.lat.to_bits(), self.lon.to_bits())
    }
}

impl PartialEq for Coordinates {
    fn eq(&self, other: &Coordinates) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Coordinates {}

impl Hash for Coordinates {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} {:.2}", self.lat, self.lon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point((lat, lon): (f64, f64)) -> Coordinates {
        Coordinates::new(lat, lon).unwrap()
    }

    #[test]
    fn distance_is_that_of_the_great_circle() {
        let check = |from, to, km: f64| {
            let (from, to) = (point(from), point(to));
            assert!(
                (from.distance_km(to) - km).abs() < 0.5,
                "{from} to {to}: {}",
                from.distance_km(to)
            );
            assert_eq!(from.distance_km(to).to_bits(), to.distance_km(from).to_bits());
        };
        check((50.11, 8.68), (50.11, 8.68), 0.0);
        check((0.0, 0.0), (0.0, 90.0), 10_007.6);
        check((0.0, 0.0), (0.0, 180.0), 20_015.1); // Antipodes.
        check((90.0, 0.0), (-90.0, 77.0), 20_015.1);
        check((0.0, 179.5), (0.0, -179.5), 111.2); // Across the date line.
        check((50.11, 8.68), (40.71, -74.01), 6_203.0); // Frankfurt to New York.
    }

    #[test]
    fn distance_has_the_same_bits_on_every_machine() {
        let check = |from, to, bits: u64| {
            assert_eq!(
                point(from).distance_km(point(to)).to_bits(),
                bits,
                "{}",
                point(from).distance_km(point(to))
            );
        };
        check((50.11, 8.68), (40.71, -74.01), 4_663_542_339_065_849_619);
        check((-33.87, 151.21), (64.15, -21.94), 4_670_296_480_033_524_671);
    }

    #[test]
    fn points_off_the_earth_are_refused() {
        let check = |lat, lon, stands| {
            assert_eq!(Coordinates::new(lat, lon).is_ok(), stands, "{lat} {lon}")
        };
        check(90.0, 180.0, true);
        check(-90.0, -180.0, true);
        check(90.1, 0.0, false);
        check(0.0, -180.5, false);
        check(f64::NAN, 0.0, false);
        check(0.0, f64::INFINITY, false);
    }

    #[test]
    fn minus_zero_is_zero() {
        assert_eq!(point((-0.0, 0.0)), point((0.0, -0.0)));
    }
}
