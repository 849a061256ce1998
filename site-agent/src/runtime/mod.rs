//! The runtime API in HAProxy's words (its management guide, section 9.3): what operators order, and what they ask.
//!
//! octets ─▶ `Lines` ─▶ `commands` ─▶ `Command` ─┬▶ `Order` ─▶ (backends, rounds)
//!                                               └▶ `Question`, `View` ─▶ text
//!
//! A pool is what HAProxy calls a backend. Knows no socket and reads no clock: `runtime_socket` brings octets, makes the
//! view, carries out orders and sends what is answered.

mod command;
mod help;
mod info;
mod lines;
mod order;
mod refusal;
mod servers;
mod stat;
#[cfg(test)]
mod tests;
mod view;

pub use self::command::{Command, Whom};
pub use self::lines::{LONGEST_LINE, Lines, TooLong, commands};
pub use self::order::{Asked, Order, Tell};
pub use self::refusal::Refusal;
pub use self::view::{PoolView, Process, Question, StatFilter, View};
