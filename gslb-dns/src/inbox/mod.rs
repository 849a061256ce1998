//! What producers tell this name server, as far as it still holds.

pub mod stream;
