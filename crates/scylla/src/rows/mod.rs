//! Rows as they are written (`put`) and read (`read`), and what both have to agree on.

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod put;
mod read;

use parlance_core::entry::Event;
use parlance_protocol::MessageId;

pub(crate) use self::{
    put::{OfUser, PutEpoch, PutEvent, PutName, PutOfUser, Row},
    read::{Assembly, LogRow, LogRows, MessageRow, StoredCursor, StoredEpoch, StoredName},
};

/// Ids of one partition of `messages` and `events`. Epochs begin at a multiple of it.
pub(crate) const BUCKET_IDS: u64 = 10_000;

pub(crate) const fn bucket_of(id: MessageId) -> u64 {
    id.get() / BUCKET_IDS
}

const MESSAGE: i8 = 0;
const EDIT: i8 = 1;
const DELETE: i8 = 2;
/// Added to the kind of an event that was refused.
const PLACEHOLDER: i8 = 10;

const fn kind_of(event: &Event) -> i8 {
    match event {
        Event::Message { .. } => MESSAGE,
        Event::Edit { .. } => EDIT,
        Event::Delete { .. } => DELETE,
    }
}
