//! From TOML to the types that mirror a file, reporting everything that does not fit.
//!
//! serde stops at the first thing it cannot take; an operator wants them all. So a value that
//! cannot be read becomes `None` in its place, with its problem told, and reading goes on.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use toml::Spanned;
use toml::de::DeTable;
pub use toml::de::DeValue;

use super::closest::{advice, closest};
use super::problems::{Problem, Problems, Source, Spot};
use crate::duration;
use crate::names::listed;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub spot: Spot,
}

/// A list; `None` stands for an item that could not be read, which has been told.
pub type List<T> = Vec<Option<T>>;

/// A table whose keys are names, by key: so that ids do not follow from the order of tables, which
/// the epoch does not see either. `None` stands for a value that could not be read.
#[derive(Debug)]
pub struct Entries<T>(pub Vec<(At<String>, Option<T>)>);

impl<T> Default for Entries<T> {
    fn default() -> Entries<T> {
        Entries(Vec::new())
    }
}

/// The same, where the keys are domain names. TOML takes `[zone.example.com]` for tables in a table: that is
/// told, and read as what was meant.
#[derive(Debug)]
pub struct ByDomain<T>(pub Entries<T>);

/// A name by itself, or a table or list that says more.
#[derive(Debug)]
pub enum NameOr<T> {
    Name(At<String>),
    More(T),
}

/// What can be read from a TOML value.
pub trait Read: Sized {
    /// What messages say was expected.
    fn expected() -> String;

    /// `None` when the value does not fit, which has then been told.
    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self>;

    /// The keys of a table, where it has a fixed set of them.
    fn keys() -> &'static [&'static str] {
        &[]
    }

    /// The file in which a key belongs that is none of this table.
    fn home_of(_key: &str) -> Option<&'static str> {
        None
    }

    /// What a key of this table is that others call so: a name, or what to do instead.
    fn known_as(_key: &str) -> Option<&'static str> {
        None
    }

    /// What stands for a key that is not in its table.
    fn absent(key: &str, table: &Spot, problems: &mut Problems) -> Option<Self> {
        problems.add(table.problem(format!("{key} is missing (expected {})", Self::expected())));
        None
    }
}

/// What can be read from a string.
pub trait Word: Sized {
    const EXPECTED: &'static str;

    /// The error is the whole message.
    fn word(text: &str) -> Result<Self, String>;
}

/// Declares what a table may hold and how it is read. Every key is a field; what may be left out
/// is an `Option`. A field is `None` when its value could not be read. The two tables that are whole files name
/// each other; what others call its keys a table may have from a function.
#[macro_export]
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty,)* } $(else $other:ident in $file:literal)? $(known_as $known:path)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            $(pub $key: Option<$type>,)*
        }

        impl $crate::config::read::Read for $name {
            fn expected() -> String {
                match Self::keys() {
                    [only] => format!("a table: {{ {only} = … }}"),
                    keys => format!("a table of {}", keys.join(", ")),
                }
            }

            fn keys() -> &'static [&'static str] {
                // A name in Rust may need the prefix that a key in TOML does not.
                const KEYS: &[&str] = &[$($crate::config::read::bare(stringify!($key))),*];
                KEYS
            }

            $(fn known_as(key: &str) -> Option<&'static str> {
                $known(key)
            })?

            $(fn home_of(key: &str) -> Option<&'static str> {
                <$other as $crate::config::read::Read>::keys().contains(&key).then_some($file)
            })?

            fn read(
                value: &$crate::config::read::DeValue<'_>,
                spot: &$crate::config::problems::Spot,
                problems: &mut $crate::config::problems::Problems,
            ) -> Option<Self> {
                let table = $crate::config::read::open::<Self>(value, spot, problems)?;
                Some($name {
                    $($key: $crate::config::read::take(
                        table,
                        $crate::config::read::bare(stringify!($key)),
                        spot,
                        problems,
                    ),)*
                })
            }
        }
    };
}
pub use crate::table;

/// What the parser says of everything behind a `]` that is missing.
const UNCLOSED: &str = "missing comma between array elements";

/// A file taken apart by TOML's syntax.
pub struct Document<'s> {
    pub table: DeTable<'s>,
    whole: Spot,
    is_sound: bool,
}

impl<'s> Document<'s> {
    /// Tells every mistake in the syntax.
    pub fn parse(source: &'s Arc<Source>, problems: &mut Problems) -> Document<'s> {
        let (table, errors) = DeTable::parse_recoverable(source.text());
        let mut told = HashSet::new();
        let mut in_list = false;
        for error in &errors {
            let spot = Spot::at(source.clone(), error.span().unwrap_or_default());
            let message = error.message().replace('\n', ", ");
            let is_unclosed = message.starts_with(UNCLOSED);
            // What follows on the same line mostly follows from the first, and so does all that is taken
            // for an item of a list that was not closed.
            if told.insert(spot.line()) && !(is_unclosed && std::mem::replace(&mut in_list, true)) {
                let hint = match &*message {
                    "duplicate key" => source.first_of(error.span().unwrap_or_default().start),
                    _ if is_unclosed => Some("is a ] missing before this?".to_owned()),
                    _ => None,
                };
                let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                problems.add(spot.problem(message + &hint));
            }
        }
        let whole = Spot::at(source.clone(), 0..0);
        Document { table: table.into_inner(), whole, is_sound: errors.is_empty() }
    }

    /// Something is wrong with all of it.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        self.whole.problem(message)
    }

    /// `None` after a mistake in the syntax: what seems to be missing then was likely not seen.
    pub fn read<T: Read>(&self, problems: &mut Problems) -> Option<T> {
        let table = DeValue::Table(self.is_sound.then(|| self.table.clone())?);
        T::read(&table, &self.whole, problems)
    }

    /// A string at the top of the file that is not empty, whatever is wrong elsewhere.
    pub fn string(&self, key: &str) -> Option<At<String>> {
        let (key, value) = self.table.get_key_value(key)?;
        let text = value.get_ref().as_str().filter(|text| !text.is_empty())?;
        let spot = spot_of(key.get_ref(), key.span(), value, &self.whole);
        Some(At { value: text.to_owned(), spot })
    }
}

/// A key without the `r#` that Rust wants before a keyword.
pub const fn bare(key: &'static str) -> &'static str {
    match key.as_bytes() {
        [b'r', b'#', ..] => key.split_at(2).1,
        _ => key,
    }
}

/// Sees that a value is a table and holds only known keys.
pub fn open<'v, 't, T: Read>(
    value: &'v DeValue<'t>,
    spot: &Spot,
    problems: &mut Problems,
) -> Option<&'v DeTable<'t>> {
    let known = T::keys();
    let table = table_of::<T>(value, spot, problems)?;
    for (key, _) in table.iter() {
        let name: &str = key.get_ref();
        if !known.contains(&name) {
            let guess = match (T::home_of(name), T::known_as(name)) {
                (Some(file), _) => format!("; it belongs in {file}"),
                (None, Some(ours)) if known.contains(&ours) => {
                    format!("; it is called {ours} here")
                }
                (None, Some(instead)) => format!("; {instead}"),
                (None, None) => closest(name, known.iter().copied())
                    .map(|guess| format!("; did you mean {guess}?"))
                    .unwrap_or_default(),
            };
            let unknown = spot.key(name, key.span());
            let keys = known.join(", ");
            problems.add(unknown.problem(format!("unknown key{guess} (known keys: {keys})")));
        }
    }
    Some(table)
}

/// Reads what one key of a table holds.
pub fn take<T: Read>(
    table: &DeTable<'_>,
    key: &str,
    spot: &Spot,
    problems: &mut Problems,
) -> Option<T> {
    match table.get_key_value(key) {
        Some((key, value)) => {
            T::read(value.get_ref(), &spot_of(key.get_ref(), key.span(), value, spot), problems)
        }
        None => T::absent(key, spot, problems),
    }
}

/// A table is known by its key, which is its heading; anything else by itself.
fn spot_of(key: &str, span: Range<usize>, value: &Spanned<DeValue<'_>>, table: &Spot) -> Spot {
    let span = if value.get_ref().is_table() { span } else { value.span() };
    table.key(key, span)
}

fn table_of<'v, 't, T: Read>(
    value: &'v DeValue<'t>,
    spot: &Spot,
    problems: &mut Problems,
) -> Option<&'v DeTable<'t>> {
    let is_table = |item: &Spanned<DeValue<'_>>| item.get_ref().is_table();
    problems.one(value.as_table().ok_or_else(|| match value {
        DeValue::Array(items) if !items.is_empty() && items.iter().all(is_table) => {
            let hint = format!("; write [{spot}], with one pair of brackets, once");
            misfit_with::<T>(value, spot, &hint)
        }
        _ => misfit::<T>(value, spot),
    }))
}

/// A value by itself, or a table under its own heading, where a list of them belongs.
fn no_list<T: Read>(value: &DeValue<'_>, spot: &Spot) -> Problem {
    let hint = match value {
        DeValue::String(text) => {
            // Not what would be refused as soon as it is written so.
            let mut problems = Problems::default();
            match T::read(value, spot, &mut problems) {
                Some(_) => format!("; write [{text:?}]"),
                None => String::new(),
            }
        }
        DeValue::Table(_) if !T::keys().is_empty() => {
            format!("; write [[{spot}]], with two pairs of brackets, or [{{ ... }}]")
        }
        _ => String::new(),
    };
    misfit_with::<List<T>>(value, spot, &hint)
}

fn misfit<T: Read>(value: &DeValue<'_>, spot: &Spot) -> Problem {
    misfit_with::<T>(value, spot, "")
}

fn misfit_with<T: Read>(value: &DeValue<'_>, spot: &Spot, hint: &str) -> Problem {
    let found = match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(is) => is.to_string(),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    spot.problem(format!("found {found}, expected {}{hint}", T::expected()))
}

impl<T: Read> Read for At<T> {
    fn expected() -> String {
        T::expected()
    }

    fn keys() -> &'static [&'static str] {
        T::keys()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        Some(At { value: T::read(value, spot, problems)?, spot: spot.clone() })
    }
}

impl<T: Read> Read for Option<T> {
    fn expected() -> String {
        T::expected()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        T::read(value, spot, problems).map(Some)
    }

    fn absent(_: &str, _: &Spot, _: &mut Problems) -> Option<Self> {
        Some(None)
    }
}

impl<T: Read> Read for List<T> {
    fn expected() -> String {
        format!("a list, each item {}", T::expected())
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        let list = value.as_array().ok_or_else(|| no_list::<T>(value, spot));
        let items = problems.one(list)?.iter().enumerate();
        let item = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
            T::read(item.get_ref(), &spot.item(index, item.span()), problems)
        };
        Some(items.map(item).collect())
    }
}

impl<T: Read> Read for Entries<T> {
    fn expected() -> String {
        "a table".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        let entries = table_of::<Self>(value, spot, problems)?.iter().map(|(key, value)| {
            let name: &str = key.get_ref();
            let read = T::read(value.get_ref(), &spot_of(name, key.span(), value, spot), problems);
            (At { value: name.to_owned(), spot: spot.key(name, key.span()) }, read)
        });
        Some(Entries(entries.collect()))
    }
}

impl<T: Read> Read for ByDomain<T> {
    fn expected() -> String {
        "a table".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        let mut entries = Vec::new();
        for (key, value) in table_of::<Self>(value, spot, problems)? {
            let name: &str = key.get_ref();
            for Heading { name, at, value, is_split } in
                headings::<T>(name, key.span(), value, spot)
            {
                if is_split {
                    let message = format!("a name with dots is quoted: [{spot}.{name:?}]");
                    problems.add(at.problem(message));
                }
                let read = T::read(value.get_ref(), &at, problems);
                entries.push((At { value: name, spot: at }, read));
            }
        }
        Some(ByDomain(Entries(entries)))
    }
}

/// One entry of a table of domain names.
struct Heading<'v, 't> {
    name: String,
    at: Spot,
    value: &'v Spanned<DeValue<'t>>,
    /// Whether its dots were not quoted.
    is_split: bool,
}

/// What stands under one key: itself, or all that was split by its dots.
fn headings<'v, 't, T: Read>(
    name: &str,
    span: Range<usize>,
    value: &'v Spanned<DeValue<'t>>,
    table: &Spot,
) -> Vec<Heading<'v, 't>> {
    let at = table.key(name, span);
    let is_part = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        value.get_ref().is_table() && closest(key, T::keys().iter().copied()).is_none()
    };
    // A name that has its dots was quoted.
    let parts = value.get_ref().as_table().filter(|parts| !parts.is_empty() && !name.contains('.'));
    let Some(parts) = parts.filter(|parts| parts.iter().all(is_part)) else {
        return vec![Heading { name: name.to_owned(), at, value, is_split: false }];
    };
    let within =
        parts.iter().flat_map(|(key, value)| headings::<T>(key.get_ref(), key.span(), value, &at));
    within
        .map(|part| Heading { name: format!("{name}.{}", part.name), is_split: true, ..part })
        .collect()
}

impl<T: Read> Read for NameOr<T> {
    fn expected() -> String {
        format!("a name, or {}", T::expected())
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        match value {
            DeValue::String(name) => {
                Some(NameOr::Name(At { value: name.to_string(), spot: spot.clone() }))
            }
            DeValue::Table(_) | DeValue::Array(_) => {
                T::read(value, spot, problems).map(NameOr::More)
            }
            _ => {
                problems.add(misfit::<Self>(value, spot));
                None
            }
        }
    }
}

impl Read for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        problems.one(value.as_bool().ok_or_else(|| misfit::<Self>(value, spot)))
    }
}

impl Read for i64 {
    fn expected() -> String {
        "a whole number".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        let number = value
            .as_integer()
            .and_then(|digits| i64::from_str_radix(digits.as_str(), digits.radix()).ok());
        problems.one(number.ok_or_else(|| misfit::<Self>(value, spot)))
    }
}

impl Read for f64 {
    fn expected() -> String {
        "a number".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        let number = match value {
            DeValue::Float(digits) => digits.as_str().parse().ok(),
            DeValue::Integer(_) => {
                return i64::read(value, spot, problems).map(|whole| whole as f64);
            }
            _ => None,
        };
        problems.one(number.ok_or_else(|| misfit::<Self>(value, spot)))
    }
}

impl Read for Timestamp {
    fn expected() -> String {
        "a time such as 2026-11-21T09:30:00Z".to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        let time = value.as_datetime().ok_or_else(|| misfit::<Self>(value, spot));
        let time = problems.one(time)?;
        if time.date.is_some() && time.time.is_some() && time.offset.is_none() {
            problems.add(
                spot.problem(format!("{time} does not say in which zone; for UTC write {time}Z")),
            );
            return None;
        }
        problems.one(time.to_string().parse().map_err(|_| misfit::<Self>(value, spot)))
    }
}

impl<T: Word> Read for T {
    fn expected() -> String {
        T::EXPECTED.to_owned()
    }

    fn read(value: &DeValue<'_>, spot: &Spot, problems: &mut Problems) -> Option<Self> {
        let text = problems.one(value.as_str().ok_or_else(|| misfit::<Self>(value, spot)))?;
        problems.one(T::word(text).map_err(|message| spot.problem(message)))
    }
}

impl At<String> {
    /// Reads a key, which TOML knows only as a string.
    pub fn word<T: Word>(&self) -> Result<T, Problem> {
        T::word(&self.value).map_err(|message| self.spot.problem(message))
    }
}

/// The variant that a word stands for.
pub fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let names = || choices.iter().map(|(name, _)| *name);
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let guess = advice(text, names());
        format!(
            "there is no {text:?} here{guess} ({})",
            listed("choices", names().collect::<Vec<_>>().into_iter())
        )
    })
}

impl Word for String {
    const EXPECTED: &'static str = "a string";

    fn word(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }
}

impl Word for Duration {
    const EXPECTED: &'static str = duration::EXPECTED;

    fn word(text: &str) -> Result<Duration, String> {
        duration::parse(text)
    }
}

impl Word for IpAddr {
    const EXPECTED: &'static str = "an IP address such as \"192.0.2.1\" or \"2001:db8::1\"";

    fn word(text: &str) -> Result<IpAddr, String> {
        text.parse().map_err(|_| format!("{text:?} is not {}", Self::EXPECTED))
    }
}

impl Word for SocketAddr {
    const EXPECTED: &'static str = "an address and port such as \"192.0.2.1:53\" or \"[::]:53\"";

    fn word(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| format!("{text:?} is not {}", Self::EXPECTED))
    }
}

/// A prefix without host bits: one network has one spelling of its number.
impl Word for IpNet {
    const EXPECTED: &'static str = "a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"";

    fn word(text: &str) -> Result<IpNet, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let whole = IpNet::from(address);
            return Err(format!("{text:?} has no prefix length; did you mean \"{whole}\"?"));
        }
        let net: IpNet = text.parse().map_err(|_| format!("{text:?} is not {}", Self::EXPECTED))?;
        if net.trunc() != net {
            return Err(format!("{text:?} has host bits set; did you mean \"{}\"?", net.trunc()));
        }
        Ok(net)
    }
}
