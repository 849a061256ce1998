//! A client that asks a world's server over QUIC (RFC 9250), a stream for each query.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, VarInt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::tls::{Believer, NAME};
use crate::wait::PATIENCE;

/// Turns of the runtime in which quinn sends what it has to.
const TURNS: usize = 8;

/// One connection.
pub struct Quic {
    runtime: Runtime,
    /// Kept until the connection is closed.
    _endpoint: Endpoint,
    connection: Connection,
}

/// What comes back for a query.
#[derive(Debug, Eq, PartialEq)]
pub enum Reply {
    Answer(Vec<u8>),
    /// The server closed the connection, with this code.
    Closed(u64),
}

impl Quic {
    /// Ends with an error unless the server is believed.
    pub fn connect(believer: &Believer, server: SocketAddr) -> anyhow::Result<Quic> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tls = QuicClientConfig::try_from(believer.config(b"doq")?)?;
        let (endpoint, connection) = runtime.block_on(async {
            let endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
            let config = ClientConfig::new(Arc::new(tls));
            let connecting = endpoint.connect_with(config, server, NAME)?;
            let connection = timeout(PATIENCE, connecting).await??;
            anyhow::Ok((endpoint, connection))
        })?;
        Ok(Quic { runtime, _endpoint: endpoint, connection })
    }

    /// What is said to a query, which should have the ID 0.
    pub fn ask(&self, query: &[u8]) -> anyhow::Result<Reply> {
        let asked = async {
            match timeout(PATIENCE, self.exchange(query)).await? {
                Ok(answer) => Ok(Reply::Answer(answer)),
                Err(error) => match timeout(PATIENCE, self.connection.closed()).await {
                    Ok(ConnectionError::ApplicationClosed(close)) => {
                        Ok(Reply::Closed(close.error_code.into_inner()))
                    }
                    Ok(_) | Err(_) => Err(error),
                },
            }
        };
        self.runtime.block_on(asked)
    }

    async fn exchange(&self, query: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (mut send, mut receive) = self.connection.open_bi().await?;
        let length = u16::try_from(query.len())?.to_be_bytes();
        send.write_all(&[&length[..], query].concat()).await?;
        send.finish()?;
        let octets = receive.read_to_end(2 + usize::from(u16::MAX)).await?;
        let (length, answer) = octets.split_first_chunk::<2>().context("no length")?;
        ensure!(usize::from(u16::from_be_bytes(*length)) == answer.len(), "{octets:?}");
        Ok(answer.to_vec())
    }

    /// Returns when the server has closed, with its code.
    pub fn wait_for_end(&self) -> anyhow::Result<u64> {
        let closed = async { timeout(PATIENCE, self.connection.closed()).await };
        match self.runtime.block_on(closed)? {
            ConnectionError::ApplicationClosed(close) => Ok(close.error_code.into_inner()),
            other => bail!("{other:?}"),
        }
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"");
        // The server hears of it if its word leaves in these turns; else it finds out by itself.
        self.runtime.block_on(async {
            for _ in 0..TURNS {
                yield_now().await;
            }
        });
    }
}
