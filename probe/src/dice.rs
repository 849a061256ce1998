//! The dice: the one room that throws them, for what must not be in step with others.

pub use common::entropy::share;
