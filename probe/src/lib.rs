//! Looks at every VIP as a client would, from one place of the world.
//!
//! look ─▶ tell

pub mod look;
pub mod tell;
