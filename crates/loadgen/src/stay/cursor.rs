//! What has to come next on a socket, and who has been told what in a conversation.
//!
//! Ids of messages follow one another while the log of a conversation keeps its epoch, and nothing else
//! is said in the conversations of a run. So whatever is not the next one is a hole or a repetition, and
//! nobody has to keep what came.

/// What an id means for whoever hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next one.
    Next,
    /// It was there before, or comes too late.
    Again,
    /// So many are left out before it.
    Skips(u64),
}

/// How far a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// It tells all that comes behind this id (0: from the beginning).
    Following(u64),
    /// What comes behind `has` is being fetched, while `live` (its first and its last) came by itself.
    Catching { has: u64, live: Option<(u64, u64)> },
}

impl Cursor {
    /// What it means that `id` comes by itself; `first` is that of the conversation's first message.
    pub(super) fn judge(self, id: u64, first: u64) -> Step {
        match self {
            Self::Following(last) => step(last, id, first),
            Self::Catching { live: None, .. } => Step::Next,
            Self::Catching {
                live: Some((_, last)),
                ..
            } => step(last, id, first),
        }
    }

    /// It came, and was no repetition.
    pub(super) fn advance(&mut self, id: u64) {
        match self {
            Self::Following(last) => *last = id,
            Self::Catching { live, .. } => {
                let begin = live.map_or(id, |(begin, _)| begin);
                *live = Some((begin, id));
            }
        }
    }

    /// What it means that `id` is the next row of what is fetched.
    pub(super) fn row(&mut self, id: u64, first: u64) -> Step {
        match self {
            Self::Following(_) => Step::Again,
            Self::Catching { has, .. } => {
                let step = step(*has, id, first);
                *has = id.max(*has);
                step
            }
        }
    }

    /// All is fetched: how many are missing between that and what came by itself.
    pub(super) fn caught_up(&mut self, first: u64) -> u64 {
        let Self::Catching { has, live } = *self else {
            return 0;
        };
        let (begin, last) = live.unwrap_or((has, has));
        *self = Self::Following(last.max(has));
        match step(has, begin, first) {
            Step::Next | Step::Again => 0,
            Step::Skips(left_out) => left_out,
        }
    }

    /// The newest up to which nothing is left out, as far as it has said.
    pub(super) fn has(self) -> u64 {
        match self {
            Self::Following(last) => last,
            Self::Catching { has, .. } => has,
        }
    }
}

fn step(last: u64, id: u64, first: u64) -> Step {
    let expected = if last == 0 { first } else { last + 1 };
    match id.checked_sub(expected) {
        Some(0) => Step::Next,
        Some(left_out) => Step::Skips(left_out),
        None => Step::Again,
    }
}

/// The messages of a conversation, named in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The id of each; 0 while nobody has seen it.
    ids: Vec<u64>,
    /// The lowest and the highest of them; 0 while there is none.
    pub(super) first: u64,
    pub(super) head: u64,
}

impl Room {
    /// The name of the next message.
    pub(super) fn name(&mut self) -> u64 {
        self.ids.push(0);
        self.ids.len() as u64 - 1
    }

    /// Somebody saw a message. False if nobody made it, or it has had another id.
    pub(super) fn saw(&mut self, name: u64, id: u64) -> bool {
        let place = usize::try_from(name).ok();
        let Some(known) = place.and_then(|place| self.ids.get_mut(place)) else {
            return false;
        };
        if *known == 0 {
            *known = id;
        }
        if self.first == 0 {
            self.first = id;
        }
        self.head = self.head.max(id);
        *known == id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_is_told_each_one_once_and_in_order() {
        let mut cursor = Cursor::Following(0);
        assert_eq!(cursor.judge(1, 1), Step::Next);
        cursor.advance(1);
        assert_eq!(cursor.judge(1, 1), Step::Again);
        assert_eq!(cursor.judge(2, 1), Step::Next);
        assert_eq!(cursor.judge(5, 1), Step::Skips(3));
        // Where ids begin higher, the first one is no hole.
        assert_eq!(Cursor::Following(0).judge(70, 70), Step::Next);
    }

    #[test]
    fn what_is_fetched_has_to_reach_what_came_by_itself() {
        let caught = |rows: &[u64], live: &[u64]| {
            let mut cursor = Cursor::Catching { has: 4, live: None };
            for id in live {
                assert_eq!(cursor.judge(*id, 1), Step::Next);
                cursor.advance(*id);
            }
            for id in rows {
                assert_eq!(cursor.row(*id, 1), Step::Next);
            }
            (cursor.caught_up(1), cursor)
        };
        assert_eq!(caught(&[], &[]), (0, Cursor::Following(4)));
        assert_eq!(caught(&[5, 6], &[]), (0, Cursor::Following(6)));
        assert_eq!(caught(&[5, 6], &[7]), (0, Cursor::Following(7)));
        assert_eq!(caught(&[5, 6, 7], &[6, 7, 8]), (0, Cursor::Following(8)));
        assert_eq!(caught(&[5], &[8]), (2, Cursor::Following(8)));
        assert_eq!(caught(&[], &[6]), (1, Cursor::Following(6)));
    }

    #[test]
    fn a_message_has_one_id() {
        let mut room = Room::default();
        let name = room.name();
        assert!(room.saw(name, 10));
        assert!(room.saw(name, 10));
        assert!(!room.saw(name, 11), "it was told twice");
        assert!(!room.saw(7, 12), "nobody made it");
        assert_eq!((room.first, room.head), (10, 11));
    }
}
