//! What a client says to a server, and the other way: carried, and never kept.

pub mod tcp;
