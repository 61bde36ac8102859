//! Where a conversation's keys are: partition, slot and names.
//!
//! Every key and channel carries the partition's tag, so that one script finds all of them on one
//! node; the conversation id is the last part, because it may hold any separator.

use parlance_core::store::{PARTITIONS, Partition};
use parlance_protocol::{ConversationId, UserId};

/// What is written into Redis once and checked at each start: a deployment that counted or hashed
/// otherwise would look for its conversations in the wrong places.
pub(crate) const LAYOUT: &str = "partitions=256 hash=crc32";

/// The partition of a conversation.
pub(crate) fn partition_of(conversation: &ConversationId) -> Partition {
    let hash = crc32fast::hash(conversation.as_str().as_bytes());
    Partition((hash % PARTITIONS as u32) as u8)
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = Partition> {
    (0..=u8::MAX).map(Partition)
}

/// `{pNN}:` and a name.
pub(crate) fn tagged(partition: Partition, name: &str) -> String {
    format!("{{p{:02x}}}:{name}", partition.0)
}

/// The hash slot of a partition in a cluster: CRC16 (XMODEM) of what stands in the braces.
pub(crate) fn slot(partition: Partition) -> u16 {
    let tag = format!("p{:02x}", partition.0);
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    });
    crc % 16_384
}

/// The keys of one conversation.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) partition: Partition,
    pub(crate) epoch: String,
    pub(crate) meta: String,
    pub(crate) log: String,
    pub(crate) changes: String,
    pub(crate) ingest: String,
    pub(crate) presence: String,
    pub(crate) read: String,
    pub(crate) delivered: String,
    pub(crate) moved: String,
    pub(crate) channel: String,
}

impl Keys {
    pub(crate) fn of(conversation: &ConversationId) -> Self {
        let partition = partition_of(conversation);
        let tag = tagged(partition, "");
        let own = |kind: &str| [&tag, kind, ":", conversation.as_str()].concat();
        Self {
            partition,
            epoch: epoch_key(partition),
            meta: own("m"),
            log: own("l"),
            changes: own("x"),
            ingest: ingest_key(partition),
            presence: own("p"),
            read: own("rr"),
            delivered: own("rd"),
            moved: moved_key(partition),
            channel: own("c"),
        }
    }

    /// The dedupe hash of a sender. The sender goes in as a digest: ids may hold the separator.
    pub(crate) fn names(&self, conversation: &ConversationId, sender: &UserId) -> String {
        let digest = blake3::hash(sender.as_str().as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        let sender = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        tagged(self.partition, &format!("d:{sender:016x}:{conversation}"))
    }
}

/// `{pNN}:e`
pub(crate) fn epoch_key(partition: Partition) -> String {
    tagged(partition, "e")
}

/// `{pNN}:o`
pub(crate) fn claim_key(partition: Partition) -> String {
    tagged(partition, "o")
}

/// `{pNN}:in`: what waits to be stored.
pub(crate) fn ingest_key(partition: Partition) -> String {
    tagged(partition, "in")
}

/// `{pNN}:dl`: what the store refuses.
pub(crate) fn dead_letters_key(partition: Partition) -> String {
    tagged(partition, "dl")
}

/// `{pNN}:own`: which persister has it.
pub(crate) fn owner_key(partition: Partition) -> String {
    tagged(partition, "own")
}

/// `{pNN}:tok`: the last owner's token.
pub(crate) fn token_key(partition: Partition) -> String {
    tagged(partition, "tok")
}

/// `{pNN}:rm`: cursors that moved and are not stored.
pub(crate) fn moved_key(partition: Partition) -> String {
    tagged(partition, "rm")
}

/// Where epochs are announced as they are opened.
pub(crate) fn epochs_channel() -> String {
    tagged(Partition(0), "epochs")
}

/// The conversation that a channel is of.
pub(crate) fn conversation_of(channel: &str) -> Option<&str> {
    let (tag, conversation) = channel.split_once(":c:")?;
    (tag.len() == 5).then_some(conversation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(id: &str) -> ConversationId {
        ConversationId::new(id).unwrap()
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // CRC-32 of "123456789" is 0xCBF43926.
        assert_eq!(partition_of(&conversation("123456789")), Partition(0x26));
    }

    #[test]
    fn slots_are_those_that_redis_computes() {
        // As CLUSTER KEYSLOT answers for {p00}:e, {p7f}:e and {pff}:e.
        assert_eq!(slot(Partition(0x00)), 11_214);
        assert_eq!(slot(Partition(0x7f)), 2_154);
        assert_eq!(slot(Partition(0xff)), 13_796);
    }

    #[test]
    fn keys_of_conversations_and_senders_do_not_meet() {
        let (a, b) = (conversation("a"), conversation("b:c"));
        let user = |id| UserId::new(id).unwrap();
        let names = |of: &ConversationId, id| Keys::of(of).names(of, &user(id));
        assert_ne!(names(&a, "b:c"), names(&b, "a"));
        assert_ne!(names(&a, "x"), names(&a, "y"));
    }

    #[test]
    fn a_channel_names_its_conversation() {
        let id = conversation("x:c:y");
        assert_eq!(conversation_of(&Keys::of(&id).channel), Some("x:c:y"));
        assert_eq!(conversation_of("{p00}:epochs"), None);
    }
}
