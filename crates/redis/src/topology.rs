//! Which servers of Redis there are, and how one is connected to, read from URLs.
//!
//! The adapter asks for [`ConnectionInfo`]s and never sees a URL; the configuration parses the same
//! URLs to judge them. Nothing here connects. Files that a URL names are read while it is parsed,
//! so that a wrong one is found before anything starts.
//!
//! The parser is our own, because a list of hosts is no URL to other parsers, and because no error
//! here may repeat a password: not even that of a URL which is so wrong that nobody can tell where
//! in it the password is.

mod error;
mod shown;
#[cfg(test)]
mod tests;
mod url;

use std::{fmt, fs, sync::Arc, time::Duration};

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

pub use self::error::{TopologyError, UrlProblem};
use self::url::{Address, Kind, Url};

/// A peer that vanished without a word is noticed about this soon, also while nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// What was sent and is not confirmed by the peer's kernel for so long ends the connection.
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(10);
/// There are as many partitions; a master without one would be of no use.
const MOST_MASTERS: usize = 256;

/// The servers of one deployment.
#[derive(Debug, Clone)]
pub enum Topology {
    /// Independent masters, one per URL. Their order decides which of them has which partition.
    Masters(Vec<ConnectionInfo>),
    /// Masters that Redis Sentinel knows. The order of the services is that of the masters.
    Sentinel {
        /// Any of them may answer.
        sentinels: Vec<ConnectionInfo>,
        /// The names under which sentinels know the masters.
        services: Vec<String>,
        /// How the masters are connected to.
        node: NodeAccess,
    },
    /// A Redis Cluster.
    Cluster {
        /// Nodes to ask for the others.
        seeds: Vec<ConnectionInfo>,
        /// How nodes that the cluster names are connected to.
        node: NodeAccess,
    },
}

/// How nodes are connected to whose addresses are told by a sentinel or a cluster.
#[derive(Debug, Clone)]
pub struct NodeAccess {
    /// The user; without one, that of Redis' own default.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Password>,
    /// What is spoken below.
    pub transport: Transport,
}

/// What carries a connection.
#[derive(Debug, Clone)]
pub enum Transport {
    /// TCP as it is.
    Plain,
    /// TLS.
    Tls(Tls),
}

/// The certificates of TLS, already read.
#[derive(Debug, Clone)]
// An address is the only thing of the client library that holds read certificates in public.
pub struct Tls(ConnectionAddr);

/// A password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Topology {
    /// Reads the URLs of a deployment:
    ///
    /// - `redis://[user:password@]host[:port]`, one for each independent master
    /// - `redis+sentinel://[user:password@]host[:port],…/service[,service]`
    /// - `redis+cluster://[user:password@]host[:port],…`
    ///
    /// `rediss` in place of `redis` is TLS, with `?ca=FILE` for a private authority and
    /// `?cert=FILE&key=FILE` for a client's certificate. The user is that of the data nodes;
    /// `?sentinel_username=…&sentinel_password=…` is for the sentinels.
    ///
    /// # Errors
    /// [`TopologyError`], without passwords.
    pub fn parse(urls: &[String]) -> Result<Self, TopologyError> {
        let Some(first) = urls.first() else {
            return Err(TopologyError::Missing);
        };
        let url = Url::parse(first)?;
        match url.kind {
            Kind::Master => return masters(urls),
            Kind::Sentinel | Kind::Cluster if urls.len() > 1 => {
                return Err(TopologyError::NotAlone {
                    scheme: url.scheme,
                    count: urls.len(),
                });
            }
            Kind::Sentinel | Kind::Cluster => {}
        }
        let node = NodeAccess::of(&url)?;
        match url.kind {
            Kind::Sentinel => {
                let access = NodeAccess {
                    username: url.sentinel_username.clone(),
                    password: url.sentinel_password.clone(),
                    transport: node.transport.clone(),
                };
                Ok(Self::Sentinel {
                    sentinels: access.all(&url.addresses),
                    services: url.services,
                    node,
                })
            }
            Kind::Master | Kind::Cluster => Ok(Self::Cluster {
                seeds: node.all(&url.addresses),
                node,
            }),
        }
    }
}

fn masters(urls: &[String]) -> Result<Topology, TopologyError> {
    if urls.len() > MOST_MASTERS {
        return Err(TopologyError::TooMany { count: urls.len() });
    }
    let mut masters: Vec<ConnectionInfo> = Vec::with_capacity(urls.len());
    for text in urls {
        let url = Url::parse(text)?;
        if url.kind != Kind::Master {
            return Err(TopologyError::NotAlone {
                scheme: url.scheme,
                count: urls.len(),
            });
        }
        for one in NodeAccess::of(&url)?.all(&url.addresses) {
            let address = one.addr().to_string();
            if masters
                .iter()
                .any(|other| other.addr().to_string() == address)
            {
                return Err(TopologyError::Twice { address });
            }
            masters.push(one);
        }
    }
    Ok(Topology::Masters(masters))
}

impl NodeAccess {
    /// What connects to this node.
    #[must_use]
    pub fn connection_info(&self, host: &str, port: u16) -> ConnectionInfo {
        let address = self.transport.address(host, port);
        let info = address
            .into_connection_info()
            .expect("an address is turned into connection info as it is");
        info.set_tcp_settings(tcp_settings())
            .set_redis_settings(self.redis_settings())
    }

    fn of(url: &Url) -> Result<Self, TopologyError> {
        Ok(Self {
            username: url.username.clone(),
            password: url.password.clone(),
            transport: Transport::of(url)?,
        })
    }

    fn all(&self, addresses: &[Address]) -> Vec<ConnectionInfo> {
        let info = |address: &Address| self.connection_info(&address.host, address.port);
        addresses.iter().map(info).collect()
    }

    fn redis_settings(&self) -> RedisConnectionInfo {
        // Redis before 7.2 does not know what would be said of the library.
        let settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        let settings = match &self.username {
            Some(username) => settings.set_username(username),
            None => settings,
        };
        match &self.password {
            Some(password) => settings.set_password(password.as_str()),
            None => settings,
        }
    }
}

impl Transport {
    fn of(url: &Url) -> Result<Self, TopologyError> {
        if !url.is_tls {
            return Ok(Self::Plain);
        }
        let certificates = certificates(url)?;
        let bare = ConnectionAddr::TcpTls {
            host: String::new(),
            port: 0,
            insecure: false,
            tls_params: None,
        };
        let built = Client::build_with_tls(bare, certificates);
        let client =
            built.map_err(|error| url.wrong(UrlProblem::Certificates(error.to_string())))?;
        Ok(Self::Tls(Tls(client.get_connection_info().addr().clone())))
    }

    fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        match self {
            Self::Plain => ConnectionAddr::Tcp(host.to_owned(), port),
            Self::Tls(tls) => tls.address(host.to_owned(), port),
        }
    }
}

impl Tls {
    fn address(&self, host: String, port: u16) -> ConnectionAddr {
        let tls_params = match &self.0 {
            ConnectionAddr::TcpTls { tls_params, .. } => tls_params.clone(),
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) | _ => None,
        };
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params,
        }
    }
}

impl Password {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As it is sent to Redis.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

fn certificates(url: &Url) -> Result<TlsCertificates, TopologyError> {
    let read = |path: &String| {
        fs::read(path).map_err(|source| {
            let path = path.clone();
            url.wrong(UrlProblem::File { path, source })
        })
    };
    let client = match (&url.cert, &url.key) {
        (Some(cert), Some(key)) => Some(redis::ClientTlsConfig {
            client_cert: read(cert)?,
            client_key: read(key)?,
        }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(url.wrong(UrlProblem::HalfCertificate)),
    };
    Ok(TlsCertificates {
        client_tls: client,
        root_cert: url.ca.as_ref().map(read).transpose()?,
    })
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNCONFIRMED);
    settings
}
