//! The packed text that Redis keeps of a conversation's end: its layout is that of `lib.lua`.

use parlance_core::{
    lineage::{Lineage, Span},
    ports::Head,
    store::EpochRow,
};
use parlance_protocol::{MessageId, Position};

use crate::wire::Garbled;

const VERSION: u64 = 1;

/// The end of a conversation as Redis has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) epoch: u32,
    pub(crate) head: Position,
    pub(crate) ordinal: u64,
    pub(crate) count: u64,
    pub(crate) stored: Position,
    /// Oldest first.
    pub(crate) breaks: Vec<Break>,
}

/// Where an epoch took over from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) epoch: u32,
    /// The last position that survived.
    pub(crate) at: Position,
    /// How many messages there were up to it.
    pub(crate) ordinal: u64,
}

/// Takes big-endian numbers off the front.
struct Unpack<'a>(&'a [u8]);

impl Unpack<'_> {
    fn number(&mut self, bytes: usize) -> Result<u64, Garbled> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(crate::wire::SHORT)?;
        self.0 = rest;
        Ok(taken
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn epoch(&mut self) -> Result<u32, Garbled> {
        u32::try_from(self.number(4)?).map_err(|_| crate::wire::SHORT)
    }

    fn position(&mut self) -> Result<Position, Garbled> {
        let id = MessageId::new(self.number(7)?).ok_or(crate::wire::SHORT)?;
        let k = u32::try_from(self.number(3)?).map_err(|_| crate::wire::SHORT)?;
        Ok(Position { id, k })
    }
}

impl Meta {
    pub(crate) fn unpack(packed: &[u8]) -> Result<Self, Garbled> {
        let mut unpack = Unpack(packed);
        if unpack.number(1)? != VERSION {
            return Err(crate::wire::VERSION);
        }
        let epoch = unpack.epoch()?;
        let (n, k) = (unpack.number(5)?, unpack.number(3)?);
        let _t = unpack.number(7)?;
        let (ordinal, count) = (unpack.number(6)?, unpack.number(6)?);
        let stored = unpack.position()?;
        let mut breaks = Vec::new();
        while !unpack.0.is_empty() {
            let (epoch, at) = (unpack.epoch()?, unpack.position()?);
            let ordinal = unpack.number(6)?;
            let _count = unpack.number(6)?;
            breaks.push(Break { epoch, at, ordinal });
        }
        let id = MessageId::of_epoch(epoch, n).ok_or(crate::wire::SHORT)?;
        let k = u32::try_from(k).map_err(|_| crate::wire::SHORT)?;
        Ok(Self {
            epoch,
            head: Position { id, k },
            ordinal,
            count,
            stored,
            breaks,
        })
    }

    /// What a room is told, from a [`Meta::walk`].
    pub(crate) fn head(&self, lineage: Lineage, durable: bool) -> Head {
        Head {
            epoch: self.epoch,
            lineage,
            stored: self.stored,
            durable,
            stored_at_ack: false,
        }
    }

    /// Walks down from the head through the breaks: those here, and older ones that the store
    /// knows. What no break leads to does not exist.
    pub(crate) fn walk(&self, stored: &[EpochRow]) -> Walk {
        let older = breaks_of(stored);
        let mut spans = Vec::new();
        let mut last = self.head;
        let mut is_complete = true;
        while last > Position::ZERO {
            let epoch = last.id.epoch();
            let known = self.breaks.iter().chain(&older);
            let below = known.into_iter().find(|below| below.epoch == epoch);
            spans.push(Span {
                epoch,
                last,
                ordinal_before: below.map_or(0, |below| below.ordinal),
            });
            is_complete = epoch == 0 || below.is_some();
            last = below.map_or(Position::ZERO, |below| below.at);
        }
        spans.reverse();
        let lineage = Lineage::new(spans);
        Walk {
            lineage,
            is_complete,
        }
    }
}

/// What a walk down from the head found.
pub(crate) struct Walk {
    pub(crate) lineage: Lineage,
    /// Whether it ended where everything began, and not at a break that is not known here.
    pub(crate) is_complete: bool,
}

/// The breaks that the store knows. How many messages there were up to one is told by the head of
/// the epoch that it is in, as far as that is stored.
fn breaks_of(rows: &[EpochRow]) -> Vec<Break> {
    let ordinal = |at: Position| {
        let row = rows.iter().find(|row| row.epoch == at.id.epoch());
        row.map_or(0, |row| {
            row.ordinal - row.head.id.n().saturating_sub(at.id.n())
        })
    };
    let breaks = rows.iter().filter_map(|row| {
        let at = row.broke_at?;
        Some(Break {
            epoch: row.epoch,
            at,
            ordinal: ordinal(at),
        })
    });
    breaks.collect()
}

#[cfg(test)]
mod tests {
    use parlance_protocol::UnixMicros;

    use super::*;

    fn at(id: u64, k: u32) -> Position {
        let id = MessageId::new(id).unwrap();
        Position { id, k }
    }

    #[test]
    fn the_lineage_leaves_out_what_was_lost() {
        const E: u64 = MessageId::PER_EPOCH;
        let meta = Meta {
            epoch: 3,
            head: at(3 * E + 2, 1),
            ordinal: 9,
            count: 12,
            stored: Position::ZERO,
            // Epoch 2 was lost as a whole: epoch 3 goes on from epoch 1.
            breaks: vec![
                Break {
                    epoch: 1,
                    at: at(5, 0),
                    ordinal: 5,
                },
                Break {
                    epoch: 2,
                    at: at(E + 3, 0),
                    ordinal: 8,
                },
                Break {
                    epoch: 3,
                    at: at(E + 2, 0),
                    ordinal: 7,
                },
            ],
        };
        let walk = meta.walk(&[]);
        let lineage = walk.lineage;
        let ids = [1, 5, 6, E + 2, E + 3, 2 * E + 1, 3 * E + 2, 3 * E + 3];
        let exists: Vec<bool> = ids
            .iter()
            .map(|id| lineage.contains(MessageId::new(*id).unwrap()))
            .collect();
        assert_eq!(exists, [true, true, false, true, false, false, true, false]);
        assert_eq!(lineage.ordinal(MessageId::new(3 * E + 2).unwrap()), 9);
        assert_eq!(lineage.ordinal(MessageId::new(E + 1).unwrap()), 6);
        assert!(walk.is_complete);
    }

    #[test]
    fn a_break_that_only_the_store_knows_is_missed() {
        const E: u64 = MessageId::PER_EPOCH;
        let meta = Meta {
            epoch: 2,
            head: at(2 * E + 2, 0),
            ordinal: 9,
            count: 9,
            stored: Position::ZERO,
            breaks: Vec::new(),
        };
        assert!(!meta.walk(&[]).is_complete);
        let row = |epoch, broke_at, head, ordinal| EpochRow {
            epoch,
            broke_at,
            head,
            t: UnixMicros(1),
            ordinal,
            count: ordinal,
        };
        let rows = [
            row(0, None, at(7, 0), 7),
            row(2, Some(at(6, 0)), at(2 * E + 1, 0), 7),
        ];
        let walk = meta.walk(&rows);
        assert!(walk.is_complete);
        assert_eq!(walk.lineage.ordinal(at(2 * E + 2, 0).id), 8);
        assert!(!walk.lineage.contains(at(7, 0).id));
    }

    #[test]
    fn what_is_too_short_or_of_another_version_is_refused() {
        assert!(Meta::unpack(&[]).is_err());
        assert!(Meta::unpack(&[2; 42]).is_err());
        let mut packed = vec![1];
        packed.resize(42, 0);
        assert_eq!(Meta::unpack(&packed).unwrap().head, Position::ZERO);
        packed.push(0);
        assert!(Meta::unpack(&packed).is_err());
    }
}
