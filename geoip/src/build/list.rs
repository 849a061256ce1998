//! Lines of range lists into prefixes with places.
//!
//! Feeds `ranges_to_mmdb`. A line that cannot be read stops the build; one that says nothing usable is
//! counted.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use super::{BuildError, Format, IPV4_TREE_LEN, List};
use crate::country::Country;
use crate::distance::Coordinates;
use crate::embedded::embedded;
use crate::interned::Interned;
use crate::place::{Continent, Place};

/// Prefixes with places, by the index of the place.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) places: Interned,
    pub(super) v4: Vec<(u32, u8, Option<u32>)>,
    pub(super) v6: Vec<(u128, u8, Option<u32>)>,
    pub(super) carrying: usize,
    pub(super) unknown: usize,
    pub(super) unplaced: BTreeMap<String, usize>,
}

impl Entries {
    /// Adds the lines of one list.
    pub(super) fn read(&mut self, list: &List<'_>) -> Result<(), BuildError> {
        let mut end_v4 = None;
        let mut end_v6 = None;
        for (at, line) in list.text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = match list.format {
                Format::Ipv4Ranges => self.read_v4_range(line, &mut end_v4),
                Format::Ipv6Ranges => self.read_v6_range(line, &mut end_v6),
                Format::Places => self.read_place(line),
            };
            read.map_err(|reason| BuildError::Line {
                file: list.name.to_owned(),
                line: at + 1,
                reason,
            })?;
        }
        Ok(())
    }

    fn read_v4_range(&mut self, line: &str, end: &mut Option<u32>) -> Result<(), String> {
        let (first, last, code) = range(line, "START,END,CC with decimal IPv4 addresses", end)?;
        let Some(place) = self.place_of_code(code) else {
            return Ok(());
        };
        let subnets = Ipv4Subnets::new(first.into(), last.into(), 0);
        self.v4.extend(subnets.map(|net| (net.addr().to_bits(), net.prefix_len(), Some(place))));
        Ok(())
    }

    fn read_v6_range(&mut self, line: &str, end: &mut Option<Ipv6Addr>) -> Result<(), String> {
        let (first, last, code) = range(line, "START,END,CC with IPv6 addresses", end)?;
        let Some(place) = self.place_of_code(code) else {
            return Ok(());
        };
        let mut carrying = false;
        for net in Ipv6Subnets::new(first, last, 0) {
            if is_carrying(net) {
                carrying = true;
            } else {
                self.v6.push((net.addr().to_bits(), net.prefix_len(), Some(place)));
            }
        }
        self.carrying += usize::from(carrying);
        Ok(())
    }

    fn read_place(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let (prefix, fields) = match fields[..] {
            [prefix, ref fields @ ..] if (1..=6).contains(&fields.len()) => (prefix, fields),
            _ => {
                return Err(format!(
                    "{line:?} is not PREFIX,CC[,SUBDIVISION[,CITY,LAT,LON[,ASN]]]"
                ));
            }
        };
        let network: IpNet = prefix
            .parse()
            .map_err(|_| format!("{prefix:?} is not a prefix such as 192.0.2.0/24"))?;
        if network != network.trunc() {
            return Err(format!(
                "{network} has bits set after its length (expected {})",
                network.trunc()
            ));
        }
        let place = self.places.id(place(fields)?);
        match network {
            IpNet::V4(net) => self.v4.push((net.addr().to_bits(), net.prefix_len(), Some(place))),
            IpNet::V6(net) if is_carrying(net) => self.carrying += 1,
            IpNet::V6(net) => self.v6.push((net.addr().to_bits(), net.prefix_len(), Some(place))),
        }
        Ok(())
    }

    /// The place that a list's country code stands for; lists have more codes than ISO 3166-1 has.
    fn place_of_code(&mut self, code: &str) -> Option<u32> {
        let continent = |continent| Place { continent: Some(continent), ..Place::default() };
        let place = match code {
            "??" | "ZZ" => {
                self.unknown += 1;
                return None;
            }
            // Regions that registries once wrote for networks across borders.
            "EU" => continent(Continent::Europe),
            "AP" => continent(Continent::Asia),
            // States that are no more; which successor it is nobody can tell: Serbia and Montenegro, the
            // Netherlands Antilles.
            "CS" => continent(Continent::Europe),
            "AN" => continent(Continent::NorthAmerica),
            // Reserved in ISO 3166-1 at the wish of its owner.
            "UK" => Place { country: "GB".parse().ok(), ..Place::default() },
            _ => match code.parse::<Country>() {
                Ok(country) => Place { country: Some(country), ..Place::default() },
                Err(_) => {
                    *self.unplaced.entry(code.to_owned()).or_default() += 1;
                    return None;
                }
            },
        };
        Some(self.places.id(place))
    }
}

/// Reads `START,END,CC`; each range begins after the end of the one before.
fn range<'a, A: FromStr + Copy + Ord + Display>(
    line: &'a str,
    expected: &str,
    end: &mut Option<A>,
) -> Result<(A, A, &'a str), String> {
    let unreadable = || format!("{line:?} is not {expected}");
    let mut fields = line.split(',');
    let mut field = || fields.next().map(str::trim).ok_or_else(unreadable);
    let first: A = field()?.parse().map_err(|_| unreadable())?;
    let last: A = field()?.parse().map_err(|_| unreadable())?;
    let code = field()?;
    if fields.next().is_some() || code.len() != 2 {
        return Err(unreadable());
    }
    if first > last {
        return Err(format!("the range ends at {last}, before it begins at {first}"));
    }
    if let Some(end) = end.filter(|end| *end >= first) {
        return Err(format!(
            "the range begins at {first}, not after {end} where the one before ends (sort the list)"
        ));
    }
    *end = Some(last);
    Ok((first, last, code))
}

/// Reads `CC[,SUBDIVISION[,CITY,LAT,LON[,ASN]]]`.
fn place(fields: &[&str]) -> Result<Place, String> {
    let field = |at: usize| fields.get(at).copied().filter(|field| !field.is_empty());
    let number = |at: usize, what: &str| {
        let text = field(at);
        text.map(|text| {
            text.parse::<f64>().map_err(|_| format!("{text:?} is not a {what} in degrees"))
        })
        .transpose()
    };
    let location = match (number(3, "latitude")?, number(4, "longitude")?) {
        (Some(lat), Some(lon)) => {
            Some(Coordinates::new(lat, lon).map_err(|error| error.to_string())?)
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err("a latitude needs a longitude, and the other way".to_owned());
        }
    };
    let asn = field(5).map(|text| {
        text.parse().map_err(|_| format!("{text:?} is not an AS number such as 64500"))
    });
    Ok(Place {
        continent: None,
        country: parsed(field(0))?,
        subdivision: parsed(field(1))?,
        city: field(2).map(Box::from),
        location,
        asn: asn.transpose()?,
    })
}

fn parsed<T: FromStr<Err: Display>>(field: Option<&str>) -> Result<Option<T>, String> {
    field.map(|text| text.parse().map_err(|error: T::Err| error.to_string())).transpose()
}

/// Whether no look-up comes to any address of `net`: all carry IPv4, or lie where mmdb keeps it.
fn is_carrying(net: Ipv6Net) -> bool {
    let in_ipv4_tree = net.addr().to_bits() >> 32 == 0 && net.prefix_len() >= IPV4_TREE_LEN;
    in_ipv4_tree || (embedded(net.network()).is_some() && embedded(net.broadcast()).is_some())
}
