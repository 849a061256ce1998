//! Tells name servers what was seen: one task for each, with its own stream of reports.
//!
//! mailbox ─▶ stream (`common::report::Teller`) ─▶ wire (HTTP/2 within mutual TLS) ─▶ `answer` ─▶ stream
//!
//! Nothing here delays a look: what is to be told lies in a mailbox, where the latest of each target takes the place
//! of what lay there before.

mod mailbox;
mod stream;
mod wire;

pub use self::mailbox::Mailbox;
pub use self::stream::{Producer, Stream};
pub use self::wire::{Wire, WireError};
