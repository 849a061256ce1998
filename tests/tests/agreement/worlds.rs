//! Random worlds, as an operator might write them: every step, fail mode and kind of name.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gslb_dns::config;
use gslb_tests::dice::Dice;
use gslb_tests::world::{EVERY_STEP, Files, World};
use ipnet::IpNet;

/// A world, and what a test wants to know of it beforehand.
pub struct Drawn {
    pub world: World,
    /// Names to ask for, services and others.
    pub names: Vec<String>,
    /// Every prefix that the world's places, overrides and maps name.
    pub prefixes: Vec<IpNet>,
}

const CONTINENTS: [&str; 6] = ["EU", "NA", "AS", "AF", "SA", "OC"];
const SUBDIVISIONS: [&str; 8] =
    ["US-CA", "US-VA", "US-NY", "DE-BY", "DE-BE", "GB-ENG", "JP-13", "BR-SP"];
const COUNTRIES: [&str; 16] = [
    "DE", "FR", "GB", "NL", "SE", "CZ", "US", "CA", "MX", "JP", "SG", "IN", "ZA", "NG", "BR", "AU",
];
const ASNS: [u32; 6] = [64_496, 64_497, 64_498, 64_499, 64_500, 64_501];
/// Name, country, latitude, longitude.
const CITIES: [(&str, &str, f64, f64); 14] = [
    ("fra", "DE", 50.11, 8.68),
    ("ham", "DE", 53.55, 9.99),
    ("cgn", "DE", 50.34, 8.60),
    ("ams", "NL", 52.37, 4.90),
    ("lhr", "GB", 51.47, -0.45),
    ("iad", "US", 38.95, -77.45),
    ("bwi", "US", 39.18, -76.67),
    ("sjc", "US", 37.36, -121.93),
    ("yul", "CA", 45.47, -73.74),
    ("nrt", "JP", 35.77, 140.39),
    ("sin", "SG", 1.35, 103.99),
    ("jnb", "ZA", -26.14, 28.25),
    ("gru", "BR", -23.43, -46.47),
    ("syd", "AU", -33.95, 151.18),
];
const SERVICES: usize = 18;
/// Policies drawn until one of them can matter in every step: `check` refuses the others.
const DRAWS: usize = 200;

/// The world by hand.
pub fn every_step() -> anyhow::Result<Drawn> {
    let names = [
        "example.com",
        "www.example.com",
        "strict.example.com",
        "country.example.com",
        "shop.example.com",
        "plain.example.com",
        "api.example.com",
        "sticky.example.com",
        "order.example.com",
        "alt.example.com",
        "x.pool.example.com",
        "a.b.pool.example.com",
        "cdn.example.com",
        "one.example.com",
        "blog.example.com",
        "news.example.com",
        "far.example.com",
        "lost.example.com",
        "into.example.com",
        "a.dev.example.com",
        "x.sub.example.com",
        "y.tree.example.com",
        "none.example.com",
        "www.example.net",
        "WWW.eXample.Com",
        "cdn.EXAMPLE.com",
    ];
    let places = EVERY_STEP.places.lines().filter_map(|line| line.split(',').next());
    let nets = [
        "10.20.0.0/16",
        "127.0.0.0/8",
        "2001:db8:20::/48",
        "192.0.2.0/24",
        "81.2.64.0/19",
        "2a02:d280:1::/48",
        "10.30.0.0/16",
    ];
    let prefixes = places.chain(nets).map(str::parse);
    Ok(Drawn {
        world: World::write(&EVERY_STEP)?,
        names: names.map(str::to_owned).to_vec(),
        prefixes: prefixes.collect::<Result<_, _>>()?,
    })
}

pub fn random(dice: &mut Dice) -> anyhow::Result<Drawn> {
    let mut draft = Draft::draw(dice);
    let mut names = vec![
        "none.example.com".into(),
        "mail.example.com".into(),
        "a.dev.example.com".into(),
        "blog.example.com".into(),
        "news.example.com".into(),
        "example.com".into(),
    ];
    // One service at a time in a world of its own: a problem of one says nothing of the others.
    let ground = draft.text();
    let scratch = World::write(&Files { world: &ground, zone: ZONE, places: &draft.places })?;
    for index in 0..SERVICES {
        let (name, asked) = match index {
            0 => ("example.com".to_owned(), vec!["example.com".to_owned()]),
            1 | 2 => {
                let name = format!("w{index}.example.com");
                let asked = ["x", "a.b", "*"].map(|label| format!("{label}.{name}"));
                (format!("*.{name}"), asked.to_vec())
            }
            _ => {
                let name = format!("s{index}.example.com");
                (name.clone(), vec![name.to_uppercase(), name])
            }
        };
        let is_cname = index % 6 == 5;
        let service = (0..DRAWS).find_map(|_| {
            let service = draft.service(&name, is_cname, dice);
            let world = format!("{ground}{service}");
            config::world_from_str(&world, scratch.dir()).is_ok().then_some(service)
        });
        if let Some(service) = service {
            draft.services.push(service);
            names.extend(asked);
        }
    }
    let world = draft.text();
    let files = Files { world: &world, zone: ZONE, places: &draft.places };
    let world = World::write(&files)?;
    Ok(Drawn { world, names, prefixes: draft.prefixes })
}

const ZONE: &str = "
$TTL 7m
@     SOA   ns1 hostmaster 1 4h 15m 2w 1
      NS    ns1
ns1   A     192.0.2.53
mail  A     192.0.2.25
*.dev A     192.0.2.99
blog  CNAME s3
news  CNAME x.w1
";

struct Draft {
    sites: Vec<&'static str>,
    maps: Vec<String>,
    services: Vec<String>,
    head: String,
    places: String,
    prefixes: Vec<IpNet>,
}

impl Draft {
    fn draw(dice: &mut Dice) -> Draft {
        let mut prefixes = draw_prefixes(dice);
        let mut places = String::new();
        for prefix in &prefixes {
            let _ = writeln!(places, "{prefix},{}", place(dice));
        }
        let overridden = [
            "127.0.0.0/8",
            "10.20.0.0/16",
            "10.0.0.0/9",
            "192.168.64.0/18",
            "2001:db8:20::/48",
            "fd00::/9",
        ];
        let mut overridden = dice.picks(3, &overridden.map(str::to_owned));
        overridden.extend(dice.picks(3, &prefixes).iter().map(|prefix| narrower(*prefix, dice)));
        overridden.sort();
        overridden.dedup();
        let ecs_private = dice.once_in(4);
        let entries = overridden.iter().map(|prefix| {
            let country = dice.pick(&COUNTRIES);
            format!("\"{prefix}\" = {{ country = \"{country}\" }}")
        });
        let mut head = format!(
            "[geoip]\ndatabases = [\"places.mmdb\"]\necs_private = {ecs_private}\noverrides = {{ {} }}\n\n\
             [zone.\"example.com\"]\nfile = \"example.com.zone\"\n\n",
            entries.collect::<Vec<_>>().join(", "),
        );
        let count = dice.between(4, 9);
        let cities = dice.picks(count, &CITIES);
        for (index, (name, country, lat, lon)) in cities.iter().enumerate() {
            let vips = vips(index as u8, dice);
            let _ = writeln!(head, "[site.{name}]\nvips = {vips:?}");
            let _ = writeln!(head, "place = {{ country = {country:?}, lat = {lat}, lon = {lon} }}");
            if dice.once_in(2) {
                let _ = writeln!(head, "domain = \"d{}\"", dice.below(3));
            }
            if dice.once_in(3) {
                let _ = writeln!(head, "bias = {}", dice.between(0, 198) as i32 - 99);
            }
            head.push('\n');
        }
        let sites: Vec<&str> = cities.iter().map(|city| city.0).collect();
        let mut nets = dice.picks(6, &prefixes);
        nets.extend(overridden.iter().filter_map(|prefix| prefix.parse::<IpNet>().ok()));
        nets.extend(
            ["10.64.0.0/10", "2001:db8:7::/48"].map(|net| net.parse::<IpNet>().expect("a net")),
        );
        nets.sort();
        nets.dedup();
        let maps = vec!["one".to_owned(), "two".to_owned(), "three".to_owned()];
        for map in &maps {
            head += &map_text(map, &sites, &nets, dice);
        }
        prefixes.extend(nets);
        prefixes.extend(overridden.iter().filter_map(|prefix| prefix.parse::<IpNet>().ok()));
        Draft { sites, maps, services: vec![], head, places, prefixes }
    }

    fn text(&self) -> String {
        format!("{}{}", self.head, self.services.concat())
    }

    fn service(&self, name: &str, is_cname: bool, dice: &mut Dice) -> String {
        let count = dice.between(1, self.sites.len().min(7));
        let sites = dice.picks(count, &self.sites);
        let has_targets = !is_cname && dice.once_in(3);
        let candidates = sites.iter().enumerate().map(|(index, site)| {
            let weight = *dice.pick(&[0, 1, 1, 2, 5, 100]);
            if is_cname {
                let target = dice.pick(&[
                    "s3.example.com",
                    "x.w2.example.com",
                    "mail.example.com",
                    "edge.example.net",
                    "gone.example.com",
                    "s4.example.com",
                ]);
                return format!("{{ site = \"{site}\", weight = {weight}, cname = \"{target}\" }}");
            }
            if has_targets {
                let port = dice.pick(&["", ", port = 8443"]);
                return format!(
                    "{{ site = \"{site}\", https = {{ target = \"{site}.example.net\"{port} }} }}"
                );
            }
            match dice.below(4) {
                0 => format!("{{ site = \"{site}\", weight = {weight} }}"),
                1 => {
                    let vip = format!("203.0.113.{}", 1 + index);
                    format!("{{ site = \"{site}\", weight = {weight}, vips = [\"{vip}\"] }}")
                }
                _ => format!("{site:?}"),
            }
        });
        let candidates = candidates.collect::<Vec<_>>().join(", ");
        let mut text = format!("[service.{name:?}]\nsites = [{candidates}]\n");
        let _ = writeln!(text, "steer = [{}]", self.steps(dice).join(", "));
        if !is_cname && dice.once_in(2) {
            let take = dice.between(2, 5);
            let _ = writeln!(text, "take = {take}\nacross_tiers = {}", dice.once_in(2));
        }
        if has_targets {
            let _ = writeln!(text, "https = {{ alternatives = {} }}", dice.between(5, 8));
        } else if !is_cname && dice.once_in(2) {
            let _ = writeln!(text, "https = {{ alpn = [\"h3\", \"h2\"] }}");
        }
        let mode = *dice.pick(&["open", "last-known", "static", "empty"]);
        let _ = writeln!(text, "when_all_down = {mode:?}");
        if mode == "static" {
            let vips = ["192.0.2.200", "192.0.2.201", "2001:db8::200"];
            let count = dice.between(1, 3);
            let _ = writeln!(text, "static = {:?}", dice.picks(count, &vips));
        }
        let _ = writeln!(text, "ttl = {{ max = \"{}s\" }}\n", dice.pick(&[1, 2, 3, 30, 300]));
        text
    }

    fn steps(&self, dice: &mut Dice) -> Vec<String> {
        let area = |dice: &mut Dice| *dice.pick(&["continent", "country"]);
        let mut steps = vec![];
        if dice.once_in(4) {
            steps.push(format!("{{ fence = {:?}, strict = true }}", area(dice)));
        }
        let mut order = vec![
            format!("{{ fence = {:?} }}", area(dice)),
            "\"nearest\"".to_owned(),
            "\"failover\"".to_owned(),
        ];
        order.extend(self.maps.iter().map(|map| format!("{{ map = {map:?} }}")));
        let count = dice.between(0, 3);
        steps.extend(dice.picks(count, &order));
        match dice.below(3) {
            0 => steps.push("\"sticky\"".into()),
            1 => steps.push("\"weighted\"".into()),
            _ => {}
        }
        steps
    }
}

/// Of one site: one to three of a family, some sites with one family only.
fn vips(site: u8, dice: &mut Dice) -> Vec<String> {
    let mut vips = vec![];
    let (v4, v6) = *dice.pick(&[(1, 1), (1, 1), (2, 1), (1, 3), (2, 0), (0, 1)]);
    let of_site = u16::from(site);
    vips.extend((0..v4).map(|vip| IpAddr::from(Ipv4Addr::new(198, 51, 100, site * 4 + vip + 1))));
    vips.extend(
        (0..v6)
            .map(|vip| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0xff, of_site, 0, 0, 0, vip + 1))),
    );
    vips.iter().map(ToString::to_string).collect()
}

/// Nested, neighbouring and lonely ones, of both families.
fn draw_prefixes(dice: &mut Dice) -> Vec<IpNet> {
    let mut prefixes: Vec<IpNet> = vec![];
    while prefixes.len() < 300 {
        let wide = match dice.below(2) {
            0 => {
                let first = Ipv4Addr::new(*dice.pick(&[11, 24, 81, 151, 203]), 0, 0, 0);
                let bits = first.to_bits() | dice.bits() as u32 >> 8;
                IpNet::new(Ipv4Addr::from_bits(bits).into(), dice.between(8, 24) as u8)
            }
            _ => {
                let bits = 0x2000 << 112 | dice.wide_bits() >> 3;
                let bits = if dice.once_in(2) { 0x2a02 << 112 | bits << 16 >> 16 } else { bits };
                IpNet::new(Ipv6Addr::from_bits(bits).into(), dice.between(12, 56) as u8)
            }
        };
        let wide = wide.expect("a length of the family").trunc();
        if matches!(wide, IpNet::V6(v6) if geoip::embedded(v6.network()).is_some()) {
            continue;
        }
        prefixes.push(wide);
        for _ in 0..dice.below(4) {
            prefixes.push(narrower(wide, dice).parse().expect("a prefix"));
        }
    }
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

/// A prefix inside another.
fn narrower(wide: IpNet, dice: &mut Dice) -> String {
    let most = wide.max_prefix_len() - wide.prefix_len();
    let length = wide.prefix_len() + dice.between(0, usize::from(most.min(12))) as u8;
    let address = super::clients::inside(wide, dice);
    IpNet::new(address, length).expect("a length of the family").trunc().to_string()
}

/// The fields of `geoip build`'s format after the prefix, as many as happen to be known.
fn place(dice: &mut Dice) -> String {
    let asn = dice.pick(&ASNS);
    match dice.below(6) {
        0 => format!(",,,,,{asn}"),
        1 | 2 => (*dice.pick(&COUNTRIES)).to_owned(),
        3 => {
            let subdivision = dice.pick(&SUBDIVISIONS);
            format!("{},{subdivision}", &subdivision[..2])
        }
        4 => {
            let (_, country, lat, lon) = dice.pick(&CITIES);
            format!("{country},,Town,{lat},{lon},{asn}")
        }
        _ => format!("{},,,,,{asn}", dice.pick(&COUNTRIES)),
    }
}

fn map_text(name: &str, sites: &[&str], nets: &[IpNet], dice: &mut Dice) -> String {
    let mut text = format!("[map.{name}]\n");
    if !dice.once_in(3) {
        let _ = writeln!(text, "default = {}", tiers(sites, dice));
    }
    let texts = |all: &[&str]| all.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let kinds = [
        ("continent", texts(&CONTINENTS), 3),
        ("country", texts(&COUNTRIES), 5),
        ("subdivision", texts(&SUBDIVISIONS), 3),
        ("asn", ASNS.map(|asn| asn.to_string()).to_vec(), 2),
        ("net", nets.iter().map(ToString::to_string).collect(), 4),
    ];
    for (kind, keys, most) in kinds {
        let count = dice.between(1, most);
        let entries = dice.picks(count, &keys);
        let entries = entries.iter().map(|key| format!("{key:?} = {}", tiers(sites, dice)));
        let _ = writeln!(text, "{kind} = {{ {} }}", entries.collect::<Vec<_>>().join(", "));
    }
    text + "\n"
}

/// Some of the sites, neighbours at times in one tier.
fn tiers(sites: &[&str], dice: &mut Dice) -> String {
    let count = dice.between(1, sites.len());
    let mut left = dice.picks(count, sites);
    let mut tiers = vec![];
    while !left.is_empty() {
        let size = if dice.once_in(3) { dice.between(1, left.len()) } else { 1 };
        let tier: Vec<&str> = left.drain(..size).collect();
        tiers.push(if size == 1 { format!("{:?}", tier[0]) } else { format!("{tier:?}") });
    }
    format!("[{}]", tiers.join(", "))
}

/// What an operator says of the sites: states, drains and weights, of one service or all.
pub fn overrides(drawn: &Drawn, stage: usize, dice: &mut Dice) -> String {
    // Always something new to say, so that every stage has a board of its own.
    let mut text = entry("*", None, "state = \"up\"", stage);
    let mut globs: Vec<String> = CITIES.iter().map(|city| city.0.to_owned()).collect();
    globs.extend(["*", "f*", "?a*", "*r*"].map(str::to_owned));
    let services: Vec<String> =
        drawn.names.iter().map(|name| name.to_lowercase()).chain(["s1*".into()]).collect();
    for _ in 0..dice.between(4, 16) {
        let service = dice.once_in(2).then(|| dice.pick(&services).as_str());
        // That nobody is fit happens to whole services rather than by chance.
        let site = if service.is_some() && dice.once_in(2) { "*" } else { dice.pick(&globs) };
        let weight = format!("weight = {}", dice.pick(&[0, 1, 3, 50]));
        let order = *dice.pick(&[
            "state = \"down\"",
            "state = \"down\"",
            "state = \"unknown\"",
            "drain = true",
            "drain = false",
            weight.as_str(),
        ]);
        text += &entry(site, service, order, stage);
        if dice.once_in(8) {
            text += "since = 2001-01-01T00:00:00Z\nuntil = 2002-01-01T00:00:00Z\n";
        }
    }
    text
}

fn entry(site: &str, service: Option<&str>, order: &str, stage: usize) -> String {
    let service = service.map_or(String::new(), |service| format!("service = {service:?}\n"));
    format!(
        "[[override]]\nsite = {site:?}\n{service}{order}\nwho = \"test\"\nwhy = \"stage {stage}\"\n"
    )
}
