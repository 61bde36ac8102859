//! One URL, taken apart.

use percent_encoding::percent_decode_str;

use super::{Password, TopologyError, UrlProblem, shown::shown};

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What a URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Master,
    Sentinel,
    Cluster,
}

/// A URL that is right by itself.
pub(super) struct Url {
    pub(super) scheme: &'static str,
    pub(super) kind: Kind,
    pub(super) is_tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) addresses: Vec<Address>,
    pub(super) services: Vec<String>,
    pub(super) sentinel_username: Option<String>,
    pub(super) sentinel_password: Option<Password>,
    pub(super) ca: Option<String>,
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    shown: String,
}

/// Where a server listens.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

const SCHEMES: [(&str, Kind, bool); 6] = [
    ("redis", Kind::Master, false),
    ("rediss", Kind::Master, true),
    ("redis+sentinel", Kind::Sentinel, false),
    ("rediss+sentinel", Kind::Sentinel, true),
    ("redis+cluster", Kind::Cluster, false),
    ("rediss+cluster", Kind::Cluster, true),
];

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, TopologyError> {
        let found = SCHEMES.iter().find_map(|(scheme, kind, is_tls)| {
            let rest = text.strip_prefix(scheme)?.strip_prefix("://")?;
            Some((*scheme, *kind, *is_tls, rest))
        });
        let shown = shown(text);
        let wrong = |kind: Kind, problem: UrlProblem| TopologyError::Url {
            url: shown.clone(),
            problem,
            example: kind.example(),
        };
        let Some((scheme, kind, is_tls, rest)) = found else {
            return Err(wrong(Kind::Master, UrlProblem::Scheme));
        };
        let mut url = Self {
            scheme,
            kind,
            is_tls,
            username: None,
            password: None,
            addresses: Vec::new(),
            services: Vec::new(),
            sentinel_username: None,
            sentinel_password: None,
            ca: None,
            cert: None,
            key: None,
            shown: shown.clone(),
        };
        url.read(rest).map_err(|problem| wrong(kind, problem))?;
        Ok(url)
    }

    pub(super) fn wrong(&self, problem: UrlProblem) -> TopologyError {
        TopologyError::Url {
            url: self.shown.clone(),
            problem,
            example: self.kind.example(),
        }
    }

    fn read(&mut self, rest: &str) -> Result<(), UrlProblem> {
        if rest.contains('#') {
            return Err(UrlProblem::Fragment);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = match authority.rsplit_once('@') {
            Some((user, hosts)) => {
                self.read_user(user)?;
                hosts
            }
            None => authority,
        };
        self.read_hosts(hosts)?;
        self.read_path(path)?;
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .try_for_each(|pair| self.read_parameter(pair))
    }

    fn read_user(&mut self, user: &str) -> Result<(), UrlProblem> {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        if password.is_empty() {
            return Err(UrlProblem::NoPassword);
        }
        self.username = Some(decoded(name)?).filter(|name| !name.is_empty());
        self.password = Some(Password::new(&decoded(password)?));
        Ok(())
    }

    fn read_hosts(&mut self, hosts: &str) -> Result<(), UrlProblem> {
        let port = match self.kind {
            Kind::Master | Kind::Cluster => REDIS_PORT,
            Kind::Sentinel => SENTINEL_PORT,
        };
        if self.kind == Kind::Master && hosts.contains(',') {
            return Err(UrlProblem::SeveralHosts);
        }
        let addresses = hosts.split(',').map(|host| Address::parse(host, port));
        self.addresses = addresses.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn read_path(&mut self, path: &str) -> Result<(), UrlProblem> {
        match self.kind {
            Kind::Sentinel => self.read_services(path),
            Kind::Master | Kind::Cluster if path.is_empty() => Ok(()),
            Kind::Master | Kind::Cluster => match path.parse() {
                Ok(0) => Ok(()),
                Ok(database) => Err(UrlProblem::Database(database)),
                Err(_) => Err(UrlProblem::Path),
            },
        }
    }

    fn read_services(&mut self, path: &str) -> Result<(), UrlProblem> {
        for name in path.split(',') {
            let name = decoded(name)?;
            if name.is_empty() {
                return Err(UrlProblem::NoService);
            }
            if self.services.contains(&name) {
                return Err(UrlProblem::SameService(name));
            }
            self.services.push(name);
        }
        Ok(())
    }

    fn read_parameter(&mut self, pair: &str) -> Result<(), UrlProblem> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        match (name, self.kind) {
            ("ca", _) if self.is_tls => set(&mut self.ca, "ca", value),
            ("cert", _) if self.is_tls => set(&mut self.cert, "cert", value),
            ("key", _) if self.is_tls => set(&mut self.key, "key", value),
            ("sentinel_username", Kind::Sentinel) => {
                set(&mut self.sentinel_username, "sentinel_username", value)
            }
            ("sentinel_password", Kind::Sentinel) => {
                let mut text = None;
                if self.sentinel_password.is_some() {
                    return Err(UrlProblem::SameParameter("sentinel_password"));
                }
                set(&mut text, "sentinel_password", value)?;
                self.sentinel_password = text.map(|text| Password::new(&text));
                Ok(())
            }
            _ => Err(UrlProblem::Parameter(self.parameters())),
        }
    }

    fn parameters(&self) -> &'static str {
        match (self.is_tls, self.kind) {
            (true, Kind::Master | Kind::Cluster) => "ca, cert and key",
            (false, Kind::Master | Kind::Cluster) => "none (ca, cert and key are for rediss)",
            (true, Kind::Sentinel) => "sentinel_username, sentinel_password, ca, cert and key",
            (false, Kind::Sentinel) => {
                "sentinel_username and sentinel_password (ca, cert and key are for rediss)"
            }
        }
    }
}

impl Kind {
    fn example(self) -> &'static str {
        match self {
            Self::Master => "redis://user:password@host:6379",
            Self::Sentinel => "redis+sentinel://user:password@host1:26379,host2:26379/service",
            Self::Cluster => "redis+cluster://user:password@host1:6379,host2:6379",
        }
    }
}

impl Address {
    /// `host`, `host:port`, `[v6]` or `[v6]:port`.
    fn parse(text: &str, default_port: u16) -> Result<Self, UrlProblem> {
        let (host, port) = match text.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']').ok_or(UrlProblem::Host)?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| UrlProblem::Host)?;
                let port = match rest.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if rest.is_empty() => None,
                    None => return Err(UrlProblem::Host),
                };
                (host, port)
            }
            None => {
                let (host, port) = match text.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                };
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if !host.bytes().all(plain) {
                    return Err(UrlProblem::Host);
                }
                (host, port)
            }
        };
        if host.is_empty() {
            return Err(UrlProblem::NoHost);
        }
        if host == "0.0.0.0" || host == "::" {
            return Err(UrlProblem::Wildcard);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port
                .map_or(Some(default_port), digits)
                .ok_or(UrlProblem::Port)?,
        })
    }
}

fn set(place: &mut Option<String>, name: &'static str, value: String) -> Result<(), UrlProblem> {
    if value.is_empty() {
        return Err(UrlProblem::EmptyParameter(name));
    }
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UrlProblem::SameParameter(name)),
    }
}

/// A port. `str::parse` alone would take a sign.
fn digits(text: &str) -> Option<u16> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = number.then(|| text.parse().ok()).flatten();
    port.filter(|port| *port != 0)
}

/// The decoder alone would take a `%` that begins no code as it is.
fn decoded(text: &str) -> Result<String, UrlProblem> {
    let mut codes = text.split('%');
    let _before = codes.next();
    let is_code = |code: &str| {
        let digits = code.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !codes.all(is_code) {
        return Err(UrlProblem::Encoding);
    }
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| UrlProblem::Encoding)
}
