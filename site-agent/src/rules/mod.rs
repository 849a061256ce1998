//! The language of rules: `path_prefix('/admin') && !src('10.10.0.0/16')`.
//!
//! text ─▶ lex ─▶ parse ─▶ tree ─▶ check (functions, constant) ─▶ condition ─▶ (a request) ─▶ whether it holds
//!
//! `path` makes of a request's path what rules see. Pure. Everything is judged before the first request: names, kinds
//! and constants, and what a frontend of TCP cannot know. A condition then takes bounded time and allocates nothing
//! (but what a regular expression needs for itself, once for each thread).

mod check;
mod condition;
mod constant;
mod fact;
mod functions;
mod lex;
mod parse;
pub mod path;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use self::condition::Test;
pub use self::fact::{is_same_host, without_port};
use self::path::NormalPath;

/// Octets of one condition's text.
pub const LONGEST_TEXT: usize = 4096;
/// Operators, names and constants of one condition.
pub const MOST_NODES: usize = 256;
/// Parentheses, `!` and calls within each other.
pub const DEEPEST: usize = 32;
/// Octets that a compiled regular expression may take, and its cache beside.
pub const LARGEST_REGEX: usize = 1 << 18;

/// What a frontend knows of its traffic.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Connections, and the requests in them.
    #[default]
    Http,
    /// Connections alone.
    Tcp,
}

/// What is asked of a request: compiled, and true or false of each.
#[derive(Clone, Debug)]
pub struct Condition {
    text: Box<str>,
    test: Test,
    needs: Needs,
}

/// What a condition looks at that costs something to have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// The path: somebody has to normalise it.
    pub path: bool,
    /// The server name: without TLS of our own, somebody has to read the ClientHello.
    pub sni: bool,
}

/// Something wrong with a condition's text, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Octets of the text.
    pub span: Range<usize>,
    pub message: String,
}

/// What a condition is asked of. It borrows everything.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// The client, as far as it is believed who that is.
    pub src: IpAddr,
    /// Of ours, to which it came.
    pub port: u16,
    /// Whether it came in TLS that ends here.
    pub is_tls: bool,
    /// The server name of the TLS handshake, whoever ends it.
    pub sni: Option<&'r [u8]>,
    /// `None` where connections are all that is seen.
    pub http: Option<Http<'r>>,
}

/// The head of a request.
#[derive(Clone, Copy)]
pub struct Http<'r> {
    pub method: &'r [u8],
    /// `Host` or `:authority` as it came, with its port.
    pub host: Option<&'r [u8]>,
    pub path: NormalPath<'r>,
    /// As it came, without the `?`.
    pub query: &'r [u8],
    pub headers: &'r Lookup<'r>,
}

/// Finds the values of all lines of a name, in lower case here and in any there. They are given one after the other
/// until one is taken; it says whether one was.
pub type Lookup<'r> = dyn Fn(&str, &mut dyn FnMut(&[u8]) -> bool) -> bool + 'r;

/// Reads a condition for a frontend of this mode. Tells every mistake of names, kinds and constants, but only the
/// first where the text is no condition at all.
pub fn compile(text: &str, mode: Mode) -> Result<Condition, Vec<Mistake>> {
    let tree = parse::parse(text)?;
    let (test, needs) = check::check(&tree, mode)?;
    Ok(Condition { text: text.into(), test, needs })
}

impl Condition {
    pub fn holds(&self, request: &Request<'_>) -> bool {
        self.test.holds(request)
    }

    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Mistake {
    fn new(span: Range<usize>, message: impl Into<String>) -> Mistake {
        Mistake { span, message: message.into() }
    }
}

impl Needs {
    pub fn and(self, other: Needs) -> Needs {
        Needs { path: self.path || other.path, sni: self.sni || other.sni }
    }
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Http => "http",
            Mode::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { src, port, is_tls, sni, http } = self;
        let shown = |octets: &[u8]| octets.escape_ascii().to_string();
        f.debug_struct("Request")
            .field("src", src)
            .field("port", port)
            .field("is_tls", is_tls)
            .field("sni", &sni.map(shown))
            .field("method", &http.map(|http| shown(http.method)))
            .field("host", &http.and_then(|http| http.host).map(shown))
            .field("path", &http.map(|http| shown(http.path.octets())))
            .field("query", &http.map(|http| shown(http.query)))
            .finish_non_exhaustive()
    }
}
