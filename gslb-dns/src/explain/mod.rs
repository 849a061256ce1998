//! Why a client gets the answer it gets: the decision made again by the code that answers, with a
//! listener.
//!
//! The answer itself is what `answer::answer` writes, read back by an independent decoder, so an
//! explanation cannot drift from it. Pure: equal requests about equal snapshots give equal bytes.

mod moment;
mod stamped;
mod story;
mod text;

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::opt::EdnsOption;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;

pub use self::moment::{KnownFrom, MomentTold, explain_then};
pub use self::stamped::StampTold;
pub use self::story::{Contest, Steering};

use self::story::{Part, Story};
use crate::answer::{Asker, MAX_CHAIN, MAX_STREAM, Transport, answer};
use crate::binding::{Binding, Targets};
use crate::health::entries::{Moment, Ordered};
use crate::health::overrides::NoMatch;
use crate::health::supposition::{Supposition, SuppositionError};
use crate::ids::ServiceId;
use crate::locate::Client;
use crate::name::{Name, NameKey};
use crate::query::{ClientSubnet, OPTION_EDE, OPTION_SUBNET};
use crate::record::RecordType;
use crate::sight::ServiceSeen;
use crate::snapshot::{Extent, Snapshot};
use crate::stamp::{self, Stamp, StampError};
use crate::steer::{Family, common_family};
use crate::world::{Answers, World};

/// What is asked to be explained.
#[derive(Clone, Debug)]
pub struct Request {
    pub name: Name,
    pub qtype: RecordType,
    pub on_behalf: OnBehalf,
    pub at: Timestamp,
    /// Whose board is wanted; the present one, if none is said.
    pub moment: Option<Moment>,
    /// Of an answer that is to be explained as it was: then `moment` is its board's.
    pub stamp: Option<Stamp>,
    pub suppose: Vec<Supposition>,
}

/// For whom the answer would be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnBehalf {
    /// A query that carries this client subnet, from this resolver, or from some.
    Subnet(IpNet, Option<IpAddr>),
    /// A query without a client subnet, from this resolver.
    Resolver(IpAddr),
}

impl OnBehalf {
    /// The subnet that such a query carries, and its sender.
    fn asked(self) -> (Option<ClientSubnet>, IpAddr) {
        match self {
            OnBehalf::Subnet(net, resolver) => {
                let subnet = ClientSubnet::new(net.addr(), net.prefix_len());
                (Some(subnet), resolver.unwrap_or(SOME_RESOLVER))
            }
            OnBehalf::Resolver(address) => (None, address),
        }
    }
}

/// The resolver of a query whose subnet is believed plays no part; this one has no place.
const SOME_RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Debug, Serialize)]
pub struct Explanation {
    pub name: String,
    #[serde(rename = "type")]
    pub qtype: String,
    pub node: String,
    pub epoch: String,
    pub board: BoardStamp,
    pub at: Timestamp,
    /// The stamp of the answer to be explained, and what is not as it was then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp: Option<StampTold>,
    /// Where what was believed comes from, if the moment is not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moment: Option<MomentTold>,
    pub supposed: Vec<String>,
    pub client: ClientTold,
    /// One for each decision on the way from the name to the records, service by service.
    pub steering: Vec<Steering>,
    pub evidence: Evidence,
    pub answer: AnswerTold,
}

/// What vantages say of the sites, and what is made of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Now, of each service that has a say.
    Seen(Vec<ServiceSeen>),
    /// Why there is none.
    None(&'static str),
}

#[derive(Debug, Serialize)]
pub struct BoardStamp {
    /// Of a moment gone, that of the board that first believed the same then. 0 if nobody was answered from it: it was made for this explanation, of a moment gone or to come.
    pub number: u64,
    pub digest: String,
    /// The highest number that an order had been given by then; 0 if there was none.
    pub override_stamp: u64,
}

#[derive(Debug, Serialize)]
pub struct ClientTold {
    /// The prefix steered by, an IPv4 address inside an IPv6 one taken out.
    pub prefix: String,
    /// `subnet` or `resolver`.
    pub told_by: &'static str,
    /// Why a subnet that was sent was not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disbelieved: Option<String>,
    pub place: String,
    /// The prefix that the place holds for.
    pub place_prefix: String,
    /// Which override or databases told the place.
    pub place_source: String,
}

/// The answer as it goes on the wire.
#[derive(Debug, PartialEq, Serialize)]
pub struct AnswerTold {
    pub rcode: String,
    pub authoritative: bool,
    /// In order, as `owner TTL type data`.
    pub records: Vec<String>,
    /// The addresses among them, in order.
    pub addresses: Vec<IpAddr>,
    /// Seconds, the lowest of the records; of the SOA where there are none.
    pub ttl: Option<u32>,
    /// The EDNS scope; `None` if the query carried no subnet.
    pub scope: Option<u8>,
    /// The extended error, of an answer that is no ordinary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_error: Option<ExtendedError>,
}

/// RFC 8914.
#[derive(Debug, PartialEq, Serialize)]
pub struct ExtendedError {
    pub code: u16,
    pub text: String,
}

/// Explains what `request` would be answered over a stream, where nothing is cut short.
pub fn explain(snapshot: &Snapshot, node_name: &str, request: &Request) -> Explanation {
    let stamp = request.stamp.map(|stamp| StampTold::judge(&stamp, request, snapshot));
    let supposed;
    let snapshot = if request.suppose.is_empty() {
        snapshot
    } else {
        let board = snapshot.board.supposing(snapshot.world(), &request.suppose);
        supposed = Snapshot::new(snapshot.ground.clone(), board);
        &supposed
    };
    let (subnet, resolver) = request.on_behalf.asked();
    let client = snapshot.ground.client(subnet.as_ref(), resolver);
    let now = u64::try_from(request.at.as_second()).unwrap_or(0);
    let (message, names) = ask(snapshot, node_name, request, subnet.as_ref(), resolver, now);
    let decided = names.iter().flat_map(|name| decided_at(snapshot, name, request.qtype));
    let steering = decided.map(|Decided { service, family, extent, part }| {
        let mut story = Story::new(snapshot, service, part);
        let derivation = snapshot.retrace(extent, service, family, &client, now, &mut story);
        story.told(&client, family, &derivation)
    });
    Explanation {
        name: request.name.to_string(),
        qtype: request.qtype.to_string(),
        node: node_name.to_owned(),
        epoch: snapshot.world().epoch.to_string(),
        board: BoardStamp {
            number: snapshot.board.number,
            digest: snapshot.board.digest.to_string(),
            override_stamp: snapshot.board.orders,
        },
        at: request.at,
        stamp,
        moment: None,
        supposed: request.suppose.iter().map(ToString::to_string).collect(),
        client: client_told(snapshot, &client, subnet.as_ref()),
        steering: steering.collect(),
        evidence: Evidence::None(match request.moment {
            None => "only a running server has it: ask one, by --server or --socket",
            Some(_) => "history keeps the reasons of then, and not what each vantage said",
        }),
        answer: message,
    }
}

/// The services that have a say in what is asked, each once.
pub fn services(snapshot: &Snapshot, node_name: &str, request: &Request) -> Vec<ServiceId> {
    let (subnet, resolver) = request.on_behalf.asked();
    let now = u64::try_from(request.at.as_second()).unwrap_or(0);
    let (_, names) = ask(snapshot, node_name, request, subnet.as_ref(), resolver, now);
    let mut services = Vec::new();
    for Decided { service, .. } in
        names.iter().flat_map(|name| decided_at(snapshot, name, request.qtype))
    {
        if !services.contains(&service) {
            services.push(service);
        }
    }
    services
}

impl Explanation {
    /// For people: one line a fact, in the order of the decision.
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// In either of its forms, ending in a line end.
    pub fn render(&self, format: Format) -> serde_json::Result<String> {
        match format {
            Format::Text => Ok(self.text()),
            Format::Json => serde_json::to_string_pretty(self).map(|text| text + "\n"),
        }
    }

    /// The same, of what no server has answered from.
    pub fn render_from_files(&self, format: Format) -> serde_json::Result<String> {
        let rendered = self.render(format)?;
        Ok(match format {
            Format::Text => format!("{FROM_FILES}\n{rendered}"),
            Format::Json => rendered,
        })
    }
}

/// Above what files say, for people: other commands that are given `--config` ask the server that it tells of.
const FROM_FILES: &str =
    "from the files on disk, not a running server (--server ADDRESS or --socket PATH asks one)";

/// Asks the query path, and reads its answer. Also returns the names of the chain, in order.
fn ask(
    snapshot: &Snapshot,
    node_name: &str,
    request: &Request,
    subnet: Option<&ClientSubnet>,
    resolver: IpAddr,
    now: u64,
) -> (AnswerTold, Vec<Name>) {
    let packet = query(&request.name, request.qtype, subnet);
    let asker = Asker { address: resolver, transport: Transport::Tcp, now };
    let mut out = vec![0; MAX_STREAM];
    let length = answer(snapshot, node_name, &packet, &asker, &mut NameKey::default(), &mut out)
        .map_or(0, |answer| answer.length);
    match Message::from_vec(&out[..length]) {
        Ok(message) => (AnswerTold::read(&message), chain(snapshot, request, &message)),
        // Seen by nobody yet; to say nothing here would hide it.
        Err(error) => {
            let rcode = format!("not readable by an independent decoder: {error}");
            let told = AnswerTold {
                rcode,
                authoritative: false,
                records: vec![],
                addresses: vec![],
                ttl: None,
                scope: None,
                extended_error: None,
            };
            (told, vec![])
        }
    }
}

/// A query as a resolver would send it: with an OPT record, and the client subnet if there is one.
pub fn query(name: &Name, qtype: RecordType, subnet: Option<&ClientSubnet>) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    packet.extend_from_slice(name.wire());
    packet.extend_from_slice(&qtype.0.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
    let option = subnet.map_or(vec![], |subnet| {
        let address = subnet.wire_address();
        let length = 4 + address.len() as u16;
        [
            &OPTION_SUBNET.to_be_bytes()[..],
            &length.to_be_bytes(),
            &subnet.family.number().to_be_bytes(),
            &[subnet.source, 0],
            address,
        ]
        .concat()
    });
    packet.extend_from_slice(&(option.len() as u16).to_be_bytes());
    packet.extend_from_slice(&option);
    packet
}

impl AnswerTold {
    /// Reads an answer as any client would.
    pub fn read(message: &Message) -> AnswerTold {
        let records = &message.answers;
        let of_records = records.iter().map(|record| record.ttl).min();
        let of_authority = message.authorities.iter().map(|record| record.ttl).min();
        let scope = message.edns.as_ref().and_then(|edns| {
            edns.options().as_ref().iter().find_map(|(_, option)| match option {
                EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
                _ => None,
            })
        });
        AnswerTold {
            rcode: mnemonic(message.metadata.response_code),
            authoritative: message.metadata.authoritative,
            records: records.iter().map(ToString::to_string).collect(),
            addresses: records.iter().filter_map(|record| record.data.ip_addr()).collect(),
            ttl: of_records.or(of_authority),
            scope,
            extended_error: message.edns.as_ref().and_then(ExtendedError::read),
        }
    }
}

impl ExtendedError {
    fn read(edns: &Edns) -> Option<ExtendedError> {
        edns.options().as_ref().iter().find_map(|(_, option)| match option {
            EdnsOption::Unknown(OPTION_EDE, value) => {
                let (code, text) = value.split_first_chunk()?;
                let text = String::from_utf8_lossy(text).into_owned();
                Some(ExtendedError { code: u16::from_be_bytes(*code), text })
            }
            _ => None,
        })
    }
}

/// The decoder's names are sentences; operators know the mnemonics.
fn mnemonic(code: ResponseCode) -> String {
    format!("{code:?}").to_ascii_uppercase()
}

/// The names that the answer led through, as far as it was this server that followed them: within one
/// zone, and not where the alias itself was asked for.
fn chain(snapshot: &Snapshot, request: &Request, message: &Message) -> Vec<Name> {
    let zone = |name: &Name| {
        let key = NameKey::of(name.wire())?;
        snapshot.ground.zones.find(&key).map(std::ptr::from_ref)
    };
    let mut names = vec![request.name.clone()];
    if matches!(request.qtype, RecordType::CNAME | RecordType::ANY) {
        return names;
    }
    let home = zone(&request.name);
    for record in &message.answers {
        if let RData::CNAME(target) = &record.data
            && let Ok(target) = Name::from_str(&target.0.to_ascii())
            && zone(&target) == home
            && names.len() <= MAX_CHAIN
        {
            names.push(target);
        }
    }
    names
}

/// One decision of a service that the answer is made of.
struct Decided {
    service: ServiceId,
    family: Family,
    extent: Extent,
    part: Part,
}

/// What the service at a name, if there is one, decides for an answer of this type, in order.
fn decided_at(snapshot: &Snapshot, name: &Name, qtype: RecordType) -> Vec<Decided> {
    let service =
        NameKey::of(name.wire()).and_then(|key| snapshot.ground.zones.find(&key)?.service_of(&key));
    let Some(id) = service else { return vec![] };
    let service = snapshot.world().service(id);
    let taken = |family, part| Decided { service: id, family, extent: Extent::Taken, part };
    match (service.answers, qtype) {
        (Answers::Cname, _) => vec![taken(Family::Cname, Part::Records)],
        (Answers::Addresses, RecordType::A) => vec![taken(Family::V4, Part::Records)],
        (Answers::Addresses, RecordType::AAAA) => vec![taken(Family::V6, Part::Records)],
        (Answers::Addresses, _) => match service.binding(qtype) {
            None => vec![],
            Some(Binding { targets: None, .. }) => {
                [Family::V4, Family::V6].map(|family| taken(family, Part::HintOf(qtype))).into()
            }
            Some(Binding { targets: Some(Targets { alternatives, .. }), .. }) => {
                let (family, extent) =
                    (common_family(service), Extent::Alternatives(*alternatives));
                vec![Decided { service: id, family, extent, part: Part::Alternatives(qtype) }]
            }
        },
    }
}

fn client_told(snapshot: &Snapshot, client: &Client, subnet: Option<&ClientSubnet>) -> ClientTold {
    let located = snapshot.world().atlas.lookup(client.address);
    let whole = client.whole();
    ClientTold {
        prefix: format!("{}/{}", whole.address, whole.length),
        told_by: client.told_by.as_str(),
        disbelieved: subnet.and_then(|subnet| snapshot.ground.trust.disbelief(subnet)),
        place: located.place.to_string(),
        place_prefix: located.network.to_string(),
        place_source: located.source.to_string(),
    }
}

impl Request {
    /// Reads the words of a command line or of a URL; says what was expected where one is wrong.
    pub fn parse(words: &RequestWords, now: Timestamp) -> Result<Request, RequestError> {
        let name = words
            .name
            .parse()
            .map_err(|source| RequestError::Name { name: words.name.clone(), source })?;
        let qtype = words.qtype.parse().map_err(|_| RequestError::Type(words.qtype.clone()))?;
        let resolver = words
            .resolver
            .as_ref()
            .map(|resolver| resolver.parse().map_err(|_| RequestError::Resolver(resolver.clone())));
        let stamp: Option<Stamp> = words.stamp.as_ref().map(|stamp| stamp.parse()).transpose()?;
        let on_behalf = match (&words.client, resolver.transpose()?, &stamp) {
            (Some(client), resolver, _) => OnBehalf::Subnet(prefix(client)?, resolver),
            (None, Some(resolver), _) => OnBehalf::Resolver(resolver),
            (None, None, Some(stamp)) => stamp.client.into(),
            (None, None, None) => return Err(RequestError::Whom),
        };
        let (at, moment) = match (&words.at, &stamp) {
            (Some(_), Some(_)) => return Err(RequestError::TwoInstants),
            (None, None) => (now, None),
            (None, Some(stamp)) => {
                let ordered = Ordered::UpTo(stamp.orders);
                (stamp.at, Some(Moment { at: stamp.board_at, ordered }))
            }
            (Some(at), None) => {
                let at = at.parse().map_err(|_| RequestError::At(at.clone()))?;
                (at, Some(Moment { at, ordered: Ordered::By(at) }))
            }
        };
        let suppose = words.suppose.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
        // Answers know whole seconds only.
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        Ok(Request { name, qtype, on_behalf, at, moment, stamp, suppose })
    }
}

impl Request {
    /// Refuses what cannot be meant in this world: something supposed of a site that there is not.
    pub fn fits(&self, world: &World) -> Result<(), NoMatch> {
        self.suppose.iter().try_for_each(|one| one.is_of_some_site(world))
    }
}

/// A request as it was typed.
#[derive(Clone, Debug, Default)]
pub struct RequestWords {
    pub name: String,
    pub qtype: String,
    pub client: Option<String>,
    pub resolver: Option<String>,
    pub at: Option<String>,
    /// As a tool printed it.
    pub stamp: Option<String>,
    pub suppose: Vec<String>,
}

impl From<stamp::Client> for OnBehalf {
    fn from(client: stamp::Client) -> OnBehalf {
        match client {
            stamp::Client::Subnet(net) => OnBehalf::Subnet(net, None),
            stamp::Client::Resolver(address) => OnBehalf::Resolver(address),
        }
    }
}

/// How an explanation is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    Text,
    /// One object, for programs.
    Json,
}

impl Format {
    const ALL: [Format; 2] = [Format::Text, Format::Json];

    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }

    pub fn named(name: &str) -> Result<Format, String> {
        let found = Format::ALL.into_iter().find(|format| format.as_str() == name);
        let known = Format::ALL.map(Format::as_str).join(", ");
        found.ok_or_else(|| format!("no format {name} (formats: {known})"))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("\"{name}\" is not a domain name: {source}")]
    Name { name: String, source: crate::name::NameError },
    #[error("\"{0}\" is not a record type; expected one such as A or AAAA, or TYPE and a number")]
    Type(String),
    #[error("\"{0}\" is not a client subnet; expected one such as 81.2.69.0/24 or 2001:db8::/48")]
    Client(String),
    #[error("\"{0}\" is not a resolver's address; expected one such as 192.0.2.53")]
    Resolver(String),
    #[error(
        "for whom? give a client subnet (--client, client=), a resolver's address (--resolver, resolver=), or both; \
         or the stamp of an answer (--stamp, stamp=), which says it"
    )]
    Whom,
    #[error("\"{0}\" is not an instant; expected one such as 2026-11-21T09:30:00Z")]
    At(String),
    #[error("a stamp says of what instant it is; leave out one of at and stamp")]
    TwoInstants,
    #[error(transparent)]
    Stamp(#[from] StampError),
    #[error(transparent)]
    Suppose(#[from] SuppositionError),
}

/// An address alone stands for the prefix that resolvers send of it.
fn prefix(text: &str) -> Result<IpNet, RequestError> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(net);
    }
    let address: IpAddr = text.parse().map_err(|_| RequestError::Client(text.to_owned()))?;
    IpNet::new(address, ClientSubnet::usual_source(address))
        .map_err(|_| RequestError::Client(text.to_owned()))
}
