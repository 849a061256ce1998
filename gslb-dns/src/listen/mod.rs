//! Bytes in and out. Knows sockets and limits, and nothing of DNS beyond a message's length.

pub mod batch;
pub mod connections;
mod desk;
mod proxy;
pub mod quic;
mod table;
pub mod tcp;
pub mod udp;

use std::time::Duration;

use tokio::sync::watch;

/// How long connections have to end after the word to stop: an answer takes milliseconds, one lost
/// segment on the way a second.
const STOP_WITHIN: Duration = Duration::from_secs(3);

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, and with it whoever could stop us later.
    let _ = stop.wait_for(|stop| *stop).await;
}
