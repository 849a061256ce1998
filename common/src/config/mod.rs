//! Reading what operators write, and telling everything that is wrong with it.
//!
//! text ─▶ read ─▶ (a daemon's own file and judgement, with `settle`) ─▶ problems
//!
//! Each daemon mirrors its files key by key with `table!`, judges what it read, and shows every problem with file,
//! line and key. Reads files when asked and nothing else.

pub mod closest;
pub mod problems;
mod quoted;
pub mod read;
pub mod report_to;
pub mod settle;

pub use self::problems::{Colour, Problem, Problems, Severity, Source, Spot};
