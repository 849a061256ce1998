//! What a name server tells its peers: `GET /v1/peer`, in JSON.
//!
//! Two parts of it may be large: what is held, and what was ordered. Each has a tag, a hash of its octets, and is left
//! out for whoever says that it knows the tag.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::health::entries::Entry;
use crate::health::last_known::LastKnown;
use crate::judge::Held;

/// Octets of a page: `MOST_HELD` verdicts and as many of the longest orders as there can be take two thirds.
pub const LARGEST: usize = 32 << 20;
/// Held verdicts told, the first by service and target: a hundred services with a thousand targets each.
pub const MOST_HELD: usize = 100_000;
const VERSION: u32 = 1;
/// Octets of a name, a digest or a tag.
const LONGEST_WORD: usize = 128;

/// What stands in the head of every page.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Face {
    /// Who tells it.
    pub node: Box<str>,
    pub epoch: Box<str>,
    pub board: u64,
    /// Of the board.
    pub digest: Box<str>,
    /// Of all that vantages say: name servers that hear the same have the same.
    pub evidence: Box<str>,
}

/// What is remembered and no evidence decides.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Remembered {
    #[serde(default)]
    pub verdicts: Held,
    #[serde(default)]
    pub last_known: LastKnown,
}

/// What operators ordered here and elsewhere, as far as it may still matter.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Orders {
    /// The highest number of a stamp ever given.
    #[serde(default)]
    pub highest: u64,
    #[serde(default)]
    pub entries: Vec<Entry>,
}

/// A page as its reader sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Page {
    v: u32,
    #[serde(flatten)]
    pub face: Face,
    pub held_tag: Box<str>,
    /// `None` if it is as we know it.
    #[serde(default)]
    pub held: Option<Remembered>,
    pub orders_tag: Box<str>,
    /// The same.
    #[serde(default)]
    pub orders: Option<Orders>,
}

/// A page as its writer has it, for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    face: Face,
    held: Part,
    orders: Part,
}

/// Octets, and their hash.
#[derive(Clone, Debug, Default)]
pub struct Part {
    tag: Box<str>,
    octets: Box<RawValue>,
}

/// The tags of what is known already.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    pub held: Option<Box<str>>,
    pub orders: Option<Box<str>>,
}

/// A page that is none.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it tells in version {0}, expected {VERSION}: have both on one release")]
    Version(u32),
    #[error("its {0} has more than {LONGEST_WORD} octets")]
    TooLong(&'static str),
    #[error("it is {0}, expected {1}")]
    SomebodyElse(Box<str>, Box<str>),
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    #[serde(flatten)]
    face: &'a Face,
    held_tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a RawValue>,
    orders_tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    orders: Option<&'a RawValue>,
}

impl Part {
    /// # Errors
    /// It cannot be written as JSON.
    pub fn of(told: &impl Serialize) -> serde_json::Result<Part> {
        let octets = serde_json::value::to_raw_value(told)?;
        let hash: [u8; 32] = Sha256::digest(octets.get()).into();
        Ok(Part { tag: data_encoding::HEXLOWER.encode(&hash[..16]).into(), octets })
    }

    /// For who does not know it.
    fn unless(&self, known: Option<&str>) -> Option<&RawValue> {
        (known != Some(&*self.tag)).then_some(&*self.octets)
    }
}

impl Shown {
    pub fn new(face: Face, held: Part, orders: Part) -> Shown {
        Shown { face, held, orders }
    }

    /// The octets of a page.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn page(&self, known: &Known) -> serde_json::Result<Vec<u8>> {
        let Shown { face, held, orders } = self;
        serde_json::to_vec(&Written {
            v: VERSION,
            face,
            held_tag: &held.tag,
            held: held.unless(known.held.as_deref()),
            orders_tag: &orders.tag,
            orders: orders.unless(known.orders.as_deref()),
        })
    }
}

impl Page {
    /// What a peer of that name tells.
    ///
    /// # Errors
    /// Why it is no page of it.
    pub fn read(octets: &[u8], peer: &str) -> Result<Page, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        // Of a later version the rest may be anything.
        let Versioned { v } = serde_json::from_slice(octets)?;
        if v != VERSION {
            return Err(Unreadable::Version(v));
        }
        let page: Page = serde_json::from_slice(octets)?;
        let Face { node, epoch, board: _, digest, evidence } = &page.face;
        let words = [
            ("node", node),
            ("epoch", epoch),
            ("digest", digest),
            ("evidence", evidence),
            ("held_tag", &page.held_tag),
            ("orders_tag", &page.orders_tag),
        ];
        if let Some((key, _)) = words.into_iter().find(|(_, word)| word.len() > LONGEST_WORD) {
            return Err(Unreadable::TooLong(key));
        }
        if **node != *peer {
            return Err(Unreadable::SomebodyElse(node.clone(), peer.into()));
        }
        Ok(page)
    }
}

impl Known {
    /// What is asked for by whoever knows this.
    pub fn query(&self) -> String {
        let Known { held, orders } = self;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, tag) in [("held", held), ("orders", orders)] {
            query.extend_pairs(tag.iter().map(|tag| (key, tag)));
        }
        query.finish()
    }

    pub fn of_query(query: &str) -> Known {
        let mut known = Known::default();
        // Parameters of later versions are none of ours.
        for (key, tag) in form_urlencoded::parse(query.as_bytes()) {
            let known = match &*key {
                "held" => &mut known.held,
                "orders" => &mut known.orders,
                _ => continue,
            };
            *known = Some(tag.into());
        }
        known
    }

    /// After a page.
    pub fn learn(&mut self, page: &Page) {
        self.held = Some(page.held_tag.clone());
        self.orders = Some(page.orders_tag.clone());
    }
}
