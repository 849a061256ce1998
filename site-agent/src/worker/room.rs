//! What a request and its response take while they are under way: made once, and used again.

use crate::head::{RequestHead, ResponseHead};
use crate::stream::Buffer;

/// What is kept of a room that has grown.
const OUT: usize = 16 << 10;

#[derive(Debug, Default)]
pub struct Room {
    pub request: RequestHead,
    pub response: ResponseHead,
    pub from_client: Buffer,
    pub from_server: Buffer,
    /// To the server, and to the client.
    pub up: Vec<u8>,
    pub down: Vec<u8>,
    /// A path's normal form.
    pub path: Vec<u8>,
}

impl Room {
    /// As good as new.
    pub fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.from_client.clear();
        self.from_server.clear();
        for octets in [&mut self.up, &mut self.down, &mut self.path] {
            octets.clear();
            octets.shrink_to(OUT);
        }
    }
}
