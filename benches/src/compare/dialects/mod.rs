//! How servers that are not ours are spoken to by the generator.
//!
//! Each says what its users' clients would say, and nothing more. Tokens are made before the load
//! begins: signing them while it runs would make the generator slower than the servers are.

mod centrifugo;
mod floor;
mod socket_io;
mod ws_redis;

use parlance_loadgen::dialect::Seat;
use parlance_testkit::tokens::Claims;

pub(crate) use self::{
    centrifugo::Centrifugo, floor::Floor, socket_io::SocketIo, ws_redis::WsRedis,
};

/// What the peers' tokens are signed with.
pub(crate) const SECRET: &str = "a secret of the benchmark, long enough for HS256: 0123456789";

/// One token per seat.
pub(crate) struct Tokens {
    members: usize,
    tokens: Vec<String>,
}

impl Tokens {
    /// Signs one for each member of each room.
    pub(crate) fn sign(rooms: usize, members: usize, sign: impl Fn(&Claims) -> String) -> Self {
        let seats =
            (0..rooms).flat_map(|room| (0..members).map(move |member| Seat { room, member }));
        let tokens = seats.map(|seat| sign(&Claims::of(&user(seat)))).collect();
        Self { members, tokens }
    }

    /// Of the members of a workload, for a peer.
    pub(crate) fn of_peer(rooms: usize, members: usize) -> Self {
        Self::sign(rooms, members, |claims| claims.sign(SECRET))
    }

    pub(crate) fn of(&self, seat: Seat) -> &str {
        &self.tokens[seat.room * self.members + seat.member]
    }
}

fn user(seat: Seat) -> String {
    format!("user-{}-{}", seat.room, seat.member)
}

/// A conversation's name, and its name as a room or channel of others.
pub(crate) fn room(seat: Seat) -> String {
    format!("room-{}", seat.room)
}

/// The number behind `key`, as of `"local_id":"`.
fn number_behind(text: &[u8], key: &[u8]) -> Option<u64> {
    use parlance_loadgen::dialect::{find, number};
    let place = find(text, key)? + key.len();
    Some(number(&text[place..])?.0)
}

/// What a text says, in the words of a test.
#[cfg(test)]
pub(crate) fn heard(dialect: &dyn parlance_loadgen::dialect::Dialect, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let seat = Seat { room: 3, member: 1 };
    dialect.hear(seat, text.as_bytes(), &mut |heard| {
        all.push(format!("{heard:?}"))
    });
    all
}
