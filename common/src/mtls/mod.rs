//! What a daemon shows the others, and whom it believes: TLS 1.3, both sides with a certificate of one CA.
//!
//! files ─▶ Credentials (read, judged whole) ─▶ Kept (swapped whole) ─▶ every handshake from then on
//!
//! Reads files and nothing else: no socket, no clock. What is wrong today and may be right tomorrow, or has been right
//! until yesterday, is a `Doubt` and stops nobody: a name server that does not start answers nobody.
//!
//! No session is ever resumed, so that each handshake asks again whether a certificate is revoked. Nothing is early
//! data.

mod kept;
#[cfg(test)]
pub(crate) mod tests;

pub use self::kept::Kept;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};
use webpki::EndEntityCert;

use crate::authority::Authority;
use crate::bounded;
use crate::identity::{Fault, Identity, LONGEST_FILE, provider};
use crate::principal::{Kind, Principal, PrincipalError};
use crate::renewal::Stage;
use crate::validity::Validity;

/// HTTP/2 (RFC 9113 §3.1): all that is spoken between daemons.
pub const ALPN: &[u8] = b"h2";
/// How a URI begins that claims to be a principal.
const SCHEME: &str = "gslb://";

/// Where a daemon's credentials are, all PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// Whose certificates are believed: one CA, or several while one follows another.
    pub ca: PathBuf,
    /// Our own, then those that lead to the CA, if any.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Revocation lists (RFC 5280 §5). With them, whoever is believed has to be of a CA that has one here.
    pub crl: Option<PathBuf>,
}

impl Files {
    /// Where the next certificate and its key lie until both are put in the place of these.
    pub fn next(&self) -> Files {
        let next = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".next");
            PathBuf::from(name)
        };
        Files { certificate: next(&self.certificate), key: next(&self.key), ..self.clone() }
    }

    /// The identity; of a renewal that was cut in two, between the key and the certificate, the one that it led to.
    fn identity(&self) -> Result<Identity, Fault> {
        Identity::read(&self.certificate, &self.key)
            .or_else(|fault| Identity::read(&self.next().certificate, &self.key).map_err(|_| fault))
    }
}

/// Read together and judged as a whole.
#[derive(Debug)]
pub struct Credentials {
    principal: Principal,
    identity: Identity,
    authority: Authority,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Credentials that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} {why}", file.display())]
pub struct CredentialsError {
    /// The one to look at.
    pub file: PathBuf,
    why: String,
}

/// Why a certificate does not say who its holder is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HolderError {
    #[error("holds a certificate that cannot be read: {0}")]
    Unreadable(webpki::Error),
    #[error(
        "says not who its holder is: expected one URI gslb://CLUSTER/KIND/NAME among its subject alternative names"
    )]
    Nobody,
    #[error("says that its holder is {0} and {1}: expected one of them")]
    Several(String, String),
    #[error("says not who its holder is: {0}")]
    Principal(#[from] PrincipalError),
}

/// What keeps others from believing us, or us from knowing whom not to believe. Told, and never a reason to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    NotYet,
    /// Within a week, or less if it holds for less than a month: see `renewal::Stage`.
    EndsSoon,
    Expired,
    Revoked,
    /// A revocation list whose successor is due. It is believed: lists that are late must not lock everybody out.
    ListOutOfDate,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::NotYet => {
                "our certificate does not hold yet: the others refuse us; is the clock right?"
            }
            Doubt::EndsSoon => {
                "our certificate ends soon, and nobody has renewed it: does gslb-dns pki renew run on the CA's host?"
            }
            Doubt::Expired => "our certificate has expired: the others refuse us; have it renewed",
            Doubt::Revoked => {
                "our certificate is revoked: the others refuse us; have another issued"
            }
            Doubt::ListOutOfDate => {
                "the revocation list is out of date: it is still believed, but who was revoked since is not known; \
                 fetch the CA's newest"
            }
        })
    }
}

impl Credentials {
    /// Credentials that have expired, or are revoked, are still read: see `doubts`.
    ///
    /// # Errors
    /// Names the file at fault, and says what to do.
    pub fn read(files: &Files) -> Result<Credentials, CredentialsError> {
        let Files { ca, certificate, key, crl } = files;
        let blame = |file: &Path| {
            let file = file.to_owned();
            move |why: String| CredentialsError { file: file.clone(), why }
        };
        let identity = files.identity().map_err(|fault| match fault {
            Fault::Certificate(why) => blame(certificate)(why),
            Fault::Key(why) => blame(key)(why),
        })?;
        let chain = identity.key();
        let own = chain.cert.first().expect("an identity begins with its own certificate");
        let principal = principal_of(own).map_err(|error| blame(certificate)(error.to_string()))?;

        let roots = octets(ca).map_err(blame(ca))?;
        let mut authority = Authority::of(&roots).map_err(blame(ca))?;
        let blame_list = blame(crl.as_deref().unwrap_or(ca));
        if let Some(crl) = crl {
            let lists = octets(crl).map_err(blame(crl))?;
            authority.revoke(&lists, &chain.cert[1..]).map_err(&blame_list)?;
        }
        let clients = authority.clients().map_err(&blame_list)?;
        let servers = authority.servers().map_err(&blame_list)?;

        // As the others would judge us, at a moment at which all of the chain holds.
        let dates: Option<Vec<Validity>> = chain.cert.iter().map(|one| Validity::of(one)).collect();
        let began = dates.into_iter().flatten().map(|validity| validity.not_before).max();
        let began = Duration::from_secs(began.unwrap_or_default().try_into().unwrap_or_default());
        let moment = UnixTime::since_unix_epoch(began);
        let (own, between) = chain.cert.split_first().expect("it has its own certificate");
        let as_client = clients.verify_client_cert(own, between, moment).map(|_| ());
        let as_server = || {
            let name = ServerName::try_from(&*principal.name).map_err(|_| nameless(&principal))?;
            let judged = servers.verify_server_cert(own, between, &name, &[], moment).map(|_| ());
            judged.or_else(|error| refused(&error, &principal, ca))
        };
        as_client
            .or_else(|error| refused(&error, &principal, ca))
            .and_then(|()| if principal.kind == Kind::Dns { as_server() } else { Ok(()) })
            .map_err(|refusal| match refusal {
                Refusal::Certificate(why) => blame(certificate)(why),
                Refusal::List(why) => blame_list(why),
            })?;

        let shown = || Arc::new(SingleCertAndKey::from(Arc::clone(&chain)));
        Ok(Credentials {
            server: server_config(clients, shown()),
            client: client_config(servers, shown()),
            identity,
            principal,
            authority,
        })
    }

    /// Who our own certificate says we are.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Until when our own certificate holds: unix time, in seconds.
    pub fn not_after(&self) -> i64 {
        self.validity().not_after
    }

    /// From when until when our own certificate holds.
    pub fn validity(&self) -> Validity {
        self.identity.validity
    }

    /// What we show.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the others know that we are not to be believed.
    pub fn is_own_revoked(&self) -> bool {
        self.identity.key().cert.first().is_none_or(|own| self.is_revoked(own))
    }

    /// Asks every client for a certificate of the CA that is not revoked. Who it is, `principal_of` says.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// Believes servers with a certificate of the CA that is not revoked and has the name that was dialed. Whether it
    /// is a name server, `principal_of` says.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// By the lists as they were read now: for connections that were there before. What is no certificate counts as
    /// revoked.
    pub fn is_revoked(&self, certificate: &CertificateDer<'_>) -> bool {
        self.authority.has_revoked(certificate)
    }

    /// At that unix time, in seconds.
    pub fn doubts(&self, now: i64) -> Vec<Doubt> {
        let Validity { not_before, not_after } = self.validity();
        let is_late = Stage::of(self.validity(), now) == Stage::Alarm;
        let doubts = [
            (now < not_before, Doubt::NotYet),
            (is_late && now <= not_after, Doubt::EndsSoon),
            (now > not_after, Doubt::Expired),
            (self.is_own_revoked(), Doubt::Revoked),
            (self.authority.next_update().is_some_and(|next| now > next), Doubt::ListOutOfDate),
        ];
        doubts.into_iter().filter_map(|(holds, doubt)| holds.then_some(doubt)).collect()
    }
}

/// Who a certificate says its holder is. Says nothing of whether it is to be believed: the handshake does.
pub fn principal_of(certificate: &CertificateDer<'_>) -> Result<Principal, HolderError> {
    let certificate = EndEntityCert::try_from(certificate).map_err(HolderError::Unreadable)?;
    // However it is spelled, it claims to be one, and only one spelling is.
    let claims = |uri: &&str| {
        uri.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    };
    let mut uris = certificate.valid_uri_names().filter(claims);
    match (uris.next(), uris.next()) {
        (None, _) => Err(HolderError::Nobody),
        (Some(one), Some(other)) => Err(HolderError::Several(one.to_owned(), other.to_owned())),
        (Some(uri), None) => Ok(uri.parse()?),
    }
}

fn octets(path: &Path) -> Result<Vec<u8>, String> {
    bounded::read_file(path, LONGEST_FILE).map_err(|error| format!("cannot be read: {error}"))
}

/// Whose fault it is that we would not be believed.
enum Refusal {
    Certificate(String),
    List(String),
}

/// What others would refuse us for, but for what a doubt is enough.
fn refused(error: &Error, principal: &Principal, ca: &Path) -> Result<(), Refusal> {
    use CertificateError::{
        InvalidPurpose, InvalidPurposeContext, NotValidForName, NotValidForNameContext, Revoked,
        UnknownIssuer, UnknownRevocationStatus,
    };
    let ca = ca.display();
    Err(match error {
        Error::InvalidCertificate(Revoked) => return Ok(()),
        Error::InvalidCertificate(UnknownIssuer | CertificateError::BadSignature) => {
            Refusal::Certificate(format!(
                "is not of the CA in {ca}, or a certificate between the two is not in its file: have it issued by \
                 that CA, or put the CA that issued it there"
            ))
        }
        Error::InvalidCertificate(InvalidPurpose | InvalidPurposeContext { .. }) => {
            Refusal::Certificate(
                "may not be used for this by its extended key usage: expected clientAuth, and serverAuth for a name \
                 server, or no such extension"
                    .to_owned(),
            )
        }
        Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            nameless(principal)
        }
        Error::InvalidCertificate(UnknownRevocationStatus) => Refusal::List(
            "holds no revocation list of the CA that issued our certificate: add it".to_owned(),
        ),
        Error::InvalidCertRevocationList(error) => {
            Refusal::List(format!("holds a revocation list that is not believed: {error:?}"))
        }
        other => Refusal::Certificate(format!("would be refused by the other daemons: {other}")),
    })
}

fn nameless(principal: &Principal) -> Refusal {
    let name = &principal.name;
    Refusal::Certificate(format!(
        "is of {principal}, which the others dial as {name:?}: expected that DNS name too among its subject \
         alternative names"
    ))
}

fn server_config(
    clients: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    shown: Arc<SingleCertAndKey>,
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .with_client_cert_verifier(clients)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Whoever resumes shows no certificate, so nobody does.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Arc::new(config)
}

fn client_config(
    servers: Arc<rustls::client::WebPkiServerVerifier>,
    shown: Arc<SingleCertAndKey>,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .with_webpki_verifier(servers)
        .with_client_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Arc::new(config)
}
