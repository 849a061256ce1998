//! Looks at every VIP as a client would, from one place of the world, and reports what it saw.
//!
//! look:    asked ─▶ due ─▶ (`common::look`) ─▶ judge, blind ─▶ report     (`rounds` joins them)
//! report:  mailbox ─▶ tale ─▶ (`common::telling`, a name server) ─▶ assignment ─▶ asked
//! once:    (`common::look`) ─▶ tell                                      (`probe look`)
//!
//! `asked`, `due`, `judge`, `blind` and `rounds` are pure: no socket, no clock, no lock, no dice.

pub mod admin;
pub mod asked;
pub mod blind;
pub mod config;
pub mod dice;
pub mod due;
pub mod judge;
pub mod metrics;
pub mod report;
pub mod rounds;
pub mod run;
pub mod state_dir;
pub mod status;
pub mod tell;
