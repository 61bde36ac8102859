//! The keys of all tables.
//!
//! Conversations are numbered in the order of their first event, and keys begin with the number:
//! so they are short enough for the engine to keep them inside its nodes, which halves the CPU of
//! an append. Numbers are big-endian: byte order is number order.

use parlance_protocol::{ConversationId, LocalId, MessageId, Position, UserId};

/// Length of the digest that stands for a (sender, `local_id`).
pub(crate) const NAME_BYTES: usize = 12;

/// The number of a conversation in this data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number(pub(crate) u32);

impl Number {
    /// What all keys of the conversation begin with.
    pub(crate) fn prefix(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// Of any key but those of conversations and cursors.
    pub(crate) fn of_key(key: &[u8]) -> Option<Self> {
        key.first_chunk()
            .map(|prefix| Self(u32::from_be_bytes(*prefix)))
    }
}

/// Of a message, and of the changes of a message.
pub(crate) fn message(conversation: Number, id: MessageId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&conversation.prefix());
    key[4..].copy_from_slice(&id.get().to_be_bytes());
    key
}

/// Of an edit or delete.
pub(crate) fn event(conversation: Number, position: Position) -> [u8; 16] {
    let mut key = [0; 16];
    key[..12].copy_from_slice(&message(conversation, position.id));
    key[12..].copy_from_slice(&position.k.to_be_bytes());
    key
}

/// Of a sender's own name for an event.
pub(crate) fn name(conversation: Number, name: [u8; NAME_BYTES]) -> [u8; 4 + NAME_BYTES] {
    let mut key = [0; 4 + NAME_BYTES];
    key[..4].copy_from_slice(&conversation.prefix());
    key[4..].copy_from_slice(&name);
    key
}

/// What the keys of a conversation's cursors begin with. Ids never hold a zero byte, so no
/// conversation's keys are among those of another one whose id begins alike.
pub(crate) fn cursors(conversation: &ConversationId) -> Vec<u8> {
    [conversation.as_str().as_bytes(), &[0]].concat()
}

/// Of a user's cursors.
pub(crate) fn cursor(conversation: &ConversationId, user: &UserId) -> Vec<u8> {
    let id = conversation.as_str().as_bytes();
    [id, &[0], user.as_str().as_bytes()].concat()
}

/// The user of a [`cursor`] key.
pub(crate) fn user_of_cursor(conversation: &ConversationId, key: &[u8]) -> Option<UserId> {
    let user = key.get(conversation.as_str().len() + 1..)?;
    UserId::new(std::str::from_utf8(user).ok()?).ok()
}

/// The id of a [`message`] key.
pub(crate) fn id_of_message(key: &[u8]) -> Option<MessageId> {
    MessageId::new(u64::from_be_bytes(*key.last_chunk()?))
}

/// The position of an [`event`] key.
pub(crate) fn position_of_event(key: &[u8]) -> Option<Position> {
    let (rest, k) = key.split_last_chunk()?;
    Some(Position {
        id: id_of_message(rest)?,
        k: u32::from_be_bytes(*k),
    })
}

/// 96 bits of BLAKE3: an accidental collision among a billion names of one conversation has a
/// probability of 10^-11, and the sender can only collide with itself.
pub(crate) fn name_digest(sender: &UserId, local_id: &LocalId) -> [u8; NAME_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(sender.as_str().len() as u64).to_le_bytes());
    hasher.update(sender.as_str().as_bytes());
    hasher.update(local_id.as_str().as_bytes());
    first_bytes(&hasher.finalize())
}

pub(crate) fn first_bytes(hash: &blake3::Hash) -> [u8; NAME_BYTES] {
    *hash
        .as_bytes()
        .first_chunk()
        .expect("a BLAKE3 hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cursor_of_a_conversation_is_among_those_of_another() {
        let conversation = |id| ConversationId::new(id).unwrap();
        let (short, long) = (conversation("a"), conversation("ab"));
        let user = UserId::new("b").unwrap();

        assert!(!cursor(&long, &user).starts_with(&cursors(&short)));
        assert!(!cursor(&short, &user).starts_with(&cursors(&long)));
        assert_eq!(user_of_cursor(&long, &cursor(&long, &user)), Some(user));
    }

    #[test]
    fn keys_sort_as_positions_do() {
        let place = |id, k| Position {
            id: MessageId::new(id).unwrap(),
            k,
        };
        let places = [place(1, 1), place(1, 300), place(255, 2), place(256, 1)];

        let keys: Vec<_> = places.iter().map(|p| event(Number(7), *p)).collect();

        assert!(keys.is_sorted());
        assert!(keys.last() < Some(&event(Number(8), place(1, 0))));
        let back: Vec<_> = keys.iter().map(|k| position_of_event(k)).collect();
        assert_eq!(back, places.map(Some));
    }

    #[test]
    fn moving_a_byte_from_sender_to_local_id_gives_another_name() {
        let digest = |sender, local| {
            name_digest(&UserId::new(sender).unwrap(), &LocalId::new(local).unwrap())
        };

        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }
}
