//! How the store is reached.

use std::{fmt, path::PathBuf, time::Duration};

/// How the store is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// Contact points, `host:port` each. The other nodes are learnt from them.
    pub nodes: Vec<String>,
    /// Where the tables are.
    pub keyspace: String,
    /// As whom.
    pub login: Option<Login>,
    /// Whether connections are encrypted, and whom they trust. The process has to have installed
    /// its provider of cryptography.
    pub tls: Option<Tls>,
    /// The datacenter that is asked, and no other: a quorum elsewhere may know less. The same for all
    /// nodes of a deployment. `None`: there is only one.
    pub datacenter: Option<String>,
    /// How long the start, or a migration's connecting, may take.
    pub start_deadline: Duration,
}

/// As whom the store is used.
#[derive(Clone)]
pub struct Login {
    /// The role.
    pub username: String,
    /// Its password. Never shown.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &"…")
            .finish()
    }
}

/// Whom encrypted connections trust.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The authorities' certificates, as PEM; `None`: those that the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// A keyspace's name, which stands in statements as it is.
#[derive(Debug, Clone)]
pub(crate) struct Keyspace(String);

/// Longest name that servers take.
const KEYSPACE_BYTES: usize = 48;

impl Keyspace {
    /// `None`: it is none that every server takes.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let fits = (1..=KEYSPACE_BYTES).contains(&name.len());
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (fits && is_plain).then(|| Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let login = Login {
            username: "parlance".to_owned(),
            password: "swordfish".to_owned(),
        };
        assert!(!format!("{login:?}").contains("swordfish"));
    }

    #[test]
    fn a_name_that_could_be_more_than_a_name_is_refused() {
        assert!(Keyspace::new("parlance_2").is_some());
        for wrong in ["", "a\"b", "a b", "ä", "a;b", &"a".repeat(49)] {
            assert!(Keyspace::new(wrong).is_none(), "{wrong}");
        }
    }
}
