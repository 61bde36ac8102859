//! Digests that stand for names and contents in the dedupe hashes.

use parlance_core::{
    entry::Event,
    store::{ContentDigest, NameDigest},
};
use parlance_protocol::{LocalId, Position};

/// What an event is known by: its sender's name for it, or the place that it was lost from. `None`: a
/// repeat of it is another event.
pub(crate) fn name_of(
    local_id: Option<&LocalId>,
    lost_from: Option<Position>,
) -> Option<NameDigest> {
    match (local_id, lost_from) {
        (Some(local_id), _) => Some(of_local_id(local_id)),
        (None, Some(position)) => Some(of_lost(position)),
        (None, None) => None,
    }
}

fn of_local_id(local_id: &LocalId) -> NameDigest {
    name(b'l', local_id.as_str())
}

fn of_lost(position: Position) -> NameDigest {
    name(b'r', &position.to_string())
}

fn name(kind: u8, text: &str) -> NameDigest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(text.as_bytes());
    NameDigest(first(hasher.finalize().as_bytes()))
}

/// Of the kind of event and all that it says.
pub(crate) fn content_of(event: &Event) -> ContentDigest {
    let mut hasher = blake3::Hasher::new();
    match event {
        Event::Message { content } => {
            hasher.update(b"m");
            hasher.update(content.as_bytes());
        }
        Event::Edit {
            message_id,
            content,
        } => {
            hasher.update(b"e");
            hasher.update(&message_id.get().to_be_bytes());
            hasher.update(content.as_bytes());
        }
        Event::Delete { message_id } => {
            hasher.update(b"d");
            hasher.update(&message_id.get().to_be_bytes());
        }
    }
    ContentDigest(first(hasher.finalize().as_bytes()))
}

fn first<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    *hash.first_chunk().expect("a hash is longer")
}

#[cfg(test)]
mod tests {
    use parlance_protocol::MessageId;

    use super::*;

    #[test]
    fn a_lost_place_and_a_local_id_that_looks_alike_are_two_names() {
        let position = Position::of(MessageId::new(5).unwrap());
        assert_ne!(of_lost(position), of_local_id(&LocalId::new("5").unwrap()));
    }

    #[test]
    fn kinds_targets_and_texts_all_count() {
        let id = |n| MessageId::new(n).unwrap();
        let edit = |n, content: &str| Event::Edit {
            message_id: id(n),
            content: content.into(),
        };
        let all = [
            Event::Message {
                content: "a".into(),
            },
            edit(1, "a"),
            edit(2, "a"),
            edit(1, "b"),
            Event::Delete { message_id: id(1) },
            Event::Delete { message_id: id(2) },
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                assert_ne!(content_of(one), content_of(other));
            }
        }
    }
}
