//! A point on the globe.

use std::fmt;
use std::str::FromStr;

/// A point on the globe, in degrees: north and east of the equator and Greenwich, or below 0 for south and west.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    latitude: f64,
    longitude: f64,
}

impl Place {
    /// The earth's mean radius in metres (IUGG); that it is a little flat moves no distance by more than a hundredth.
    const RADIUS_METRES: f64 = 6_371_008.8;

    /// A place from its degrees; `None` off the globe.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_on_it = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        is_on_it.then_some(Self { latitude, longitude })
    }

    /// Degrees north of the equator.
    pub fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east of Greenwich.
    pub fn longitude(self) -> f64 {
        self.longitude
    }

    /// How far it is to another place along the surface, to the metre.
    ///
    /// By the haversine formula, which knows no edge at 180 degrees and none at the poles. Whole metres make equal
    /// distances equal, which fractions of floating point are not on either side of a meridian.
    pub fn metres_to(self, other: Self) -> u32 {
        let half_sine_squared = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let across = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let haversine = half_sine_squared(other.latitude - self.latitude)
            + across * half_sine_squared(other.longitude - self.longitude);
        // Half the circumference fits in 32 bits, and rounding is not to leave the arc sine's domain.
        (2.0 * Self::RADIUS_METRES * haversine.clamp(0.0, 1.0).sqrt().asin()).round() as u32
    }
}

impl fmt::Display for Place {
    /// Latitude and longitude with six decimals each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} {:.6}", self.latitude, self.longitude)
    }
}

/// A text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place is a latitude from -90 to 90, a blank and a longitude from -180 to 180, as in `48.137 11.576`")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut degrees = text.split_ascii_whitespace().map(|degrees| degrees.parse().map_err(|_| NoPlace));
        let (latitude, longitude) = (degrees.next().ok_or(NoPlace)??, degrees.next().ok_or(NoPlace)??);
        if degrees.next().is_some() {
            return Err(NoPlace);
        }
        Self::new(latitude, longitude).ok_or(NoPlace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Place {
        text.parse().unwrap()
    }

    #[test]
    fn distances_are_those_of_the_globe() {
        // Kilometres by great circles; the first two are what atlases have (to a kilometre or two), the others follow from the radius.
        let cases = [
            ("52.52 13.405", "48.8566 2.3522", 877),         // Berlin, Paris
            ("40.7128 -74.006", "35.6762 139.6503", 10_852), // New York, Tokyo
            ("0 179.5", "0 -179.5", 111),                    // across the antimeridian
            ("0 180", "0 -180", 0),                          // one meridian of two names
            ("89.9 0", "89.9 180", 22),                      // across the pole
            ("60 0", "60 2", 111),                           // degrees are narrow in the north
            ("90 12", "-90 -77", 20_015),                    // from pole to pole
            ("0 0", "0 180", 20_015),
            ("12.5 12.5", "12.5 12.5", 0),
        ];
        for (one, other, kilometres) in cases {
            let metres = at(one).metres_to(at(other));
            assert_eq!((f64::from(metres) / 1000.0).round() as u32, kilometres, "{one} to {other}: {metres}");
            assert_eq!(metres, at(other).metres_to(at(one)), "{one} to {other}");
        }
    }

    #[test]
    fn equal_distances_on_both_sides_of_the_antimeridian_are_equal() {
        for step in 1..180 {
            let east = format!("{} {}", step as f64 / 2.0, 180.0 - step as f64);
            let west = format!("{} {}", step as f64 / 2.0, step as f64 - 180.0);
            for client in ["0 180", "0 -180", "47.123 180"] {
                assert_eq!(at(client).metres_to(at(&east)), at(client).metres_to(at(&west)), "{client} {east}");
            }
        }
    }

    #[test]
    fn places_are_read_and_written() {
        let rows = [
            ("47.913 -122.3042", Some("47.913000 -122.304200")),
            ("  -90   180 ", Some("-90.000000 180.000000")),
            ("90.1 0", None),
            ("0 180.5", None),
            ("NaN 0", None),
            ("inf 0", None),
            ("47.9", None),
            ("47.9 8 9", None),
            ("47.9,8", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Place>().ok().map(|place| place.to_string()).as_deref(), expected, "{text}");
        }
    }
}
