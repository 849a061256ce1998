//! What of a connection nobody sees who asks over it.

use tokio::net::{TcpListener, TcpStream};

use super::*;

#[tokio::test]
async fn the_kernel_watches_whether_a_server_is_still_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let stream = Stream::Plain(stream);
    notice_death(&stream).unwrap();
    let socket = SockRef::from(stream.tcp());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), ASKED_AFTER);
}

#[test]
fn all_streams_may_wait_unread_at_once() {
    assert!(CONNECTION_WINDOW as usize >= MOST_STREAMS * STREAM_WINDOW as usize);
}
