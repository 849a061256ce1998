//! What an answer must be like.

use std::fmt;
use std::str::FromStr;

use regex::bytes::{Regex, RegexBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Octets that a compiled expression may take, so that no assignment fills a probe.
const LARGEST_EXPRESSION: usize = 1 << 18;
/// Ranges of status codes in one check.
pub const MOST_RANGES: usize = 16;

/// Status codes of HTTP, both ends included: `200-299`, or `204`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

/// Those that are taken for a success.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Statuses(pub Vec<StatusRange>);

/// What a body or a header's value must hold.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Text {
    /// These octets, somewhere.
    Contains(String),
    /// Something that fits the regular expression, somewhere.
    Matches(String),
}

/// A header of the answer.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct HeaderExpect {
    pub name: String,
    /// Any value will do if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Text>,
}

/// A `Text` made ready to be looked for.
#[derive(Clone, Debug)]
pub enum Search {
    Octets(Box<[u8]>),
    Expression(Regex),
}

impl Default for Statuses {
    /// As HAProxy's `option httpchk` and most others, without the redirects: who is sent elsewhere was not served.
    fn default() -> Statuses {
        Statuses(vec![StatusRange { first: 200, last: 299 }])
    }
}

impl Statuses {
    pub fn include(&self, status: u16) -> bool {
        self.0.iter().any(|range| (range.first..=range.last).contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<StatusRange, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let code = |digits: &str| {
            let is_plain = digits.len() == 3 && digits.bytes().all(|octet| octet.is_ascii_digit());
            is_plain.then(|| digits.parse::<u16>().ok()).flatten()
        };
        match (code(first), code(last)) {
            (Some(first), Some(last)) if 100 <= first && first <= last => {
                Ok(StatusRange { first, last })
            }
            _ => Err(format!(
                "{text:?} is no status or range of statuses such as \"204\" or \"200-299\""
            )),
        }
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StatusRange, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Text {
    pub fn as_str(&self) -> &str {
        match self {
            Text::Contains(text) | Text::Matches(text) => text,
        }
    }

    /// Ready to look; the error says what is wrong with the expression.
    pub fn search(&self) -> Result<Search, String> {
        match self {
            Text::Contains(text) => Ok(Search::Octets(text.as_bytes().into())),
            Text::Matches(expression) => RegexBuilder::new(expression)
                .size_limit(LARGEST_EXPRESSION)
                .dfa_size_limit(LARGEST_EXPRESSION)
                .build()
                .map(Search::Expression)
                .map_err(|error| {
                    // The library draws the expression over several lines; ours are one.
                    let last = error.to_string();
                    let last = last.lines().last().unwrap_or_default().trim().to_owned();
                    format!("{expression:?} is no regular expression: {last}")
                }),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::Contains(text) => write!(f, "{text:?}"),
            Text::Matches(expression) => write!(f, "something like {expression:?}"),
        }
    }
}

impl Search {
    pub fn is_in(&self, octets: &[u8]) -> bool {
        match self {
            Search::Octets(wanted) => {
                wanted.is_empty() || octets.windows(wanted.len()).any(|part| part == &**wanted)
            }
            Search::Expression(expression) => expression.is_match(octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_ranges() {
        let statuses: Statuses = serde_json::from_str(r#"["200-299", "404"]"#).unwrap();
        for (status, is_in) in [(199, false), (200, true), (299, true), (300, false), (404, true)] {
            assert_eq!(statuses.include(status), is_in, "{status}");
        }
        assert_eq!(statuses.to_string(), "200-299, 404");
        for text in
            ["", "20", "2000", "200-", "-299", "300-200", "099", "2xx", "200-299-300", "+20"]
        {
            assert!(text.parse::<StatusRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_is_looked_for_in_octets() {
        let search = |text: Text, octets: &[u8]| text.search().unwrap().is_in(octets);
        assert!(search(Text::Contains("ok".into()), b"it is ok."));
        assert!(!search(Text::Contains("ok".into()), b"o"));
        assert!(search(Text::Contains(String::new()), b""));
        assert!(search(Text::Matches("^ok$".into()), b"ok"));
        assert!(search(Text::Matches("o.".into()), b"\xffok"));
        assert!(!search(Text::Matches("^ok$".into()), b"not ok"));
    }

    #[test]
    fn an_expression_that_is_none_or_too_large_is_refused() {
        let refused = |expression: &str| Text::Matches(expression.into()).search().unwrap_err();
        assert_eq!(refused("a("), "\"a(\" is no regular expression: error: unclosed group");
        assert!(
            refused("(\\w{500}){500}").contains("exceeds size limit"),
            "{}",
            refused("(\\w{500}){500}")
        );
    }
}
