//! Where the server is, and whether it may be loaded.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, anyhow, bail, ensure};
use hyper::Uri;

use crate::failure::{Exit, Failure};

/// A server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// What the `Host` header says.
    pub(super) authority: String,
    /// The path of the base URL, without a slash at its end.
    pub(super) base: String,
}

impl Server {
    /// Looks up the server of a base URL, like `ws://127.0.0.1:8080`. Only this machine may be loaded
    /// without more ado.
    pub(super) fn find(url: &str, is_mine: bool) -> Result<Self, Failure> {
        let (host, port, authority, base) =
            parts(url).map_err(|error| Failure::new(Exit::Usage, error))?;
        let found = (host.as_str(), port)
            .to_socket_addrs()
            .with_context(|| format!("looking up {host}"))
            .and_then(|mut addresses| addresses.next().context("the name has no address"));
        let address = found.map_err(|error| Failure::new(Exit::Unavailable, error))?;
        if !is_mine && !address.ip().is_loopback() {
            let error = anyhow!("{address} is not on this machine");
            return Err(Failure::new(Exit::Usage, error).fix(
                "load only what is yours, and say so with --target-is-mine; the load can look like an \
                 attack and stop others from using the server",
            ));
        }
        Ok(Self {
            address,
            authority,
            base,
        })
    }
}

/// Host, port, authority and path.
fn parts(url: &str) -> anyhow::Result<(String, u16, String, String)> {
    let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
    match uri.scheme_str() {
        Some("ws" | "http") => {}
        Some("wss" | "https") => bail!(
            "{url:?}: TLS is not spoken here, only ws://; load the gateways behind what ends TLS"
        ),
        _ => bail!("{url:?} is no WebSocket URL: it begins with ws://"),
    }
    let authority = uri.authority().context("a URL names a host")?;
    ensure!(uri.query().is_none(), "{url:?}: a base URL has no query");
    Ok((
        authority.host().trim_matches(['[', ']']).to_owned(),
        authority.port_u16().unwrap_or(80),
        authority.to_string(),
        uri.path().trim_end_matches('/').to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loaded_without_more_ado() {
        assert!(Server::find("ws://127.0.0.1:8080", false).is_ok());
        assert!(Server::find("ws://[::1]:8080", false).is_ok());
        assert!(Server::find("ws://192.0.2.1:8080", false).is_err());
        let far = Server::find("ws://192.0.2.1:8080/chat/", true).unwrap();
        assert_eq!(far.address.to_string(), "192.0.2.1:8080");
        assert_eq!(
            (far.authority.as_str(), far.base.as_str()),
            ("192.0.2.1:8080", "/chat")
        );
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "wss://127.0.0.1",
            "127.0.0.1:8080",
            "ws://127.0.0.1/?x=1",
            "",
        ] {
            assert!(Server::find(url, true).is_err(), "{url}");
        }
    }
}
