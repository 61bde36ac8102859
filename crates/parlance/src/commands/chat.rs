//! `parlance chat`: where the terminal client finds its server and its tokens.

use std::time::Duration;

use super::token::{Asked, signing_secret};
use crate::{
    chat::{self, Tokens},
    cli::{Chat, Global},
    commands::{load, reachable},
    config::{Config, Purpose},
    failure::{Exit, Failure},
};

/// Each connection has a token of its own, so that is as long as one can last.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

pub(super) fn run(global: &Global, chat: Chat) -> Result<(), Failure> {
    let data_dir = ("data_dir", "--data-dir", chat.data_dir.path);
    let config = load(global, [data_dir], Purpose::Beside)?.config;
    let local = || format!("ws://{}", reachable(config.listen));
    let url = chat.url.unwrap_or_else(local);
    let asked = Asked {
        sub: chat.sub.clone(),
        name: chat.name,
        conversations: vec![chat.conversation.clone()],
        role: None,
        ttl: TOKEN_TTL,
    };
    asked
        .check()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let tokens = match chat.token {
        Some(token) => Tokens::Given(token),
        None => minted(asked, config)?,
    };
    let chat = chat::Chat {
        conversation: chat.conversation,
        sub: chat.sub,
        url,
        tokens,
    };
    chat::run(chat).map_err(|error| Failure::new(Exit::Unavailable, error))
}

fn minted(asked: Asked, config: Config) -> Result<Tokens, Failure> {
    let secret = signing_secret(&config)?;
    Ok(Tokens::Minted(Box::new(move || {
        Ok(asked.sign(&secret, &config)?)
    })))
}
