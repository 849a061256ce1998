//! What to try, to be pasted.

use std::net::SocketAddr;
use std::path::Path;

/// Where things listen.
pub struct Addresses {
    pub dns: SocketAddr,
    pub admin: SocketAddr,
    /// Of all sites.
    pub port: u16,
}

pub fn what_to_try(dir: &Path, addresses: &Addresses) -> String {
    let Addresses { dns, admin, port } = addresses;
    let dir = dir.display();
    let dig = format!("dig @{} -p {} www.example.com +short +subnet=", dns.ip(), dns.port());
    format!(
        "
gslb demo: a name server for example.com, three sites, each a balancer before three servers, and five probes that look at
them; all on loopback.
  DNS    {dns} (UDP and TCP)
  admin  http://{admin}
  files  {dir} (config, log, switches)

In a second terminal, in the same folder:
  alias gslb='cargo run --release -qp gslb-dns --'    # built when it is first used

The same name from three continents: fra is 127.0.1.1, iad 127.0.2.1, nrt 127.0.3.1, and each serves.
  {dig}81.2.69.0/24       # London: fra
  {dig}216.160.83.0/24    # Seattle: iad
  {dig}175.16.199.0/24    # Changchun: nrt
  curl http://$({dig}81.2.69.0/24):{port}/

Stop fra's servers one by one. Its balancer looks at them each 200 ms and tells: fra takes two thirds of its clients, then
one third (with Paris, without London); when the last is gone nobody is sent there, within 2 seconds.
  touch {dir}/kill-fra-web1; sleep 1; gslb board --server {admin}
  touch {dir}/kill-fra-web2; sleep 1; {dig}2.125.160.0/24
  touch {dir}/kill-fra-web3; sleep 2; {dig}2.125.160.0/24
Start them again. It takes its clients back by quarters, one every 5 seconds: go on when the board says no more «takes».
  rm {dir}/kill-fra-*

Kill fra, balancer and all. Within some seconds London is answered with iad; the board says why.
  touch {dir}/kill-fra
  {dig}81.2.69.0/24
  gslb board --server {admin}

Revive it. It was away within the hour before, so it waits first (10 seconds, then 20, and so on), then it takes its clients
back by quarters: here those of 8 networks in Paris.
  rm {dir}/kill-fra
  for n in 0 1 2 3 4 5 6 7; do {dig}2.125.16$n.0/24; done | sort | uniq -c

Cut ams off, and the way from lhr to fra: nothing moves. ams is not believed, and lhr is alone with what it sees.
  touch {dir}/blind-ams {dir}/lie-lhr-fra
  gslb vantages --server {admin}

Cut off nyc and sfo too. Two of five decide nothing: what was believed holds, even while fra is dead.
  touch {dir}/blind-nyc {dir}/blind-sfo {dir}/kill-fra
  gslb board --server {admin}
  rm {dir}/blind-* {dir}/lie-* {dir}/kill-*

Take iad out by order, ask for Seattle, bring it back. Then: why London gets what it gets, and what if.
  gslb drain iad --why trying --for 1h --socket {dir}/admin.sock
  gslb undrain iad --why tried --socket {dir}/admin.sock
  gslb explain www.example.com A --client 81.2.69.0/24 --suppose down=fra --server {admin}

More: shop.example.com (two sites in each answer), api.example.com (3 to 1), blog.example.com (a CNAME)
Ctrl-C ends it and removes its files.

"
    )
}
