//! The same database, maps and clients for gdnsd and for us: the same site for each, and a scope that is
//! true and no longer than gdnsd's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geoip::{Addr, Atlas, Country, Database, Overrides, Place, PlaceId, RangeTable, embedded};
use gslb_tests::dice::Dice;
use gslb_tests::gdnsd::{self, Gdnsd};
use gslb_tests::internet;
use gslb_tests::peers;
use gslb_tests::resolver::{Resolver, query};
use gslb_tests::server::Server;
use gslb_tests::world::World;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};
use ipnet::IpNet;

/// Of each family, for each of the two maps.
const SUBNETS: usize = 50_000;
/// Clients inside a scope that are asked for, each for one subnet in so many.
const SCOPE_SAMPLE: usize = 40;

/// The index of a site.
type Site = usize;

const SITES: [&str; 5] = ["us", "eu", "ap", "za", "br"];

/// A map in neither server's language: what each is told, and the judge of both.
struct Map {
    name: &'static str,
    default: &'static [Site],
    continent: &'static [(&'static str, &'static [Site])],
    /// With its continent, which gdnsd wants to know.
    country: &'static [(&'static str, &'static str, &'static [Site])],
    net: &'static [(&'static str, &'static [Site])],
}

const MAPS: [Map; 2] = [
    Map {
        name: "continents",
        default: &[0, 1, 2],
        continent: &[
            ("EU", &[1, 0, 2]),
            ("AF", &[1, 0, 2]),
            ("AS", &[2, 1, 0]),
            ("OC", &[2, 0, 1]),
        ],
        country: &[],
        net: &[],
    },
    Map {
        name: "countries",
        default: &[0, 1, 2],
        continent: &[("EU", &[1, 0]), ("AF", &[3, 1]), ("AS", &[2, 0]), ("SA", &[4, 0])],
        country: &[
            ("EU", "GB", &[0, 1]),
            ("EU", "DE", &[1, 2]),
            ("EU", "FR", &[2]),
            ("AS", "JP", &[0, 2]),
            ("AS", "IN", &[3, 2]),
            ("NA", "CA", &[4]),
            ("OC", "AU", &[2]),
            ("SA", "AR", &[0]),
        ],
        net: &[
            ("8.0.0.0/9", &[3]),
            ("8.8.0.0/16", &[4, 0]),
            ("81.2.69.0/25", &[2]),
            ("10.0.0.0/8", &[1]),
            ("192.0.2.0/24", &[4]),
            ("2001:4860::/32", &[3]),
            ("2a00::/13", &[2, 1]),
            ("2a02:d280::/29", &[0]),
            ("2600:1f00::/24", &[4]),
        ],
    },
];

impl Map {
    fn for_us(&self) -> String {
        let list = |sites: &[Site]| {
            let names: Vec<_> = sites.iter().map(|&site| format!("{:?}", SITES[site])).collect();
            format!("[{}]", names.join(", "))
        };
        let entry = |key: &str, sites: &[Site]| format!("{key:?} = {}", list(sites));
        let table = |entries: Vec<String>| format!("{{ {} }}", entries.join(", "));
        let continent = self.continent.iter().map(|(key, sites)| entry(key, sites));
        let country = self.country.iter().map(|(_, key, sites)| entry(key, sites));
        let net = self.net.iter().map(|(key, sites)| entry(key, sites));
        format!(
            "[map.{name}]\ndefault = {}\ncontinent = {}\ncountry = {}\nnet = {}\n\n\
             [service.\"{name}.example.com\"]\nsites = {}\nsteer = [{{ map = \"{name}\" }}]\n\
             when_all_down = \"open\"\n\n",
            list(self.default),
            table(continent.collect()),
            table(country.collect()),
            table(net.collect()),
            list(&[0, 1, 2, 3, 4]),
            name = self.name,
        )
    }

    fn for_gdnsd(&self, database: &str) -> String {
        let list = |sites: &[Site]| {
            let names: Vec<_> = sites.iter().map(|&site| SITES[site]).collect();
            format!("[ {} ]", names.join(", "))
        };
        let mut continents: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (continent, country, sites) in self.country {
            let line = format!("{country} => {}", list(sites));
            continents.entry(continent).or_default().push(line);
        }
        for (continent, sites) in self.continent {
            let line = format!("default => {}", list(sites));
            continents.entry(continent).or_default().push(line);
        }
        // A continent without an entry of its own takes the default of all.
        let mut map = format!("default => {}\n", list(self.default));
        for (continent, lines) in continents {
            let _ = writeln!(map, "{continent} => {{ {} }}", lines.join(", "));
        }
        let nets = self.net.iter();
        let nets: Vec<_> = nets.map(|(net, sites)| format!("{net} => {}", list(sites))).collect();
        format!(
            "{} => {{ geoip2_db => {database}, datacenters => {}, map => {{ {map} }}, \
             nets => {{ {} }} }}\n",
            self.name,
            list(&[0, 1, 2, 3, 4]),
            nets.join("\n"),
        )
    }
}

fn vip(site: Site) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, 10 + site as u8).into()
}

fn our_world() -> String {
    let mut world = String::from(
        "[geoip]\ndatabases = [\"places.mmdb\"]\necs_private = true\n\n\
         [zone.\"example.com\"]\nfile = \"example.com.zone\"\n\n",
    );
    for (site, name) in SITES.iter().enumerate() {
        let _ = writeln!(world, "[site.{name}]\nvips = [\"{}\"]\n", vip(site));
    }
    MAPS.iter().for_each(|map| world += &map.for_us());
    world
}

const ZONE: &str = "
$TTL 3600
@    SOA ns1.example.com. hostmaster.example.com. 1 7200 900 1209600 300
@    NS  ns1.example.com.
ns1  A   192.0.2.53
";

fn their_plugins(database: &str) -> String {
    let maps: String = MAPS.iter().map(|map| map.for_gdnsd(database)).collect();
    let mut resources = String::new();
    for map in &MAPS {
        let vips = SITES.iter().enumerate();
        let vips: Vec<_> = vips.map(|(site, name)| format!("{name} => {}", vip(site))).collect();
        let _ = writeln!(
            resources,
            "{name} => {{ map => {name}, service_types => up, dcmap => {{ {} }} }}",
            vips.join(", "),
            name = map.name
        );
    }
    format!(
        "plugins => {{ geoip => {{ maps => {{ {maps} }}, resources => {{ {resources} }} }} }}\n"
    )
}

fn their_zone() -> String {
    let steered =
        MAPS.iter().map(|map| format!("{name} 30/5 DYNA geoip!{name}\n", name = map.name));
    steered.fold(ZONE.to_owned(), |zone, line| zone + &line)
}

#[derive(Debug, PartialEq)]
struct Answer {
    vips: Vec<IpAddr>,
    scope: u8,
}

fn read(answer: &[u8]) -> Answer {
    let message = Message::from_vec(answer).expect("an answer is readable");
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    let options = message.edns.as_ref().map(|edns| edns.options().as_ref());
    let scope = options.unwrap_or_default().iter().find_map(|(_, option)| match option {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        _ => None,
    });
    let vips = message.answers.iter().filter_map(|record| record.data.ip_addr());
    Answer { vips: vips.collect(), scope: scope.expect("an answer to a subnet has a scope") }
}

#[test]
fn the_same_clients_get_the_same_sites_as_from_gdnsd() {
    if peers::missing(gdnsd::missing().or(internet::missing())) {
        return;
    }
    let database = internet::database().unwrap();
    let files = gslb_tests::world::Files { world: &our_world(), zone: ZONE, places: "" };
    let world = World::write(&files).unwrap();
    fs::write(world.path("places.mmdb"), &database).unwrap();
    let places = world.path("places.mmdb");
    let plugins = their_plugins(&places.to_string_lossy());
    // Both start while the judge reads the database for itself.
    let (theirs, ours, atlas) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| Gdnsd::start(&world.path("gdnsd"), &their_zone(), &plugins));
        let ours = scope.spawn(|| Server::start(&world.node()));
        let database = Database::from_bytes("places.mmdb", database).unwrap();
        let atlas = Atlas::new(vec![database], Overrides::none());
        (theirs.join().unwrap(), ours.join().unwrap(), atlas)
    });
    let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
    let judge = Judge::of(atlas);
    let mut dice = Dice::of_this_run(8_767);
    let mut asked = Asked {
        ours: Resolver::of(ours.dns()).unwrap(),
        theirs: Resolver::of(theirs.address()).unwrap(),
    };
    let mut subnets = judge.subnets(&mut dice);
    subnets.extend(inside_others(&mut dice));
    for map in &MAPS {
        compare(map, &subnets, &mut asked, &judge, &mut dice);
    }
}

struct Asked {
    ours: Resolver,
    theirs: Resolver,
}

impl Asked {
    fn ours(&mut self, map: &Map, subnets: &[IpNet]) -> Vec<Answer> {
        ask(&mut self.ours, map, subnets)
    }

    fn theirs(&mut self, map: &Map, subnets: &[IpNet]) -> Vec<Answer> {
        ask(&mut self.theirs, map, subnets)
    }
}

fn ask(resolver: &mut Resolver, map: &Map, subnets: &[IpNet]) -> Vec<Answer> {
    let name = Name::from_ascii(format!("{}.example.com.", map.name)).expect("a name");
    let queries = subnets.iter().map(|subnet| query(&name, RecordType::A, Some(*subnet)));
    let queries: Vec<_> = queries.collect::<Result<_, _>>().expect("queries");
    let answers = resolver.ask_all(&queries).expect("answers");
    answers.iter().map(|answer| read(answer)).collect()
}

fn compare(map: &Map, subnets: &[IpNet], asked: &mut Asked, judge: &Judge, dice: &mut Dice) {
    let ours = asked.ours(map, subnets);
    let theirs = asked.theirs(map, subnets);
    let rules = Rules::of(map);
    let mut wrong = vec![];
    let mut shorter = 0;
    for ((subnet, ours), theirs) in subnets.iter().zip(&ours).zip(&theirs) {
        let expected = vip(judge.site(&rules, subnet.network()));
        if ours.vips != [expected] || ours.vips != theirs.vips || ours.scope > theirs.scope {
            wrong.push(format!("{subnet}: ours {ours:?}, gdnsd's {theirs:?}, expected {expected}"));
        }
        shorter += usize::from(ours.scope < theirs.scope);
        if dice.once_in(SCOPE_SAMPLE)
            && let Some(lie) = judge.lie(&rules, *subnet, ours, dice)
        {
            wrong.push(lie);
        }
    }
    println!("map {}: {} subnets, {shorter} scopes shorter than gdnsd's", map.name, subnets.len());
    assert!(
        wrong.is_empty(),
        "map {}: {} wrong, such as\n{}",
        map.name,
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

/// Looks up by itself, address by address, in the database that both servers were given.
struct Judge {
    atlas: Atlas,
    v4: Runs<u32>,
    v6: Runs<u128>,
}

/// One map, taken by the word: what is written for the address or its place, the closest first.
struct Rules {
    net: Vec<(IpNet, &'static [Site])>,
    country: HashMap<Country, &'static [Site]>,
    continent: HashMap<&'static str, &'static [Site]>,
    default: &'static [Site],
}

impl Rules {
    fn of(map: &Map) -> Rules {
        let net = map.net.iter().map(|(net, sites)| (net.parse().expect("a net"), *sites));
        let mut net: Vec<(IpNet, _)> = net.collect();
        net.sort_by_key(|(net, _)| Reverse(net.prefix_len()));
        let country = map.country.iter();
        let country = country.map(|(_, code, sites)| (code.parse().expect("a code"), *sites));
        Rules {
            net,
            country: country.collect(),
            continent: map.continent.iter().copied().collect(),
            default: map.default,
        }
    }

    fn sites(&self, place: &Place, address: IpAddr) -> &'static [Site] {
        if let Some((_, sites)) = self.net.iter().find(|(net, _)| net.contains(&address)) {
            return sites;
        }
        let of_country = place.country.and_then(|country| self.country.get(&country));
        let of_continent = || self.continent.get(place.continent?.code());
        of_country.or_else(of_continent).copied().unwrap_or(self.default)
    }
}

impl Judge {
    fn of(atlas: Atlas) -> Judge {
        let compiled = atlas.compile();
        Judge { v4: Runs::of(&compiled.v4), v6: Runs::of(&compiled.v6), atlas }
    }

    fn site(&self, rules: &Rules, address: IpAddr) -> Site {
        let address = plain(address);
        rules.sites(&self.atlas.lookup(address).place, address)[0]
    }

    /// Half from the database's own prefixes, so that small ones are met as often as large ones, half
    /// from all addresses.
    fn subnets(&self, dice: &mut Dice) -> Vec<IpNet> {
        let mut subnets = vec![];
        for index in 0..SUBNETS {
            let (v4, v6) = if index % 2 == 0 {
                let (first, last) = *dice.pick(&self.v4.known);
                let v4 = first + (dice.wide_bits() % (u128::from(last - first) + 1)) as u32;
                let (first, last) = *dice.pick(&self.v6.known);
                (v4, first + dice.wide_bits() % (last - first + 1))
            } else {
                let in_2000_3 = 0x2000 << 112 | dice.wide_bits() >> 3;
                (dice.bits() as u32, in_2000_3)
            };
            subnets.push(net(Ipv4Addr::from_bits(v4).into(), 24));
            subnets.push(net(Ipv6Addr::from_bits(v6).into(), 48));
        }
        subnets
    }

    /// Where an address inside the scope of an answer has another one coming.
    fn lie(&self, rules: &Rules, subnet: IpNet, ours: &Answer, dice: &mut Dice) -> Option<String> {
        // A scope longer than the subnet speaks for the beginning of it (RFC 7871 §7.2.1).
        let scope = net(subnet.network(), ours.scope);
        let site = self.site(rules, subnet.network());
        let other = self
            .inside(scope, rules, dice)
            .into_iter()
            .find(|address| self.site(rules, *address) != site)?;
        Some(format!(
            "{subnet}: {ours:?} is said to hold for {scope}, and {other} has another site coming"
        ))
    }

    /// Addresses of a prefix: its ends, the ends of what the database and the map know in it, any others.
    fn inside(&self, scope: IpNet, rules: &Rules, dice: &mut Dice) -> Vec<IpAddr> {
        let mut inside = vec![scope.network(), scope.broadcast()];
        let nets = rules.net.iter().map(|(net, _)| net);
        inside.extend(nets.flat_map(|net| [net.network(), net.broadcast()]));
        match scope {
            IpNet::V4(scope) => {
                let (first, last) = (scope.network().to_bits(), scope.broadcast().to_bits());
                let ends = self.v4.ends_within(first, last);
                inside.extend(ends.map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))));
                let mut any = || first + (dice.bits() as u32 & (last - first));
                inside.extend((0..64).map(|_| IpAddr::from(Ipv4Addr::from_bits(any()))));
            }
            IpNet::V6(scope) => {
                let (first, last) = (scope.network().to_bits(), scope.broadcast().to_bits());
                let ends = self.v6.ends_within(first, last);
                inside.extend(ends.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))));
                let mut any = || first + (dice.wide_bits() & (last - first));
                inside.extend((0..64).map(|_| IpAddr::from(Ipv6Addr::from_bits(any()))));
            }
        }
        for _ in 0..8 {
            let (v4, _) = *dice.pick(&self.v4.known);
            let carried = carrying(v4.into());
            inside.extend(carried.map(|(bits, _)| IpAddr::from(Ipv6Addr::from_bits(bits))));
        }
        inside.retain(|address| scope.contains(address));
        inside
    }
}

/// First and last addresses of what the database has a place for.
struct Runs<A> {
    all: Vec<(A, A)>,
    known: Vec<(A, A)>,
}

impl<A: Addr> Runs<A> {
    fn of(table: &RangeTable<A, PlaceId>) -> Runs<A> {
        let all = table.runs().map(|(first, last, _)| (first, last));
        let known = table.runs().filter(|(_, _, place)| *place != PlaceId::UNKNOWN);
        Runs { all: all.collect(), known: known.map(|(first, last, _)| (first, last)).collect() }
    }

    /// Where runs begin and end between two addresses; of very many, some from all over.
    fn ends_within(&self, first: A, last: A) -> impl Iterator<Item = A> {
        const MOST: usize = 100;
        let begin = self.all.partition_point(|(_, end)| *end < first);
        let end = self.all.partition_point(|(start, _)| *start <= last);
        let step = (end - begin).div_ceil(MOST);
        let runs = self.all[begin..end].iter().step_by(step);
        runs.flat_map(move |(start, end)| [(*start).max(first), (*end).min(last)])
    }
}

/// Subnets of IPv6 that stand for IPv4 ones, those just beside them, and of what nobody routes.
fn inside_others(dice: &mut Dice) -> Vec<IpNet> {
    let mut subnets = vec![];
    for _ in 0..500 {
        for (bits, length) in carrying(dice.bits() as u32 as u128) {
            subnets.push(net(Ipv6Addr::from_bits(bits).into(), length));
            let shared = dice.below(if length < 96 { 16 } else { 32 });
            let beside = bits ^ 1 << (127 - shared) ^ dice.wide_bits() >> (shared + 1);
            subnets.push(net(Ipv6Addr::from_bits(beside).into(), 48));
        }
        subnets.push(net(Ipv6Addr::from_bits(dice.wide_bits()).into(), 48));
    }
    subnets
}

/// An IPv4 address in each kind of IPv6 address that carries one, with a length that ends in it.
fn carrying(v4: u128) -> [(u128, u8); 5] {
    [
        (0x2002 << 112 | v4 << 80, 48),                   // 6to4
        (0x2002 << 112 | v4 << 80, 40),                   // the same, of a /24
        (0x64_ff9b << 96 | v4, 120),                      // NAT64
        (0xffff << 32 | v4, 120),                         // IPv4-mapped
        (0x2001 << 112 | v4 ^ u128::from(u32::MAX), 128), // Teredo
    ]
}

fn net(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).expect("a length of the family").trunc()
}

/// The IPv4 address inside an IPv6 one, which is where a client is.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, |inside| inside.v4.into()),
        IpAddr::V4(_) => address,
    }
}
