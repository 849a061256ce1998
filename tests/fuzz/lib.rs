//! What several targets need: the world that is asked, and queries put together from few octets.
//!
//! seeds, dictionary ─▶ libFuzzer ─▶ targets/*.rs ─▶ parser ─▶ what must hold of the result
//!
//! A target panics when its parser does, or when what it says of its input cannot be so.

pub mod compose;
pub mod wire;
pub mod world;
