//! The words by which operators write what a check asks for and expects.

use super::{Method, StatusRange, Verify, Version};
use crate::config::read::{Word, choose};

impl Word for Method {
    const EXPECTED: &'static str = "\"GET\", \"HEAD\" or \"OPTIONS\"";

    fn word(text: &str) -> Result<Method, String> {
        choose(text, &[("GET", Method::Get), ("HEAD", Method::Head), ("OPTIONS", Method::Options)])
    }
}

impl Word for Version {
    const EXPECTED: &'static str = "\"any\", \"1.1\" or \"2\"";

    fn word(text: &str) -> Result<Version, String> {
        choose(text, &[("any", Version::Any), ("1.1", Version::V1), ("2", Version::V2)])
    }
}

impl Word for Verify {
    const EXPECTED: &'static str = "\"full\" or \"nothing\"";

    fn word(text: &str) -> Result<Verify, String> {
        choose(text, &[("full", Verify::Full), ("nothing", Verify::Nothing)])
    }
}

impl Word for StatusRange {
    const EXPECTED: &'static str = "statuses such as \"200-299\" or \"204\"";

    fn word(text: &str) -> Result<StatusRange, String> {
        text.parse().map_err(|_| format!("{text:?} is not {}", Self::EXPECTED))
    }
}
