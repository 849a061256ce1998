//! What is said on the command line, and what is answered.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use common::mtls::Credentials;
use common::principal::Kind;
use jiff::Timestamp;

use super::PkiError;
use super::directory::{CA_FILE, DAYS, Directory, KEY_FILE, LIST_FILE, Wanted};
use super::show;
use super::visit::{Server, Signed, visit};

/// What was done, and what was not.
#[derive(Debug)]
pub struct Done {
    pub text: String,
    pub failures: Vec<String>,
}

/// `gslb-dns pki …`
#[derive(Args)]
pub struct Pki {
    /// The CA's directory: on no name server
    #[arg(long, default_value = "pki", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a CA: its certificate, its key, an empty revocation list and an index of what it issues.
    Init {
        /// The cluster whose daemons it is for, as in node.toml
        #[arg(long)]
        cluster: String,
    },
    /// Make a daemon's certificate and key: NAME.pem and NAME.key.
    Issue {
        kind: Daemon,
        /// As in its config
        name: String,
        /// Another name under which a name server is dialed; may be repeated
        #[arg(long = "dns-name")]
        dns_names: Vec<String>,
        /// How long it holds
        #[arg(long, default_value_t = DAYS)]
        days: u32,
        /// Where both are written; the CA's directory if left out
        #[arg(long)]
        out: Option<PathBuf>,
        /// Also where this daemon has both already: they are replaced
        #[arg(long)]
        replace: bool,
    },
    /// Take back all certificates of a daemon, or the one with a serial number, by a new revocation list.
    Revoke {
        /// dns1, or probe/ams where several daemons share a name, or a serial number
        which: String,
        /// For whoever finds it later
        #[arg(long)]
        why: String,
    },
    /// Make the revocation list anew, before it is out of date. Every other command does so half way.
    Crl,
    /// Go to name servers, sign what daemons have parked there, and bring it back.
    Renew {
        /// NAME=ADDRESS:PORT of a name server's control listener; may be repeated
        #[arg(long = "server", required = true)]
        servers: Vec<Server>,
    },
    /// What was issued, until when it holds, and what was taken back.
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

/// Who can be given a certificate.
#[derive(Clone, Copy, ValueEnum)]
enum Daemon {
    Dns,
    Probe,
    Agent,
}

impl Pki {
    /// Does it, and tells what was done.
    pub fn run(self, now: Timestamp) -> Result<Done, PkiError> {
        let Pki { dir, command } = self;
        let text = match command {
            Command::Renew { servers } => {
                return renew(&mut Directory::open(&dir, now)?, &servers, now);
            }
            Command::Init { cluster } => {
                let made = Directory::init(&dir, &cluster, now)?;
                let path = |file| made.path(file).display().to_string();
                let (ca, key, list) = (path(CA_FILE), path(KEY_FILE), path(LIST_FILE));
                Ok(format!(
                    "made a CA for cluster {cluster}, until {}\n\
                     {ca} and {list}: give them to every daemon\n\
                     {key}: to nobody; keep this directory off the name servers, with a copy elsewhere\n",
                    made.index().ca_until
                ))
            }
            Command::Issue { kind, name, dns_names, days, out, replace } => {
                let mut directory = Directory::open(&dir, now)?;
                let wanted = Wanted { kind: kind.into(), name, dns_names, days };
                let to = out.as_deref().unwrap_or(&dir);
                let (issued, certificate, key) = match replace {
                    true => directory.reissue(&wanted, to, now)?,
                    false => directory.issue(&wanted, to, now)?,
                };
                Ok(format!(
                    "issued {}, until {}, serial {}\n{}\n{}\n",
                    issued.principal,
                    issued.until,
                    issued.serial,
                    certificate.display(),
                    key.display()
                ))
            }
            Command::Revoke { which, why } => {
                let mut directory = Directory::open(&dir, now)?;
                let revoked = directory.revoke(&which, &why, now)?;
                let list = directory.path(LIST_FILE);
                let serials: String =
                    revoked.iter().map(|serial| format!("revoked {serial}\n")).collect();
                Ok(format!("{serials}give {} to every daemon\n", list.display()))
            }
            Command::Crl => {
                let mut directory = Directory::open(&dir, now)?;
                directory.keep_list(now)?;
                let list = directory.path(LIST_FILE);
                let until = directory.index().list.until;
                Ok(format!("{}: until {until}; give it to every daemon\n", list.display()))
            }
            Command::List { json } => {
                let directory = Directory::open(&dir, now)?;
                Ok(match json {
                    true => show::json(directory.index(), now),
                    false => show::text(directory.index(), now),
                })
            }
        };
        text.map(|text| Done { text, failures: vec![] })
    }
}

/// One name server that is away keeps nobody from being renewed by the others.
fn renew(directory: &mut Directory, servers: &[Server], now: Timestamp) -> Result<Done, PkiError> {
    let visitor = Credentials::read(&directory.visitor(now)?)
        .map_err(|error| PkiError::Refused(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| PkiError::Refused(error.to_string()))?;
    let mut done = Done { text: String::new(), failures: vec![] };
    let mut signed = Signed::new();
    for server in servers {
        match runtime.block_on(visit(directory, &visitor, server, &mut signed)) {
            Ok(told) if told.is_empty() => {
                let _ = writeln!(done.text, "{server}: nobody waits");
            }
            Ok(told) => {
                for line in told {
                    let _ = writeln!(done.text, "{server}: {line}");
                }
            }
            Err(error) => done.failures.push(format!("{server}: {error}")),
        }
    }
    Ok(done)
}

impl From<Daemon> for Kind {
    fn from(daemon: Daemon) -> Kind {
        match daemon {
            Daemon::Dns => Kind::Dns,
            Daemon::Probe => Kind::Probe,
            Daemon::Agent => Kind::Agent,
        }
    }
}
