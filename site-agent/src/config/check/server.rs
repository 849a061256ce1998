//! Servers of one pool.

use std::collections::BTreeMap;

use common::authority::Authority;
use common::check::Verify;
use common::config::problems::{Problem, Spot};
use common::config::read::{At, List};
use common::config::settle::{or, within};
use rustls::pki_types::ServerName;

use super::Judge;
use super::bounds::count;
use super::health::{Look, look};
use super::tls::protocols;
use crate::config::{MOST_SERVERS, file};
use crate::site::{Alpn, Capacity, HttpVersion, Mode, Server, ServerTls, Weight};

const MOST_CONNECTIONS: i64 = 10_000_000;
const MOST_REQUESTS: i64 = 1_000_000_000;

/// What servers have of their pool.
pub struct Of<'p> {
    pub mode: Mode,
    pub http: HttpVersion,
    pub look: Option<&'p Look>,
}

pub fn servers(
    list: At<List<At<file::Server>>>,
    of: &Of<'_>,
    judge: &mut Judge<'_>,
) -> Option<Vec<Server>> {
    let At { value: list, spot } = list;
    let count = list.len();
    if count == 0 || count > MOST_SERVERS {
        let message = format!(
            "lists {count} servers, expected 1 to {MOST_SERVERS}, such as {{ name = \"web01\", address = \
             \"10.0.0.1:8080\" }}"
        );
        return judge.wrong(&spot, message);
    }
    let (mut names, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    let mut servers = vec![];
    for At { value: raw, spot: _ } in list.into_iter().flatten() {
        if let Some(name) = &raw.name
            && judge.name(name)
            && let Some(first) = names.insert(name.value.clone(), name.spot.clone())
        {
            judge.problems.add(name.spot.twice(&first, format!("{:?}", name.value)));
        }
        if let Some(address) = &raw.address
            && let Some(first) = addresses.insert(address.value.0, address.spot.clone())
        {
            judge.problems.add(address.spot.twice(&first, address.value.0));
        }
        servers.extend(server(raw, of, judge));
    }
    if servers.len() < count {
        return None;
    }
    warn_of_idle(&servers, &spot, judge);
    Some(servers)
}

/// Of pools that serve nobody, as long as nobody changes that.
fn warn_of_idle(servers: &[Server], spot: &Spot, judge: &mut Judge<'_>) {
    if servers.iter().all(|server| server.backup) {
        judge.warn(spot, "all servers are backups, which is as if none was");
    }
    if servers.iter().all(|server| server.weight.get() == 0) {
        judge.warn(spot, "all servers have weight 0, so none is given anything");
    } else if servers.iter().all(|server| server.backup || server.weight.get() == 0) {
        let message = "all servers that are no backups have weight 0, so the backups serve";
        judge.warn(spot, message);
    }
}

fn server(raw: file::Server, of: &Of<'_>, judge: &mut Judge<'_>) -> Option<Server> {
    let file::Server {
        name,
        address,
        weight,
        max_connections,
        capacity,
        backup,
        tls,
        send_proxy,
        check,
    } = raw;
    let address = address.map(|at| At { value: at.value.0, spot: at.spot });
    if let Some(address) = address.as_ref().filter(|address| address.value.port() == 0) {
        judge.problems.add(address.spot.problem("0 is no port of a server"));
    }
    if let Some(address) = address.as_ref().filter(|address| address.value.ip().is_unspecified()) {
        judge
            .problems
            .add(address.spot.problem(format!("{} is no server's address", address.value.ip())));
    }
    let weight = or(weight, Weight::default(), |weight| {
        Weight::new(judge.one(within(&weight, 0..=i64::from(Weight::MOST)))?)
    });
    let max_connections = count(max_connections, MOST_CONNECTIONS, judge);
    let capacity = count(capacity, MOST_REQUESTS, judge);
    let backup = or(backup, false, Some);
    let tls = or(tls, None, |raw| self::tls(raw, of, judge).map(Some));
    if let (HttpVersion::V2, Some(Some(at))) = (of.http, &send_proxy) {
        let message =
            "each request makes a connection, as one says for whom it is: HTTP/2 shares none then";
        judge.warn(&at.spot, message);
    }
    let send_proxy = or(send_proxy, None, |at| Some(Some(at.value)));
    let own = or(check, None, |raw| look(raw, of.http, judge).map(Some));
    let mut server = Server {
        name: name?.value.as_str().into(),
        address: address?.value,
        weight: weight?,
        max_connections: max_connections?,
        capacity: capacity?.map(Capacity),
        backup: backup?,
        tls: tls?,
        send_proxy: send_proxy?,
        check: None,
    };
    server.check = own?.as_ref().or(of.look).map(|look| look.of(&server));
    Some(server)
}

fn tls(raw: file::ServerTls, of: &Of<'_>, judge: &mut Judge<'_>) -> Option<ServerTls> {
    let file::ServerTls { verify, ca, sni, alpn } = raw;
    let (verify, ca, sni) = (verify?, ca?, sni?);
    if let (Some(At { value: Verify::Nothing, .. }), Some(ca)) = (&verify, &ca) {
        judge.problems.add(ca.spot.problem(
            "means nothing where verify is \"nothing\"; remove it, or make it verify = \"full\"",
        ));
    }
    let ca = match ca {
        Some(written) => {
            let path = judge.path(&written)?;
            if let Err(unfit) = Authority::read(&path, None)
                && !judge.good.has_servers(&path)
            {
                return judge.wrong(&written.spot, unfit.to_string());
            }
            Some(path)
        }
        None => None,
    };
    let sni = match sni {
        Some(name) => Some(judge.one(server_name(&name))?),
        None => None,
    };
    let wanted = match of.http {
        HttpVersion::V1 => Alpn::Http1,
        HttpVersion::V2 => Alpn::H2,
    };
    let usual = if of.mode == Mode::Http { vec![wanted] } else { vec![] };
    if let (Mode::Tcp, Some(Some(alpn))) = (of.mode, &alpn) {
        judge.only_http_at("pool", &alpn.spot);
        return None;
    }
    let alpn = or(alpn, usual, |list| {
        let alpn = protocols(&list, judge)?;
        if !alpn.contains(&wanted) {
            let wanted = wanted.as_str();
            let message = format!("does not offer {wanted:?}, which this pool speaks (its http)");
            return judge.wrong(&list.spot, message);
        }
        Some(alpn)
    });
    let verify = verify.map_or(Verify::Full, |at| at.value);
    Some(ServerTls { verify, ca, sni, alpn: alpn? })
}

/// RFC 6066 §3: a name, and never an address.
fn server_name(name: &At<String>) -> Result<Box<str>, Problem> {
    let text = &name.value;
    match ServerName::try_from(text.as_str()) {
        Ok(ServerName::DnsName(_)) if !text.ends_with('.') => Ok(text.to_ascii_lowercase().into()),
        Ok(_) | Err(_) => Err(name.spot.problem(format!(
            "{text:?} is no server name such as \"www.example.com\" (an address needs none: leave it out)"
        ))),
    }
}
