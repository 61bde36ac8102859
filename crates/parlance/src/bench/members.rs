//! Who the members of the rooms are: the path of each, its conversation and token in it.
//!
//! All tokens are there before the load begins, so that signing them costs nothing while it runs.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use parlance_auth::HmacSecret;
use parlance_loadgen::dialect::Seat;
use parlance_protocol::ConversationId;

use crate::{commands::token::Asked, config::Config};

/// The paths of all seats, room by room.
#[derive(Debug)]
pub(super) struct Members {
    rooms: Vec<Vec<String>>,
}

impl Members {
    /// `rooms` conversations of this run, with `members` users each.
    pub(super) fn minted(
        run: &Run<'_>,
        rooms: usize,
        members: usize,
        secret: &HmacSecret,
        config: &Config,
    ) -> anyhow::Result<Self> {
        let one = |room: usize, member: usize| {
            let conversation = format!("bench-{}-{room}", run.name);
            let asked = Asked {
                sub: format!("bench-{}-{room}-{member}", run.name),
                name: None,
                conversations: vec![conversation.clone()],
                role: None,
                ttl: run.token_ttl,
            };
            let token = asked.sign(secret, config).context("signing a token")?;
            Ok(path(run.base, &conversation, &token))
        };
        let room = |room| (0..members).map(|member| one(room, member)).collect();
        let rooms: anyhow::Result<_> = (0..rooms).map(room).collect();
        Ok(Self { rooms: rooms? })
    }

    /// The lines of a file, grouped by conversation in the order in which those come first.
    pub(super) fn read(run: &Run<'_>, file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("reading the tokens in {}", file.display()))?;
        let members = Self::parse(run, &text);
        members.with_context(|| format!("the tokens in {}", file.display()))
    }

    fn parse(run: &Run<'_>, text: &str) -> anyhow::Result<Self> {
        let mut rooms: Vec<(&str, Vec<String>)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let (token, conversation) = line
                .split_once('\t')
                .with_context(|| format!("line {number} is no token, tab and conversation"))?;
            ConversationId::new(conversation)
                .with_context(|| format!("line {number} names no conversation"))?;
            let path = path(run.base, conversation, token);
            match rooms.iter_mut().find(|(name, _)| *name == conversation) {
                Some((_, paths)) => paths.push(path),
                None => rooms.push((conversation, vec![path])),
            }
        }
        let (first, paths) = rooms.first().context("there are none")?;
        let members = paths.len();
        for (conversation, paths) in &rooms {
            ensure!(
                paths.len() == members,
                "{conversation} has {} lines and {first} has {members}; give each conversation as many",
                paths.len()
            );
        }
        let rooms = rooms.into_iter().map(|(_, paths)| paths).collect();
        Ok(Self { rooms })
    }

    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// How many each room has.
    pub(super) fn members(&self) -> usize {
        self.rooms.first().map_or(0, Vec::len)
    }

    /// The path of a seat.
    pub(super) fn path(&self, seat: Seat) -> String {
        let room = self.rooms.get(seat.room);
        let path = room.and_then(|paths| paths.get(seat.member));
        path.cloned().unwrap_or_default()
    }
}

/// What a run has of its own.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// Letters and digits, different in every run.
    pub(super) name: &'a str,
    /// The path of the server's base URL, without a slash at its end.
    pub(super) base: &'a str,
    /// How long its tokens are good for.
    pub(super) token_ttl: Duration,
}

fn path(base: &str, conversation: &str, token: &str) -> String {
    format!("{base}/conversations/{conversation}/?token={token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run<'static> = Run {
        name: "r",
        base: "/api",
        token_ttl: Duration::from_secs(60),
    };

    #[test]
    fn tokens_of_a_file_are_grouped_by_conversation() {
        let members = Members::parse(&RUN, "t1\ta\nt2\tb\nt3\ta\nt4\tb\n").unwrap();
        assert_eq!((members.rooms(), members.members()), (2, 2));
        let path = members.path(Seat { room: 1, member: 0 });
        assert_eq!(path, "/api/conversations/b/?token=t2");
    }

    #[test]
    fn a_file_that_is_no_list_of_tokens_is_refused_with_its_line() {
        let error = |text| format!("{:#}", Members::parse(&RUN, text).unwrap_err());
        assert!(error("t1\ta\nt2").contains("line 2"));
        assert!(error("t1\ta/b").contains("line 1"));
        assert!(error("t1\ta\nt2\tb\nt3\ta").contains("b has 1 lines and a has 2"));
        assert!(error("").contains("none"));
    }
}
