//! Words of this daemon's files that other crates have no word for: names and places.

use std::fmt;

use common::config::read::Word;

use crate::name::Name;

impl Word for Name {
    const EXPECTED: &'static str = "a domain name such as \"www.example.com\"";

    fn word(text: &str) -> Result<Name, String> {
        text.parse().map_err(|error| format!("{text:?} is not a domain name: {error}"))
    }
}

/// A place of `geoip` as it is written here.
macro_rules! place {
    ($name:ident, $expected:literal) => {
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub struct $name(pub geoip::$name);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Word for $name {
            const EXPECTED: &'static str = $expected;

            fn word(text: &str) -> Result<$name, String> {
                text.parse()
                    .map($name)
                    .map_err(|error: <geoip::$name as std::str::FromStr>::Err| error.to_string())
            }
        }
    };
}

place!(Continent, "a continent such as \"EU\"");
place!(Country, "a country such as \"DE\"");
place!(Subdivision, "a part of a country such as \"US-CA\"");
