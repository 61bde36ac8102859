//! `parlance token`: a token for a user, from whoever holds the secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use parlance_auth::{HmacSecret, MintError, mint};
use parlance_protocol::{ConversationId, UserId};
use serde::Serialize;

use crate::{
    cli::{Global, Token},
    commands::{load, print},
    config::{Config, Purpose},
    demo,
    failure::{Exit, Failure},
};

/// The claims of a token.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    conversations: Opened<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    /// Seconds since 1970.
    iat: u64,
    exp: u64,
}

/// Which conversations a token opens.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Opened<'a> {
    All(&'static str),
    Only(&'a [String]),
}

/// What a token is to say.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) sub: String,
    pub(crate) name: Option<String>,
    /// None, or `*` among them: all.
    pub(crate) conversations: Vec<String>,
    pub(crate) role: Option<String>,
    pub(crate) ttl: Duration,
}

pub(super) fn run(global: &Global, token: Token) -> Result<(), Failure> {
    let data_dir = ("data_dir", "--data-dir", token.data_dir.path);
    let config = load(global, [data_dir], Purpose::Beside)?.config;
    let asked = Asked {
        sub: token.sub,
        name: token.name,
        conversations: token.conversations,
        role: token.role,
        ttl: token.ttl.duration(),
    };
    asked
        .check()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let signed = asked.sign(&signing_secret(&config)?, &config);
    let text = signed.map_err(|error| Failure::new(Exit::Fault, error))?;
    print(&format!("{text}\n"))
}

/// The secret that this machine's server accepts.
pub(crate) fn signing_secret(config: &Config) -> Result<HmacSecret, Failure> {
    let found = demo::signing_secret(config);
    let found = found.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    found.ok_or_else(|| {
        let dir = demo::data_dir(config);
        let error = anyhow!(
            "there is no secret to sign with, and none of a server in {}",
            dir.display()
        );
        Failure::new(Exit::Usage, error).fix(
            "set `auth.hmac_secret`, or start `parlance serve --dev` and give its --data-dir here",
        )
    })
}

impl Asked {
    /// A token that no server would accept is not made.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        UserId::new(&self.sub).map_err(|error| anyhow!("--sub {:?}: {error}", self.sub))?;
        for id in self.conversations.iter().filter(|id| *id != "*") {
            ConversationId::new(id).map_err(|error| anyhow!("conversation {id:?}: {error}"))?;
        }
        Ok(())
    }

    /// The token, valid from now on.
    pub(crate) fn sign(&self, secret: &HmacSecret, config: &Config) -> Result<String, MintError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let all = self.conversations.is_empty() || self.conversations.iter().any(|id| id == "*");
        let claims = Claims {
            sub: &self.sub,
            username: self.name.as_deref(),
            conversations: if all {
                Opened::All("*")
            } else {
                Opened::Only(&self.conversations)
            },
            role: self.role.as_deref(),
            iss: config.auth_issuer.as_deref(),
            aud: config.auth_audience.as_deref(),
            iat: now.as_secs(),
            exp: now.saturating_add(self.ttl).as_secs(),
        };
        mint(secret, &claims)
    }
}
