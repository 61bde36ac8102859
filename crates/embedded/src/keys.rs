//! The keys of all tables.
//!
//! A key starts with the conversation id and a zero byte. Ids never hold a zero byte, so no
//! conversation's keys are among those of another one whose id begins alike. Numbers are
//! big-endian: byte order is number order.

use parlance_protocol::{ConversationId, LocalId, MessageId, Position, UserId};

/// Length of the digest that stands for a (conversation, sender, `local_id`).
pub(crate) const NAME_BYTES: usize = 12;

/// What all keys of a conversation start with.
pub(crate) fn prefix(conversation: &ConversationId) -> Vec<u8> {
    with_capacity(conversation, 0)
}

/// Of a message, and of the changes of a message.
pub(crate) fn message(conversation: &ConversationId, id: MessageId) -> Vec<u8> {
    let mut key = with_capacity(conversation, 8);
    key.extend(id.get().to_be_bytes());
    key
}

/// Of an edit or delete.
pub(crate) fn event(conversation: &ConversationId, position: Position) -> Vec<u8> {
    let mut key = with_capacity(conversation, 12);
    key.extend(position.id.get().to_be_bytes());
    key.extend(position.k.to_be_bytes());
    key
}

/// Of a sender's own name for an event.
pub(crate) fn name(conversation: &ConversationId, name: [u8; NAME_BYTES]) -> Vec<u8> {
    let mut key = with_capacity(conversation, NAME_BYTES);
    key.extend(name);
    key
}

/// Of a user's cursors.
pub(crate) fn cursor(conversation: &ConversationId, user: &UserId) -> Vec<u8> {
    let mut key = with_capacity(conversation, user.as_str().len());
    key.extend(user.as_str().as_bytes());
    key
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

fn with_capacity(conversation: &ConversationId, more: usize) -> Vec<u8> {
    let id = conversation.as_str().as_bytes();
    let mut key = Vec::with_capacity(id.len() + 1 + more);
    key.extend(id);
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(id: &str) -> ConversationId {
        ConversationId::new(id).unwrap()
    }

    #[test]
    fn no_key_of_a_conversation_has_the_prefix_of_another() {
        let (short, long) = (conversation("a"), conversation("ab"));
        let id = MessageId::new(0x6200_0000).unwrap();

        assert!(!message(&long, id).starts_with(&prefix(&short)));
        assert!(!message(&short, id).starts_with(&prefix(&long)));
    }

    #[test]
    fn keys_sort_as_positions_do() {
        let room = conversation("room");
        let place = |id, k| Position {
            id: MessageId::new(id).unwrap(),
            k,
        };
        let places = [place(1, 1), place(1, 300), place(255, 2), place(256, 1)];

        let keys: Vec<_> = places.iter().map(|p| event(&room, *p)).collect();

        assert!(keys.is_sorted());
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
