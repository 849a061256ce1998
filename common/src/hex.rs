//! 128 bits as 32 hexadecimal digits: how ids, boots and digests are written.

use std::borrow::Cow;
use std::fmt;

use data_encoding::HEXLOWER;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// What was found in the place of 32 lower-case hexadecimal digits.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not 32 hexadecimal digits")]
pub struct NotHex(pub String);

pub fn parse(text: &str) -> Result<[u8; 16], NotHex> {
    let octets = HEXLOWER.decode(text.as_bytes()).ok().and_then(|octets| octets.try_into().ok());
    octets.ok_or_else(|| NotHex(text.to_owned()))
}

pub fn write(octets: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&HEXLOWER.encode(octets))
}

/// For `#[serde(with = "hex")]`.
pub fn serialize<S: Serializer>(octets: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER.encode(octets))
}

/// For `#[serde(with = "hex")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_digits_and_nothing_else() {
        let digits = "000102030405060708090a0b0c0d0eff";
        assert_eq!(parse(digits).unwrap()[14..], [0x0e, 0xff]);
        for text in ["", "00", "zz", &"0".repeat(31), &"0".repeat(34), &digits.to_uppercase()] {
            assert_eq!(parse(text), Err(NotHex(text.to_owned())));
        }
    }
}
