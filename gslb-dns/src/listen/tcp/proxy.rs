//! A proxy's header at the beginning of a connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::listen::proxy::{FIXED, Origin, origin, rest_length};

/// Reads one header, and not an octet more.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Origin> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let length = rest_length(&fixed).ok_or(io::ErrorKind::InvalidData)?;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    origin(&fixed, &rest).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
