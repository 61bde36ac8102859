//! A batch in the order of the ingest, taken apart into what is written to the store.
//!
//! Called with every batch that was read. Order matters in one conversation only: each becomes a
//! [`Share`], and shares are written side by side. A share has a [`Chapter`] for each epoch, because
//! everything of one has to be written, with its row, before the row of the next: whoever reads the
//! store takes the highest epoch's row for the end of the conversation.
//!
//! Events are moved, never copied.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parlance_core::{
    ingest::{DeadLetter, Durable, IngestId, Ingested, Piece},
    store::{ContentDigest, EpochRow, NameDigest, Named, StoredEvent},
};
use parlance_protocol::{ConversationId, MessageId, Position, UnixMicros, UserId};
use parlance_traces::{Span, Traces};

/// A batch taken apart.
#[derive(Debug, Default)]
pub(crate) struct Grouped {
    /// One per conversation, in the order of their first pieces.
    pub(crate) shares: Vec<Share>,
    /// What cannot be read.
    pub(crate) garbled: Vec<DeadLetter>,
    /// How many ids there were.
    pub(crate) ids: usize,
    /// The last of them; `None` of an empty batch.
    pub(crate) up_to: Option<IngestId>,
}

/// What a batch has of one conversation.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) conversation: ConversationId,
    /// Where its first piece stands.
    pub(crate) oldest: IngestId,
    /// At least one, in order.
    pub(crate) chapters: Vec<Chapter>,
    pub(crate) senders: BTreeSet<UserId>,
}

/// What a share has of one epoch: a mark, events, or both.
#[derive(Debug)]
pub(crate) struct Chapter {
    /// Its mark, as the row of an epoch without events.
    pub(crate) mark: Option<EpochRow>,
    /// The row to be written after everything else.
    pub(crate) row: EpochRow,
    /// In order.
    pub(crate) events: Vec<StoredEvent>,
    /// Where each event stands in the ingest.
    pub(crate) ids: Vec<IngestId>,
    /// The names of each sender's events.
    pub(crate) names: BTreeMap<UserId, Vec<(NameDigest, Named)>>,
    /// Where its last piece stands.
    pub(crate) last: IngestId,
}

impl Grouped {
    /// Takes the pieces of a batch apart.
    pub(crate) fn of(pieces: Vec<Ingested>) -> Self {
        let mut grouped = Self::default();
        let mut by_conversation = HashMap::new();
        for Ingested { id, piece } in pieces {
            if grouped.up_to != Some(id) {
                grouped.ids += 1;
                grouped.up_to = Some(id);
            }
            match piece {
                Piece::Event {
                    conversation,
                    event,
                    name,
                    content,
                } => {
                    let share = grouped.share(&mut by_conversation, conversation, id);
                    share.push_event(id, event, name, content);
                }
                Piece::Mark {
                    conversation,
                    epoch,
                    broke_at,
                    t,
                    ordinal,
                    count,
                } => {
                    let Some(begin) = MessageId::of_epoch(epoch, 0) else {
                        let reason = format!("no ids are left for epoch {epoch}");
                        grouped.garbled.push(DeadLetter {
                            id,
                            conversation: conversation.as_str().into(),
                            text: format!("mark {epoch} {broke_at} {} {ordinal} {count}", t.0)
                                .into(),
                            reason: reason.into(),
                        });
                        continue;
                    };
                    let row = EpochRow {
                        epoch,
                        broke_at: (epoch > 0).then_some(broke_at),
                        head: Position::of(begin),
                        t,
                        ordinal,
                        count,
                    };
                    let share = grouped.share(&mut by_conversation, conversation, id);
                    share.push_mark(id, row);
                }
                Piece::Garbled {
                    conversation,
                    text,
                    reason,
                } => grouped.garbled.push(DeadLetter {
                    id,
                    conversation,
                    text,
                    reason,
                }),
            }
        }
        grouped
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> usize {
        let chapters = self.shares.iter().flat_map(|share| &share.chapters);
        chapters.map(|chapter| chapter.events.len()).sum()
    }

    /// Begins to store those that are traced.
    pub(crate) fn spans(&self, traces: &Traces) -> Vec<Span> {
        let (mut spans, batch) = (Vec::new(), self.events());
        for share in &self.shares {
            let events = share.chapters.iter().flat_map(|chapter| &chapter.events);
            for StoredEvent { entry, .. } in events {
                let cause = entry.trace.as_deref();
                let span = cause.and_then(|cause| traces.store(&share.conversation, *cause));
                spans.extend(span.map(|mut span| {
                    span.set_position(entry.position);
                    span.set_batch(batch);
                    span
                }));
            }
        }
        spans
    }

    fn share(
        &mut self,
        by_conversation: &mut HashMap<ConversationId, usize>,
        conversation: ConversationId,
        id: IngestId,
    ) -> &mut Share {
        let index = match by_conversation.get(&conversation) {
            Some(index) => *index,
            None => {
                by_conversation.insert(conversation.clone(), self.shares.len());
                self.shares.push(Share {
                    conversation,
                    oldest: id,
                    chapters: Vec::new(),
                    senders: BTreeSet::new(),
                });
                self.shares.len() - 1
            }
        };
        &mut self.shares[index]
    }
}

impl Share {
    /// What is durable when all chapters are written.
    pub(crate) fn durable(&self) -> Option<Durable> {
        let last = self.chapters.last()?;
        Some(Durable {
            conversation: self.conversation.clone(),
            up_to: last.row.head,
            count: last.row.count,
            senders: self.senders.iter().cloned().collect(),
        })
    }

    fn push_mark(&mut self, id: IngestId, row: EpochRow) {
        self.chapters.push(Chapter {
            mark: Some(row),
            ..Chapter::begun(id, row)
        });
    }

    fn push_event(
        &mut self,
        id: IngestId,
        event: StoredEvent,
        name: Option<NameDigest>,
        content: ContentDigest,
    ) {
        let Position { id: message, .. } = event.entry.position;
        let epoch = message.epoch();
        if !self.senders.contains(&event.entry.sender) {
            self.senders.insert(event.entry.sender.clone());
        }
        let goes_on = self
            .chapters
            .last()
            .is_some_and(|last| last.row.epoch == epoch);
        if !goes_on {
            let row = EpochRow {
                epoch,
                broke_at: None,
                head: Position::ZERO,
                t: UnixMicros(0),
                ordinal: 0,
                count: 0,
            };
            self.chapters.push(Chapter::begun(id, row));
        }
        let chapter = self.chapters.last_mut();
        chapter
            .expect("one was pushed if there was none")
            .push(id, event, name, content);
    }
}

impl Chapter {
    fn begun(id: IngestId, row: EpochRow) -> Self {
        Self {
            mark: None,
            row,
            events: Vec::new(),
            ids: Vec::new(),
            names: BTreeMap::new(),
            last: id,
        }
    }

    fn push(
        &mut self,
        id: IngestId,
        event: StoredEvent,
        name: Option<NameDigest>,
        content: ContentDigest,
    ) {
        let entry = &event.entry;
        self.row.head = entry.position;
        self.row.t = entry.t;
        self.row.ordinal = entry.ordinal;
        self.row.count = event.count;
        self.last = id;
        if let Some(name) = name {
            let position = entry.position;
            let named = (name, Named { position, content });
            match self.names.get_mut(&entry.sender) {
                Some(names) => names.push(named),
                None => {
                    self.names.insert(entry.sender.clone(), vec![named]);
                }
            }
        }
        self.ids.push(id);
        self.events.push(event);
    }

    /// The event at `position`, and where it stands in the ingest.
    pub(crate) fn event_at(&self, position: Position) -> Option<(&StoredEvent, IngestId)> {
        let events = self.events.iter().zip(&self.ids);
        let mut found = events.filter(|(event, _)| event.entry.position == position);
        found.next().map(|(event, id)| (event, *id))
    }
}

#[cfg(test)]
mod tests {
    use parlance_core::entry::{Entry, Event};
    use proptest::prelude::*;

    use super::*;

    const E: u64 = MessageId::PER_EPOCH;

    fn conversation(name: &str) -> ConversationId {
        ConversationId::new(name).unwrap()
    }

    fn at(id: u64) -> Position {
        Position::of(MessageId::new(id).unwrap())
    }

    fn id(seq: u64) -> IngestId {
        IngestId { ms: 1, seq }
    }

    fn event(seq: u64, of: &str, sender: &str, position: Position, named: bool) -> Ingested {
        let entry = Entry {
            position,
            prev: Position::ZERO,
            t: UnixMicros(1_000 + seq),
            ordinal: position.id.n(),
            sender: UserId::new(sender).unwrap(),
            local_id: None,
            event: Event::Message {
                content: format!("content {seq}").into(),
            },
            trace: None,
        };
        let piece = Piece::Event {
            conversation: conversation(of),
            event: StoredEvent {
                entry,
                count: 100 + seq,
                revisions: Vec::new(),
            },
            name: named.then_some(NameDigest([seq as u8; 12])),
            content: ContentDigest([seq as u8; 4]),
        };
        Ingested { id: id(seq), piece }
    }

    fn mark(seq: u64, of: &str, epoch: u32, broke_at: Position) -> Ingested {
        let piece = Piece::Mark {
            conversation: conversation(of),
            epoch,
            broke_at,
            t: UnixMicros(1_000 + seq),
            ordinal: 7,
            count: 9,
        };
        Ingested { id: id(seq), piece }
    }

    #[test]
    fn conversations_are_apart_and_each_is_in_order() {
        let grouped = Grouped::of(vec![
            event(1, "a", "ann", at(1), true),
            event(2, "b", "bob", at(1), true),
            event(3, "a", "bob", at(2), false),
            event(4, "a", "ann", at(3), true),
        ]);

        let [a, b] = &*grouped.shares else {
            panic!("{grouped:?}")
        };
        assert_eq!((a.conversation.as_str(), a.oldest), ("a", id(1)));
        assert_eq!((b.conversation.as_str(), b.oldest), ("b", id(2)));
        let [chapter] = &*a.chapters else {
            panic!("{a:?}")
        };
        let positions: Vec<_> = chapter.events.iter().map(|e| e.entry.position).collect();
        assert_eq!(positions, [at(1), at(2), at(3)]);
        assert_eq!(chapter.ids, [id(1), id(3), id(4)]);
        let (found, stands) = chapter.event_at(at(2)).unwrap();
        assert_eq!((found, stands), (&chapter.events[1], id(3)));
        let row = EpochRow {
            epoch: 0,
            broke_at: None,
            head: at(3),
            t: UnixMicros(1_004),
            ordinal: 3,
            count: 104,
        };
        assert_eq!(chapter.row, row);
        let of_ann = &chapter.names[&UserId::new("ann").unwrap()];
        let named: Vec<_> = of_ann.iter().map(|(_, named)| named.position).collect();
        assert_eq!(named, [at(1), at(3)]);
        assert_eq!(chapter.names.len(), 1, "bob's event has no name");
        assert_eq!((grouped.ids, grouped.up_to), (4, Some(id(4))));
        assert_eq!(grouped.events(), 4);
    }

    #[test]
    fn a_mark_in_the_middle_begins_a_chapter_that_says_where_the_one_before_broke() {
        let grouped = Grouped::of(vec![
            event(1, "a", "ann", at(5), false),
            mark(2, "a", 1, at(4)),
            event(3, "a", "bob", at(E + 1), false),
        ]);

        let [before, after] = &*grouped.shares[0].chapters else {
            panic!("{grouped:?}")
        };
        assert_eq!((before.row.epoch, before.row.head), (0, at(5)));
        assert_eq!(before.row.broke_at, None);
        assert_eq!((after.row.epoch, after.row.head), (1, at(E + 1)));
        assert_eq!(after.row.broke_at, Some(at(4)));
        let mark = after.mark.unwrap();
        assert_eq!((mark.head, mark.count), (at(E), 9));
        let durable = grouped.shares[0].durable().unwrap();
        assert_eq!((durable.up_to, durable.count), (at(E + 1), 103));
        let senders: Vec<_> = durable.senders.iter().map(UserId::as_str).collect();
        assert_eq!(senders, ["ann", "bob"]);
    }

    #[test]
    fn a_mark_alone_is_the_head_of_its_epoch() {
        let grouped = Grouped::of(vec![mark(2, "a", 3, at(E + 4))]);

        let row = EpochRow {
            epoch: 3,
            broke_at: Some(at(E + 4)),
            head: at(3 * E),
            t: UnixMicros(1_002),
            ordinal: 7,
            count: 9,
        };
        assert_eq!(grouped.shares[0].chapters[0].row, row);
        let durable = grouped.shares[0].durable().unwrap();
        assert_eq!((durable.up_to, durable.count), (at(3 * E), 9));
        assert!(durable.senders.is_empty());
    }

    #[test]
    fn events_of_another_epoch_without_a_mark_get_a_row_of_their_own() {
        let grouped = Grouped::of(vec![
            event(1, "a", "ann", at(5), false),
            event(2, "a", "ann", at(E + 1), false),
        ]);

        let rows: Vec<_> = grouped.shares[0].chapters.iter().map(|c| c.row).collect();
        let heads: Vec<_> = rows.iter().map(|row| (row.epoch, row.head)).collect();
        assert_eq!(heads, [(0, at(5)), (1, at(E + 1))]);
        assert!(rows.iter().all(|row| row.broke_at.is_none()));
    }

    #[test]
    fn what_cannot_be_read_is_a_dead_letter_and_counts_as_an_id() {
        let piece = Piece::Garbled {
            conversation: "a".into(),
            text: "garbage".into(),
            reason: "too short".into(),
        };
        let garbled = Ingested { id: id(2), piece };
        let grouped = Grouped::of(vec![event(1, "a", "ann", at(1), false), garbled]);

        let [letter] = &*grouped.garbled else {
            panic!("{grouped:?}")
        };
        assert_eq!((letter.id, &*letter.text), (id(2), "garbage"));
        assert_eq!((grouped.ids, grouped.up_to), (2, Some(id(2))));
        assert_eq!(grouped.shares.len(), 1);
    }

    #[test]
    fn pieces_that_were_appended_together_are_one_id() {
        let mut second = event(1, "a", "ann", at(2), false);
        second.id = id(1);
        let grouped = Grouped::of(vec![event(1, "a", "ann", at(1), false), second]);
        assert_eq!(grouped.ids, 1);
        assert_eq!(grouped.events(), 2);
    }

    proptest! {
        #[test]
        fn every_event_is_in_its_conversation_once_and_in_order(
            of in prop::collection::vec((0..4_u8, 0..3_u8), 0..60),
        ) {
            let mut next = [0_u64; 4];
            let mut pieces = Vec::new();
            for (seq, (room, sender)) in (1..).zip(&of) {
                let n = &mut next[usize::from(*room)];
                *n += 1;
                pieces.push(event(seq, &format!("r{room}"), &format!("u{sender}"), at(*n), true));
            }
            let grouped = Grouped::of(pieces);
            prop_assert_eq!(grouped.events(), of.len());
            for share in &grouped.shares {
                let room: usize = share.conversation.as_str()[1..].parse().unwrap();
                let events = share.chapters.iter().flat_map(|chapter| &chapter.events);
                let positions: Vec<_> = events.map(|event| event.entry.position).collect();
                let expected: Vec<_> = (1..=next[room]).map(at).collect();
                prop_assert_eq!(positions, expected);
                let names: usize = share.chapters[0].names.values().map(Vec::len).sum();
                prop_assert_eq!(names as u64, next[room]);
            }
        }
    }
}
