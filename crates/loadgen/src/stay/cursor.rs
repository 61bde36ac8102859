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
    /// What comes behind `had` is fetched, up to `has` so far, while `live` (its first and its last) came by
    /// itself. History may be ahead: something that was fetched can still come by itself, once.
    Fetching {
        had: u64,
        has: u64,
        live: Option<(u64, u64)>,
        is_caught_up: bool,
    },
}

impl Cursor {
    /// Of a socket whose member has everything up to this id, and fetches the rest.
    pub(super) fn fetching(had: u64) -> Self {
        Self::Fetching {
            had,
            has: had,
            live: None,
            is_caught_up: false,
        }
    }

    /// What it means that `id` comes by itself; `first` is that of the conversation's first message.
    pub(super) fn judge(self, id: u64, first: u64) -> Step {
        match self {
            Self::Following(last)
            | Self::Fetching {
                live: Some((_, last)),
                ..
            } => step(last, id, first),
            Self::Fetching { had, .. } if id <= had => Step::Again,
            Self::Fetching {
                is_caught_up: false,
                ..
            } => Step::Next,
            Self::Fetching { has, .. } => match step(has, id, first) {
                Step::Next | Step::Again => Step::Next,
                Step::Skips(left_out) => Step::Skips(left_out),
            },
        }
    }

    /// It came, and was no repetition.
    pub(super) fn advance(&mut self, id: u64) {
        match self {
            Self::Following(last) => *last = id,
            Self::Fetching {
                has,
                live,
                is_caught_up,
                ..
            } => {
                let begin = live.map_or(id, |(begin, _)| begin);
                *live = Some((begin, id));
                if *is_caught_up {
                    *has = id.max(*has);
                }
            }
        }
    }

    /// What it means that `id` is the next row of what is fetched.
    pub(super) fn row(&mut self, id: u64, first: u64) -> Step {
        match self {
            Self::Following(_) => Step::Again,
            Self::Fetching { has, .. } => {
                let step = step(*has, id, first);
                *has = id.max(*has);
                step
            }
        }
    }

    /// All is fetched: how many are missing between that and what came by itself.
    pub(super) fn caught_up(&mut self, first: u64) -> u64 {
        let Self::Fetching {
            has,
            live,
            is_caught_up,
            ..
        } = self
        else {
            return 0;
        };
        *is_caught_up = true;
        let Some((begin, last)) = *live else {
            return 0;
        };
        let left_out = match step(*has, begin, first) {
            Step::Next | Step::Again => 0,
            Step::Skips(left_out) => left_out,
        };
        *has = last.max(*has);
        left_out
    }

    /// The newest up to which nothing is left out, as far as it has said.
    pub(super) fn has(self) -> u64 {
        match self {
            Self::Following(last) => last,
            Self::Fetching { has, .. } => has,
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

    /// How many are missing, and what it has, when these were fetched after those had come by themselves.
    fn caught(rows: &[u64], live: &[u64]) -> (u64, Cursor) {
        let mut cursor = Cursor::fetching(4);
        for id in live {
            assert_eq!(cursor.judge(*id, 1), Step::Next);
            cursor.advance(*id);
        }
        for id in rows {
            assert_eq!(cursor.row(*id, 1), Step::Next);
        }
        (cursor.caught_up(1), cursor)
    }

    #[test]
    fn what_is_fetched_has_to_reach_what_came_by_itself() {
        let has = |rows: &[u64], live: &[u64]| {
            let (left_out, cursor) = caught(rows, live);
            (left_out, cursor.has())
        };
        assert_eq!(has(&[], &[]), (0, 4));
        assert_eq!(has(&[5, 6], &[]), (0, 6));
        assert_eq!(has(&[5, 6], &[7]), (0, 7));
        assert_eq!(has(&[5, 6, 7], &[6, 7, 8]), (0, 8));
        assert_eq!(has(&[5], &[8]), (2, 8));
        assert_eq!(has(&[], &[6]), (1, 6));
    }

    #[test]
    fn what_was_fetched_may_come_by_itself_once_more_and_in_order() {
        let (_, mut cursor) = caught(&[5, 6], &[]);
        assert_eq!(cursor.judge(4, 1), Step::Again, "it was there before");
        assert_eq!(cursor.judge(8, 1), Step::Skips(1));
        assert_eq!(cursor.judge(6, 1), Step::Next);
        cursor.advance(6);
        assert_eq!(cursor.judge(6, 1), Step::Again);
        assert_eq!(cursor.judge(7, 1), Step::Next);
        cursor.advance(7);
        assert_eq!(cursor.has(), 7);
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
