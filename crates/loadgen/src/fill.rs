//! Writing so many messages into each room, by one member of each, before something is measured.
//!
//! Some are under way in each room at a time. Whatever is refused is said again under its name after a
//! pause, and with fewer under way, so a server with limits is filled as fast as it allows and does not
//! take it for a flood.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    connection::What,
    engine::{Engine, Incident},
    error::LoadError,
    progress::Teller,
    target::Control,
    traffic::count,
};

/// Under way in each room.
const WINDOW: u64 = 16;
/// After a refusal.
const PAUSE: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);

/// What is written.
pub(crate) struct Fill<'a> {
    /// Which connection writes, room by room.
    pub(crate) writers: &'a [usize],
    /// The name of the first message in each room, and how many there are.
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) content: &'a str,
}

/// What a room has now, in its order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Written {
    /// By name, from the first on: its place in the order, from 1 on; 0 if it never came.
    pub(crate) ranks: Vec<u64>,
    /// The ids in that order.
    pub(crate) ids: Vec<u64>,
}

struct Room {
    written: Written,
    sent: u64,
    /// To be said again.
    again: VecDeque<u64>,
    /// How many may be under way.
    window: u64,
    /// Nothing is said before.
    paused_until: Instant,
}

/// Writes it, and waits until each writer has its own copies. `others` gets what happens on other
/// connections meanwhile. `None` when it was stopped.
pub(crate) fn fill(
    engine: &mut Engine<'_>,
    fill: &Fill<'_>,
    control: &mut Control<'_>,
    teller: &mut Teller,
    mut others: impl FnMut(&Incident),
) -> Result<Option<Vec<Written>>, LoadError> {
    let room = || Room {
        written: Written {
            ranks: vec![0; usize::try_from(fill.count).unwrap_or(usize::MAX)],
            ids: Vec::new(),
        },
        sent: 0,
        again: VecDeque::new(),
        window: WINDOW,
        paused_until: Instant::now(),
    };
    let mut rooms: Vec<Room> = fill.writers.iter().map(|_| room()).collect();
    let mut refused = BTreeMap::new();
    let all = fill.count * rooms.len() as u64;
    let (mut done, mut last_progress) = (0, Instant::now());
    let mut inbox = Vec::new();
    while done < all {
        if control.is_stopped() {
            return Ok(None);
        }
        for (room, writer) in rooms.iter_mut().zip(fill.writers) {
            room.say(fill, *writer, engine);
        }
        engine.turn(Instant::now() + TURN, &mut inbox)?;
        for incident in inbox.drain(..) {
            let room = engine.seat(incident.connection).room;
            if fill.writers[room] != incident.connection {
                others(&incident);
                continue;
            }
            if rooms[room].take(fill, &incident.what, &mut refused)? {
                done += 1;
                last_progress = incident.at;
            }
        }
        if last_progress.elapsed() > PATIENCE {
            return Err(LoadError::NotFilled { done, all, refused });
        }
        teller.tell(
            control,
            "filling",
            "message",
            done,
            engine.joined(),
            &[&refused],
        );
    }
    Ok(Some(rooms.into_iter().map(|room| room.written).collect()))
}

impl Room {
    fn say(&mut self, fill: &Fill<'_>, writer: usize, engine: &mut Engine<'_>) {
        if Instant::now() < self.paused_until {
            return;
        }
        let waiting = (self.written.ids.len() + self.again.len()) as u64;
        for _ in self.sent - waiting..self.window {
            let name = match self.again.pop_front() {
                Some(name) => name,
                None if self.sent < fill.count => {
                    self.sent += 1;
                    fill.first + self.sent - 1
                }
                None => return,
            };
            engine.say_message(writer, name, fill.content);
        }
    }

    /// Whether another message has come.
    fn take(
        &mut self,
        fill: &Fill<'_>,
        what: &What,
        refused: &mut BTreeMap<String, u64>,
    ) -> Result<bool, LoadError> {
        match what {
            What::Message { name, id } => {
                let place = name.checked_sub(fill.first);
                let place = place.and_then(|place| usize::try_from(place).ok());
                let rank = place.and_then(|place| self.written.ranks.get_mut(place));
                // A second copy answers what was said twice.
                let Some(rank @ 0) = rank else {
                    return Ok(false);
                };
                self.written.ids.push(*id);
                *rank = self.written.ids.len() as u64;
                Ok(true)
            }
            What::Refused { name, code, .. } => {
                count(refused, code);
                self.again.push_back(*name);
                self.window = (self.window / 2).max(1);
                self.paused_until = Instant::now() + PAUSE;
                Ok(false)
            }
            What::Lost { why } => Err(LoadError::WriterLost {
                reason: why.to_string(),
            }),
            What::Joined | What::Acked { .. } | What::Error { .. } | What::Page { .. } => Ok(false),
        }
    }
}
