//! How often cursors go out: per user to the port, and in frames to extended clients.
//!
//! The first move in a quiet time goes at once, so that a single `read` is fast; later ones go
//! together.

use std::sync::Arc;

use parlance_protocol::{MessageId, UserId, limits};

use crate::{clock::Mono, ports::Cursor, user_map::UserMap};

/// Advances of one user within this are one.
pub const COALESCE_MS: u64 = 250;
/// Time between two `receipts` frames.
pub const FRAME_MS: u64 = 1_000;
/// Most users in a `receipts` frame.
pub const FRAME_USERS: usize = 50;

/// What the port is to be told: merge `cursor` into that of `user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Whose.
    pub user: UserId,
    /// Where to.
    pub cursor: Cursor,
    /// What `read` actions listed and the cursor moved past, ascending.
    pub listed: Arc<[MessageId]>,
}

/// What waits, and what went out so lately that others must wait.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Users whose cursor went to the port within [`COALESCE_MS`].
    windows: UserMap<Window>,
    /// No window ends before this.
    next_window: Mono,
    /// What extended clients do not know.
    changed: UserMap<Cursor>,
    /// The time of the last frame plus [`FRAME_MS`].
    frame_not_before: Mono,
}

#[derive(Debug)]
struct Window {
    until: Mono,
    /// What waits for the end of the window.
    waiting: Option<Cursor>,
    /// Ascending; empty if nothing waits.
    listed: Vec<MessageId>,
}

impl Advance {
    pub(crate) fn new(user: &UserId, cursor: Cursor, listed: &[MessageId]) -> Self {
        Self {
            user: user.clone(),
            cursor,
            listed: listed.into(),
        }
    }
}

impl Pace {
    /// The bus said that `user` is at `cursor`.
    pub(super) fn changed(&mut self, user: &UserId, cursor: Cursor) {
        self.changed.insert(user.clone(), cursor);
    }

    /// `user` moved to `cursor`, past `listed`. Returns what the port is to be told at once.
    pub(super) fn advance(
        &mut self,
        user: &UserId,
        cursor: Cursor,
        listed: &[MessageId],
        now: Mono,
    ) -> Option<Advance> {
        let Some(window) = self.windows.get_mut(user) else {
            self.open_window(user, now.plus_ms(COALESCE_MS));
            return Some(Advance::new(user, cursor, listed));
        };
        let too_many = window.listed.len() + listed.len() > limits::READ_IDS;
        let full = too_many.then(|| window.take(user)).flatten();
        window.waiting = Some(cursor);
        window.listed.extend_from_slice(listed);
        full
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.windows
            .iter()
            .any(|(_, window)| window.waiting.is_some())
    }

    /// When something comes due, or this may be dropped.
    pub(super) fn deadline(&self) -> Mono {
        if self.windows.is_empty() {
            return self.frame_not_before;
        }
        let frame = (!self.changed.is_empty()).then_some(self.frame_not_before);
        frame.map_or(self.next_window, |frame| frame.min(self.next_window))
    }

    /// A window in which something waited is followed by another; an idle one ends.
    pub(super) fn collect_advances(&mut self, now: Mono) -> Vec<Advance> {
        let mut advances = Vec::new();
        if now < self.next_window {
            return advances;
        }
        let mut next = Mono(u64::MAX);
        self.windows.retain(|user, window| {
            if window.until <= now {
                let Some(advance) = window.take(user) else {
                    return false;
                };
                advances.push(advance);
                window.until = now.plus_ms(COALESCE_MS);
            }
            next = next.min(window.until);
            true
        });
        self.next_window = next;
        advances
    }

    /// More users than fit into a frame wait for the next one.
    pub(super) fn collect_changed(&mut self, now: Mono) -> Vec<(UserId, Cursor)> {
        if self.changed.is_empty() || now < self.frame_not_before {
            return Vec::new();
        }
        self.frame_not_before = now.plus_ms(FRAME_MS);
        let told = highest(&self.changed);
        for (user, _) in &told {
            self.changed.remove(user);
        }
        told
    }

    pub(super) fn is_over(&self, now: Mono) -> bool {
        self.windows.is_empty() && self.changed.is_empty() && self.frame_not_before <= now
    }

    fn open_window(&mut self, user: &UserId, until: Mono) {
        if self.windows.is_empty() || until < self.next_window {
            self.next_window = until;
        }
        let window = Window {
            until,
            waiting: None,
            listed: Vec::new(),
        };
        self.windows.insert(user.clone(), window);
    }
}

impl Window {
    /// What waits, which does so no more.
    fn take(&mut self, user: &UserId) -> Option<Advance> {
        let cursor = self.waiting.take()?;
        let listed = std::mem::take(&mut self.listed);
        Some(Advance::new(user, cursor, &listed))
    }
}

/// At most [`FRAME_USERS`] of the `cursors` that ever moved, those that read furthest first.
pub(super) fn highest(cursors: &UserMap<Cursor>) -> Vec<(UserId, Cursor)> {
    let moved = |(_, cursor): &(&UserId, &Cursor)| **cursor != Cursor::default();
    let mut all: Vec<_> = cursors.iter().filter(moved).collect();
    let by_read =
        |(_, cursor): &(&UserId, &Cursor)| std::cmp::Reverse((cursor.read, cursor.delivered));
    if all.len() > FRAME_USERS {
        all.select_nth_unstable_by_key(FRAME_USERS, by_read);
        all.truncate(FRAME_USERS);
    }
    all.sort_unstable_by_key(by_read);
    all.into_iter()
        .map(|(user, cursor)| (user.clone(), *cursor))
        .collect()
}
