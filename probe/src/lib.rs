//! Looks at every VIP as a client would, from one place of the world, and judges what it saw.
//!
//! rounds:  asked ─▶ due ─▶ (look) ─▶ judge, blind ─▶ posts for each name server
//! once:    look ─▶ tell     (`probe look`)
//!
//! `asked`, `due`, `judge`, `blind` and `rounds` are pure: no socket, no clock, no lock, no dice.

pub mod asked;
pub mod blind;
pub mod due;
pub mod judge;
pub mod look;
pub mod rounds;
pub mod seen;
pub mod tell;
