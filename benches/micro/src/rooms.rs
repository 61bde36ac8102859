//! The turns of a room, called as a shard calls it.

use std::{hint::black_box, sync::Arc};

use parlance_core::{
    clock::{Mono, Now},
    entry::{Draft, Entry, Event},
    identity::{Conversations, Identity},
    ports::{Appended, Cursor, Head, Heard},
    quota::UserQuota,
    room::{Context, Departure, Effect, Joiner, MemberKey, Opened, Reply, Request, Room, Ticket},
    settings::Settings,
};
use parlance_gateway::frame::FrameWriter;
use parlance_protocol::{ConversationId, MessageId, Position, UnixMicros, UserId};

use crate::{CONTENT, NOW_SECS, Piece, send, warm};

/// More messages than a room's ring keeps: from then on each one drives another out.
const FILLED: usize = 300;
/// As in a shard: what one write takes, and what its buffer keeps.
const WRITE_BYTES: usize = 16 * 1024;
const KEEP_BYTES: usize = 4 * WRITE_BYTES;
/// Between two messages, so that no rate limit is met.
const STEP_MS: u64 = 50;
const JOINER: &str = "user-9999";

/// A room with members who have been told all there is, on a log that answers at once.
struct Scene {
    room: Room,
    members: u32,
    now: Now,
    chance: u64,
    effects: Vec<Effect>,
    frames: FrameWriter,
    end: Position,
}

impl Scene {
    /// A room whose ring is full. `members` of them, all extended.
    fn new(members: u32) -> Self {
        let conversation = ConversationId::new("team-1").expect("it has no other characters");
        let now = Now {
            mono: Mono(1_000_000),
            wall: UnixMicros(NOW_SECS * 1_000_000),
        };
        let mut scene = Self {
            room: Room::new(conversation, Arc::new(Settings::default()), now),
            members,
            now,
            chance: 1,
            effects: Vec::new(),
            frames: FrameWriter::default(),
            end: Position::ZERO,
        };
        for member in 0..members {
            scene.join(joiner(&format!("user-{member:04}"), None, now));
        }
        for _ in 0..FILLED {
            scene.hear(1);
            scene.write_all();
        }
        scene
    }

    fn call<R>(&mut self, act: impl FnOnce(&mut Room, &mut Context<'_>) -> R) -> R {
        let chance = &mut self.chance;
        let mut random = || {
            *chance = chance.wrapping_mul(6_364_136_223_846_793_005) | 1;
            *chance
        };
        let mut cx = Context {
            now: self.now,
            random: &mut random,
            effects: &mut self.effects,
        };
        act(&mut self.room, &mut cx)
    }

    fn join(&mut self, joiner: Joiner) -> MemberKey {
        let member = self.call(|room, cx| room.join(joiner, cx));
        self.settle();
        member
    }

    /// Messages of somebody on another node.
    fn hear(&mut self, messages: usize) {
        self.step();
        for _ in 0..messages {
            let draft = Draft {
                sender: UserId::new("user-0000").expect("it has no control characters"),
                local_id: None,
                retry: false,
                event: Event::Message {
                    content: CONTENT.into(),
                },
                at: self.now.wall,
                restores: None,
                trace: None,
            };
            let heard = Heard::Entry(self.place(draft));
            self.call(|room, cx| room.on_heard(heard, cx));
        }
        self.settle();
    }

    /// Does what the room wants done, until that is nothing.
    fn settle(&mut self) {
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
            if self.effects.is_empty() {
                self.effects = effects;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Open => {
                let opened = Opened {
                    head: Head::default(),
                    present: Vec::new(),
                    cursors: Vec::new(),
                };
                self.call(|room, cx| room.on_opened(Ok(opened), cx));
            }
            Effect::Request(ticket, request) => self.answer(ticket, request),
            Effect::Publish(_)
            | Effect::PresenceJoin(_)
            | Effect::PresenceLeave(_)
            | Effect::Advance { .. }
            | Effect::Write(_)
            | Effect::WriteAll
            | Effect::Close { .. }
            | Effect::Deadline
            | Effect::MemberDeadline(_)
            | Effect::Count(_) => {}
        }
    }

    fn answer(&mut self, ticket: Ticket, request: Request) {
        let reply = match request {
            Request::Append(draft) => Reply::Append(Ok(Appended::New(self.place(draft)))),
            Request::Cursor(_) => Reply::Cursor(Ok(Cursor::default())),
            Request::Head
            | Request::Replay { .. }
            | Request::Page { .. }
            | Request::At(_)
            | Request::Authored { .. }
            | Request::Verify(_) => {
                unreachable!("nothing is missing, and nobody asks: {request:?}")
            }
        };
        self.call(|room, cx| room.on_reply(ticket, reply, cx));
    }

    /// Gives a draft the next place, as a log does.
    fn place(&mut self, draft: Draft) -> Arc<Entry> {
        let ordinal = self.end.id.get() + 1;
        let prev = self.end;
        self.end = Position::of(MessageId::new(ordinal).expect("there are fewer messages"));
        Arc::new(Entry {
            position: self.end,
            prev,
            t: draft.at,
            ordinal,
            sender: draft.sender,
            local_id: draft.local_id,
            event: draft.event,
            trace: None,
        })
    }

    /// Writes to all members, each by one write.
    fn write_all(&mut self) {
        for member in 0..self.members {
            self.write(MemberKey(member));
        }
    }

    fn write(&mut self, member: MemberKey) {
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear(KEEP_BYTES);
        while self.call(|room, cx| room.take(member, &mut frames, WRITE_BYTES, cx)) {
            black_box(frames.as_slice());
            frames.clear(KEEP_BYTES);
        }
        black_box(frames.as_slice());
        self.frames = frames;
    }

    fn step(&mut self) {
        self.now = Now {
            mono: self.now.mono.plus_ms(STEP_MS),
            wall: UnixMicros(self.now.wall.0 + STEP_MS * 1_000),
        };
    }
}

fn joiner(user: &str, since: Option<Box<str>>, now: Now) -> Joiner {
    Joiner {
        identity: Identity {
            user: UserId::new(user).expect("it has no control characters"),
            username: user.into(),
            expires_at: UnixMicros(u64::MAX / 2),
            conversations: Conversations::All,
            moderator: false,
        },
        extended: true,
        since,
        connection_id: 1,
        quota: Arc::new(UserQuota::new(20, now.mono)),
    }
}

/// A member sends a message, and the log answers.
struct Append {
    scene: Scene,
    text: String,
}

impl Piece for Append {
    fn run(&mut self) {
        self.scene.step();
        let text = black_box(self.text.as_str());
        self.scene
            .call(|room, cx| room.on_text(MemberKey(0), text, cx));
        self.scene.settle();
    }
}

/// Text in, append request, answer, effects. Nobody is written to.
#[must_use]
pub fn append(members: u32) -> Box<dyn Piece> {
    let mut piece = Append {
        scene: Scene::new(members),
        text: send(),
    };
    let before = piece.scene.end;
    piece.run();
    assert!(piece.scene.end > before, "nothing was appended");
    warm(piece)
}

/// Messages come, and all members are written to.
struct FanOut {
    scene: Scene,
    messages: usize,
}

impl Piece for FanOut {
    fn run(&mut self) {
        self.scene.hear(self.messages);
        self.scene.write_all();
    }
}

/// One message, told to so many members.
#[must_use]
pub fn fan_out(members: u32) -> Box<dyn Piece> {
    fan_out_joined(1, members)
}

/// Several messages that came in one turn, told to so many members by one write each.
#[must_use]
pub fn fan_out_joined(messages: usize, members: u32) -> Box<dyn Piece> {
    let mut scene = Scene::new(members);
    scene.hear(messages);
    scene.write_all();
    assert_eq!(scene.frames.texts(), messages as u64, "not all was told");
    warm(FanOut { scene, messages })
}

/// A member comes, is told what it missed, and goes.
struct Join {
    scene: Scene,
    quota: Arc<UserQuota>,
    missed: Option<u64>,
}

impl Piece for Join {
    fn run(&mut self) {
        let since = self.missed.map(|missed| {
            let since = self.scene.end.id.get() - missed;
            since.to_string().into_boxed_str()
        });
        let joiner = Joiner {
            quota: Arc::clone(&self.quota),
            ..joiner(JOINER, since, self.scene.now)
        };
        let member = self.scene.join(joiner);
        self.scene.write(member);
        self.scene
            .call(|room, cx| room.leave(member, Departure::Goodbye, cx));
        self.scene.settle();
    }
}

fn join(missed: Option<u64>) -> Box<dyn Piece> {
    let scene = Scene::new(10);
    let quota = Arc::new(UserQuota::new(20, scene.now.mono));
    let mut piece = Join {
        scene,
        quota,
        missed,
    };
    piece.run();
    let told = piece.scene.frames.texts();
    assert!(told > missed.unwrap_or(0), "only {told} frames were told");
    warm(piece)
}

/// A member that missed nothing comes into a room of ten, and goes.
#[must_use]
pub fn join_at_the_end() -> Box<dyn Piece> {
    join(None)
}

/// A member that missed 20 messages comes into a room of ten, is told them from the ring, and goes.
#[must_use]
pub fn join_behind() -> Box<dyn Piece> {
    join(Some(20))
}
