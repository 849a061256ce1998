//! A plain hickory-server: one UDP socket, its catalog, the zone from its own parser. It cannot steer.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gslb_tests::loopback;
use hickory_proto::rr::Name;
use hickory_server::Server;
use hickory_server::store::file::{FileConfig, FileZoneHandler};
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};

use super::{Start, ourselves};
use crate::load::Reply;
use crate::world::{ORIGIN, World};

pub const ROLE: &str = "hickory";

pub fn start<'a>(dir: &'a Path, world: &World) -> anyhow::Result<Start<'a>> {
    let zone = dir.join("hickory.zone");
    world.write_zone(&zone, "")?;
    let address = loopback::address()?;
    let mut command = ourselves(ROLE)?;
    command.arg(address.to_string()).arg(zone);
    Ok(Start { name: "hickory-server", command, address, reply: Reply::Address, dir })
}

/// Serves the zone until it is killed. One thread: it has one core.
pub fn serve(address: SocketAddr, zone: PathBuf) -> anyhow::Result<()> {
    let origin = Name::from_ascii(format!("{ORIGIN}."))?;
    let config = FileConfig { zone_path: zone };
    let zone = FileZoneHandler::try_from_config(
        origin.clone(),
        ZoneType::Primary,
        AxfrPolicy::Deny,
        None,
        &config,
    )
    .map_err(anyhow::Error::msg)?;
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(zone)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let mut server = Server::new(catalog);
        server.register_socket(tokio::net::UdpSocket::from_std(socket)?);
        server.block_until_done().await?;
        Ok(())
    })
}
