//! What one probe saw of one target.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::target::TargetId;

/// Octets of `detail`.
pub const LONGEST_DETAIL: usize = 256;

/// Absolute: it stands until another takes its place.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    pub target: TargetId,
    pub state: State,
    /// When the state began, in milliseconds on the producer's clock.
    #[serde(default)]
    pub since: u64,
    /// Results towards another state, and how many it takes.
    #[serde(default)]
    pub streak: u16,
    #[serde(default)]
    pub need: u16,
    /// Changes between up and down in the last hour.
    #[serde(default)]
    pub flaps: u32,
    #[serde(default, skip_serializing_if = "Phases::is_empty")]
    pub phases_ms: Phases,
    /// Why the last look failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same for people: what was found, and what was expected.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "cut")]
    pub detail: String,
    /// Whole days for which the server's certificate is still good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_days: Option<i32>,
}

/// Where the time of a look went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Phases {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<u32>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, others are $other:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
                let known = $name::ALL.iter().copied().find(|one| one.as_str() == word);
                Ok(known.unwrap_or($name::$other))
            }
        }
    };
}

pub(super) use words;

words! {
    /// What a probe says of a target. A word of some later version is `None`: no evidence.
    State, others are None {
        Up = "up",
        /// Up, and slower than it was.
        Slow = "slow",
        Down = "down",
        /// The probe cannot say.
        None = "none",
        /// The probe looks at it no more.
        Gone = "gone",
    }
}

words! {
    /// Why a look failed: labels of a metric too, so few and closed. A word of some later version is `Other`.
    Reason, others are Other {
        /// The host is there and says that nobody listens: the one failure that no path can feign by silence.
        Refused = "refused",
        Timeout = "timeout",
        Unreachable = "unreachable",
        /// Ended before it was whole.
        Closed = "closed",
        Unresolved = "unresolved",
        Handshake = "handshake",
        Certificate = "certificate",
        /// Not what the protocol has an answer look like.
        Malformed = "malformed",
        Status = "status",
        Header = "header",
        Body = "body",
        Answer = "answer",
        Program = "program",
        /// The probe itself could not look, which says nothing of the target.
        Probe = "probe",
        Other = "other",
    }
}

impl Phases {
    fn is_empty(&self) -> bool {
        *self == Phases::default()
    }
}

/// Longer ones are of no use to people; cut, not refused, because the rest of the report is.
fn cut<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut text = String::deserialize(deserializer)?;
    text.truncate(text.floor_char_boundary(LONGEST_DETAIL));
    text.retain(|letter| !letter.is_control());
    Ok(text)
}
