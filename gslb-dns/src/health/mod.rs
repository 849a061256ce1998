//! What is believed of every candidate, as one immutable, numbered whole.
//!
//! `view` is what watching has found out, `overrides` what operators said (`entries`: by command), `last_known` what was
//! true when a site was last fit, and `board` joins them; `supposition` is what might be. Pure: nothing here reads a
//! file or a clock.

pub mod board;
pub mod entries;
pub mod last_known;
pub mod overrides;
pub mod supposition;
pub mod view;
