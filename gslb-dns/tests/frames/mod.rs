//! Messages in a stream as clients write and read them: each behind its length.

use std::io;

use gslb_dns::answer::Transport;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::listening::DEADLINE;
use crate::small_zone::{answered, query};

pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// The next message, or why there is none.
pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let message = async {
        let length = from.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        from.read_exact(&mut message).await?;
        Ok(message)
    };
    timeout(DEADLINE, message).await.expect("an answer or an end")
}

pub async fn is_served(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), transport: Transport) {
    stream.write_all(&framed(&query(1, "www"))).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(receive(stream).await.unwrap(), answered(1, "www", transport));
}
