//! What name servers are told of what was seen: a tale for each, in its own stream of reports.
//!
//! mailbox ─▶ tale (`common::report::Teller`) ─▶ (`common::telling`) ─▶ tale ─▶ assignment
//!
//! Nothing here delays a look: what is to be told lies in a mailbox, where the latest of each target takes the place
//! of what lay there before.

mod mailbox;
mod tale;

pub use self::mailbox::Mailbox;
pub use self::tale::{Producer, Tale, body};
