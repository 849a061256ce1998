//! What a client says to a server, and the other way: carried, and never kept.

mod connect;
mod http;
mod place;
mod seat;
pub mod tcp;
mod tunnel;

pub use self::connect::Caller;
pub use self::http::{http1, http2};
use crate::access_log::{Cause, End, Phase};
use crate::splice::{self, Side};

/// How octets both ways have ended, in the log's words.
fn end_of(end: &splice::End) -> End {
    match end {
        splice::End::Closed => End::Complete,
        splice::End::Broken(Side::Client, _) => End::Cut(Cause::ClientAbort, Phase::Data),
        splice::End::Broken(Side::Server, _) => End::Cut(Cause::ServerAbort, Phase::Data),
        splice::End::Idle | splice::End::HalfClosed(Side::Server) => {
            End::Cut(Cause::ClientTimeout, Phase::Data)
        }
        splice::End::HalfClosed(Side::Client) => End::Cut(Cause::ServerTimeout, Phase::Data),
    }
}
