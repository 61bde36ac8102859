//! One client of one conversation, behaving as the protocol says.
//!
//! A task of [`super::Traffic`]. What it sees goes into its share of the recording; what it does
//! next follows from the outbox and from the code with which a connection ended.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use parlance_protocol::{MessageId, Position};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until},
};

use super::{
    directory::{Directory, Pass},
    history::READER,
    outbox::{Outbox, What},
    recording::{Change, Event, Layer, Told},
    witness::Witness,
};
use crate::{
    client::{Client, Incoming},
    dial::{Dial, TokenPlace},
    server::{SECRET, locked},
    tokens::{Claims, unix_now},
};

/// Before a reconnect, at least and at most; shorter than a real client's, so that faults overlap.
const BACKOFF_MS: (u64, u64) = (50, 250);
/// Before a send whose outcome is unknown is offered again.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(300);
/// After an attempt to move away from a leaving node that failed.
const MOVE_PAUSE: Duration = Duration::from_millis(300);
/// How long a guest's token is good. The server lets a connection outlive it by 30 s.
const GUEST_SECONDS: u64 = 10;
/// How often a lively client types, says what it has read, and fetches the newest page, about.
const LIVELY_MS: u64 = 2_000;
const PAGE: usize = 100;

/// What all clients are told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Something new with every tick.
    Talk,
    /// Only what is in the outbox.
    Finish,
    /// Nothing, but that everything was read.
    Watch,
    /// Close and end.
    Leave,
}

/// What others may know of a client while it runs.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) witness: Witness,
    /// Connected, and past the replay.
    pub(super) live: bool,
    pub(super) unanswered: usize,
    /// What waits longest for an answer, and the last refusal, for who waits in vain.
    pub(super) oldest: Option<String>,
    pub(super) refusal: Option<Value>,
    /// Acknowledged, and not known to be stored though there is a store.
    pub(super) unstored: usize,
    /// The highest place that was seen.
    pub(super) reached: Position,
    pub(super) sends: u64,
    pub(super) acknowledged: u64,
    /// Sends that were refused for the moment.
    pub(super) put_off: u64,
    pub(super) offline_seen: u64,
}

/// Who a client is.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) conversation: String,
    pub(super) user: String,
    pub(super) layer: Layer,
    pub(super) home: usize,
    /// Whether it edits and deletes.
    pub(super) changes: bool,
    /// Whether it also types, reads and fetches pages.
    pub(super) lively: bool,
    /// Whether its tokens run out soon.
    pub(super) is_guest: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    identity: Identity,
    directory: Directory,
    state: Arc<Mutex<State>>,
    orders: watch::Receiver<Order>,
    ticks: Interval,
    outbox: Outbox,
    /// The gateway of the last attempt.
    gateway: usize,
    /// The last event that came in its turn.
    since: Position,
    closed_with: Option<u16>,
    /// Asked to come back after this.
    pause: Option<Duration>,
    /// Asked to move to another node then.
    move_at: Option<Instant>,
    /// Of the present connection.
    pass: Option<Pass>,
    /// The connection that a live one replaces.
    retiring: Option<(Client, Option<Pass>)>,
    /// The newest message that it was told of.
    newest: Position,
    /// What it said to have read last.
    read: Position,
    /// When a lively client does something again beside talking.
    lively_at: Instant,
}

/// How a session ended.
enum End {
    Lost,
    Moving(Box<Client>),
    Left,
}

impl Member {
    pub(super) fn new(
        identity: Identity,
        directory: Directory,
        state: Arc<Mutex<State>>,
        orders: watch::Receiver<Order>,
        period: Duration,
    ) -> Self {
        let phase = Duration::from_micros(random_below(
            u64::try_from(period.as_micros()).unwrap_or(u64::MAX),
        ));
        let mut ticks = interval_at(Instant::now() + phase, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            outbox: Outbox::new(identity.layer, &identity.user, identity.changes),
            gateway: identity.home,
            identity,
            directory,
            state,
            orders,
            ticks,
            since: Position::ZERO,
            closed_with: None,
            pause: None,
            move_at: None,
            pass: None,
            retiring: None,
            newest: Position::ZERO,
            read: Position::ZERO,
            lively_at: Instant::now(),
        }
    }

    /// Until it is told to leave.
    pub(super) async fn run(mut self) {
        while *self.orders.borrow() != Order::Leave {
            let Some(client) = self.connect().await else {
                self.back_off().await;
                continue;
            };
            let mut end = self.session(client).await;
            while let End::Moving(old) = end {
                end = self.change_over(*old).await;
            }
            match end {
                End::Lost => self.back_off().await,
                End::Left | End::Moving(_) => return,
            }
        }
    }

    // --- connections ---

    async fn connect(&mut self) -> Option<Client> {
        let pass = self.directory.enter(self.gateway)?;
        self.gateway = pass.gateway;
        let (token, until_us) = self.token();
        let dial = Dial::new(pass.address, &self.identity.conversation)
            .token(&token, TokenPlace::Query)
            .since(&self.since.to_string());
        let dial = match self.identity.layer {
            Layer::Base => dial,
            Layer::Extended => dial.extended(),
        };
        match dial.try_connect().await {
            Ok(client) => {
                self.pass = Some(pass);
                let since = Some(self.since);
                self.record(Event::Connected { since });
                if let Some(until_us) = until_us {
                    self.record(Event::Granted { until_us });
                }
                Some(client)
            }
            Err(_) => {
                self.gateway += 1;
                None
            }
        }
    }

    /// A fresh one, and until when it is good if that is soon.
    fn token(&self) -> (String, Option<u64>) {
        let claims = Claims::of(&self.identity.user);
        if !self.identity.is_guest {
            return (claims.sign(SECRET), None);
        }
        // The claim has whole seconds.
        let until_us = self.shared().witness.now_us() + GUEST_SECONDS * 1_000_000;
        let claims = claims.with("exp", unix_now() + GUEST_SECONDS);
        (claims.sign(SECRET), Some(until_us))
    }

    async fn back_off(&mut self) {
        let (least, most) = BACKOFF_MS;
        let chance = Duration::from_millis(least + random_below(most - least));
        sleep(self.pause.take().unwrap_or(chance)).await;
    }

    /// Opens a connection beside the old one, which goes when the new one is live.
    async fn change_over(&mut self, old: Client) -> End {
        self.gateway += 1;
        let pass = self.pass.take();
        match self.connect().await {
            Some(new) => {
                self.retiring = Some((old, pass));
                self.session(new).await
            }
            None => {
                self.pass = pass;
                self.move_at = Some(Instant::now() + MOVE_PAUSE);
                self.read_on(old).await
            }
        }
    }

    async fn session(&mut self, client: Client) -> End {
        self.outbox.reconnected(Instant::now());
        self.closed_with = None;
        self.move_at = None;
        if self.identity.layer == Layer::Base {
            self.go_live(&client).await;
        }
        self.read_on(client).await
    }

    async fn read_on(&mut self, mut client: Client) -> End {
        loop {
            let move_at = self.move_at;
            let moving = async {
                match move_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                seen = client.take() => match seen.what {
                    Incoming::Json(frame) => self.on_frame(&frame, &client).await,
                    Incoming::Close(code, reason) => self.on_close(code, &reason),
                    Incoming::End => return self.on_end(),
                    Incoming::Ping(_) | Incoming::Pong(_) => {}
                },
                _ = self.ticks.tick() => self.on_tick(&client).await,
                () = moving => {
                    self.move_at = None;
                    return End::Moving(Box::new(client));
                }
                _ = self.orders.changed() => {
                    if *self.orders.borrow() == Order::Leave {
                        self.shared().live = false;
                        client.close(1000).await;
                        return End::Left;
                    }
                }
            }
        }
    }

    fn on_close(&mut self, code: u16, reason: &str) {
        self.closed_with = Some(code);
        let reason: Value = serde_json::from_str(reason).unwrap_or_default();
        let asked = reason["retry_after_ms"].as_u64();
        self.pause = match code {
            4100..=4199 => Some(Duration::ZERO),
            _ => asked.map(Duration::from_millis),
        };
    }

    fn on_end(&mut self) -> End {
        let code = self.closed_with.take();
        self.record(Event::Closed { code });
        self.shared().live = false;
        self.pass = None;
        self.retiring = None;
        // By chance, so that who lost a gateway is spread over all that are up.
        self.gateway = usize::try_from(random_below(1 << 16)).unwrap_or_default();
        End::Lost
    }

    // --- sending ---

    async fn go_live(&mut self, client: &Client) {
        self.shared().live = true;
        if let Some((old, pass)) = self.retiring.take() {
            // Nothing depends on how it ends.
            tokio::spawn(async move {
                old.close(1000).await;
                drop(pass);
            });
        }
        self.offer(client).await;
    }

    async fn on_tick(&mut self, client: &Client) {
        let order = *self.orders.borrow();
        if order == Order::Talk {
            self.outbox.make(Instant::now());
        }
        let is_live = self.shared().live;
        if is_live {
            self.offer(client).await;
        }
        if is_live && self.identity.lively && self.lively_at <= Instant::now() {
            self.be_lively(order, client).await;
        }
    }

    /// Types, reads, or fetches a page.
    async fn be_lively(&mut self, order: Order, client: &Client) {
        let pause_ms = LIVELY_MS / 2 + random_below(LIVELY_MS);
        self.lively_at = Instant::now() + Duration::from_millis(pause_ms);
        if self.newest > self.read {
            self.read = self.newest;
            self.record(Event::Reads { up_to: self.newest });
            let ids = [self.newest.id.to_string()];
            client
                .send(json!({"action": "read", "message_ids": ids}))
                .await;
        }
        if order == Order::Watch {
            return;
        }
        if order == Order::Talk && random_below(2) == 0 {
            self.record(Event::Types);
            client
                .send(json!({"action": "typing", "is_typing": true}))
                .await;
        }
        let asked_us = self.shared().witness.now_us();
        client
            .send(json!({"action": "fetch_messages", "limit": PAGE,
                "request_id": asked_us.to_string()}))
            .await;
    }

    async fn offer(&mut self, client: &Client) {
        let offers = self.outbox.offers(Instant::now());
        self.shared().sends += offers.len() as u64;
        for offer in offers {
            let name = offer.name;
            self.record(Event::Offered { name: name.clone() });
            let action = match offer.what {
                What::Message => json!({"action": "send_message", "content": name,
                    "local_id": name, "retry": offer.retry}),
                What::Edit(message) => json!({"action": "edit_message", "content": name,
                    "local_id": name, "message_id": message.id.to_string()}),
                What::Delete(message) => json!({"action": "delete_message", "local_id": name,
                    "message_id": message.id.to_string()}),
            };
            client.send(action).await;
        }
        self.share_unanswered();
    }

    // --- frames ---

    async fn on_frame(&mut self, frame: &Value, client: &Client) {
        match frame["type"].as_str().unwrap_or_default() {
            "chat_message" => self.on_message(frame),
            "message.edited" => self.on_change(frame, "edited_by"),
            "message.deleted" => self.on_change(frame, "deleted_by"),
            "message.failed" => self.on_failed(frame),
            "hello" => self.on_hello(frame),
            "live" => self.go_live(client).await,
            "stored" => self.on_stored(&frame["epoch"], &frame["up_to_id"]),
            "resync" => {
                self.on_resync(frame);
                if self.shared().live {
                    self.offer(client).await;
                }
            }
            "gap" => {
                let (from, to) = (place(&frame["from"]), place(&frame["to"]));
                self.record(Event::Gap { from, to });
            }
            "reconnect" => {
                let after = frame["after_ms"].as_u64().unwrap_or_default();
                self.move_at = Some(Instant::now() + Duration::from_millis(after));
            }
            "error" if frame["action"] == "edit_message" || frame["action"] == "delete_message" => {
                self.on_change_refused(frame);
            }
            "error" if is_cut(&frame["code"]) => self.record(Event::Cut),
            "message.status" if frame["status"] == "failed" => {
                let position = place(&frame["message_id"]);
                self.record(Event::Failed { position });
            }
            "messages_fetched" => self.on_page(frame),
            kind @ ("message.status" | "user_status" | "typing" | "read" | "receipts")
                if self.identity.lively =>
            {
                self.on_ephemeral(kind, frame);
            }
            "user_status" => self.count_offline(frame),
            _ => {}
        }
    }

    fn on_page(&self, frame: &Value) {
        let asked = frame["request_id"].as_str().unwrap_or_default();
        let rows = frame["messages"].as_array().into_iter().flatten();
        self.record(Event::Paged {
            asked_us: asked.parse().expect("the server repeats what it was asked"),
            ids: rows.map(|row| place(&row["id"])).collect(),
        });
    }

    /// Who reads history at the end comes and goes.
    fn count_offline(&self, frame: &Value) {
        if frame["status"] == "offline" && frame["user_id"] != READER {
            self.shared().offline_seen += 1;
        }
    }

    fn on_ephemeral(&self, kind: &str, frame: &Value) {
        let user = || frame["user_id"].as_str().unwrap_or_default().to_owned();
        match kind {
            "message.status" => self.record(Event::Status {
                message: place(&frame["message_id"]),
                is_read: frame["status"] == "read",
            }),
            "user_status" => {
                self.count_offline(frame);
                let is_online = frame["status"] == "online";
                let user = user();
                self.record(Event::Presence { user, is_online });
            }
            "typing" => {
                let is_typing = frame["is_typing"] == true;
                let user = user();
                self.record(Event::Typing { user, is_typing });
            }
            "read" if user() != self.identity.user => {
                let ids = frame["message_ids"].as_array().into_iter().flatten();
                self.record(Event::ReadBy {
                    user: user(),
                    up_to: ids.map(place).max().unwrap_or_default(),
                });
            }
            _ => self.on_receipts(frame),
        }
    }

    fn on_receipts(&self, frame: &Value) {
        let read = frame["read"].as_object().into_iter().flatten();
        for (user, id) in read.filter(|(user, _)| **user != self.identity.user) {
            let delivered = &frame["delivered"][user];
            self.record(Event::Cursor {
                user: user.clone(),
                read: Some(place(id)),
                delivered: (!delivered.is_null()).then(|| place(delivered)),
            });
        }
    }

    fn on_message(&mut self, frame: &Value) {
        let message = &frame["message"];
        let told = told(message);
        self.newest = self.newest.max(told.position);
        let own = told.sender == self.identity.user;
        let repeated = own && self.outbox.is_repeated(&told.content);
        if own {
            self.outbox.acknowledge(&told.content, told.position);
            self.shared().acknowledged += 1;
            self.share_unanswered();
        }
        self.reach(told.position);
        if repeated {
            self.record(Event::Answer(told));
        } else {
            self.since = self.since.max(told.position);
            self.record(Event::Message(told));
        }
    }

    fn on_change(&mut self, frame: &Value, sender: &str) {
        let text = |field: &str| frame[field].as_str().unwrap_or_default().to_owned();
        let change = Change {
            position: place(&frame["position"]),
            message: place(&frame["message_id"]),
            sender: text(sender),
            name: text("local_id"),
            shows: text("content"),
        };
        let own = change.sender == self.identity.user;
        let repeated = own && self.outbox.is_repeated(&change.name);
        if own {
            self.outbox.acknowledge(&change.name, change.position);
            self.shared().acknowledged += 1;
            self.share_unanswered();
        }
        self.reach(change.position);
        if repeated {
            self.record(Event::ChangeAnswered(change));
        } else {
            self.since = self.since.max(change.position);
            self.record(Event::Changed(change));
        }
    }

    fn reach(&self, position: Position) {
        let mut shared = self.shared();
        shared.reached = shared.reached.max(position);
    }

    /// It does not say which one.
    fn on_change_refused(&mut self, frame: &Value) {
        let pause = frame["retry_after_ms"].as_u64().map(Duration::from_millis);
        let again = Instant::now() + pause.unwrap_or(UNKNOWN_PAUSE);
        self.shared().refusal = Some(frame.clone());
        let code = frame["code"].as_str().unwrap_or_default().to_owned();
        if frame["retryable"] == true {
            self.record(Event::PutOff { name: None, code });
            self.outbox.offer_changes_again(again);
            self.shared().put_off += 1;
        } else {
            self.outbox.changes_refused(again);
            self.record(Event::Refused { name: None, code });
        }
        self.share_unanswered();
    }

    fn on_failed(&mut self, frame: &Value) {
        let content = frame["local_id"].as_str().unwrap_or_default();
        self.shared().refusal = Some(frame.clone());
        let code = frame["code"].as_str().unwrap_or_default().to_owned();
        let name = Some(content.to_owned());
        if frame["retryable"] == true {
            self.record(Event::PutOff { name, code });
            let pause = frame["retry_after_ms"].as_u64().map(Duration::from_millis);
            let again = Instant::now() + pause.unwrap_or(UNKNOWN_PAUSE);
            self.outbox.offer_again(content, again);
            self.shared().put_off += 1;
        } else {
            self.outbox.give_up(content);
            self.record(Event::Refused { name, code });
        }
    }

    /// Where this client was survived, or a `resync` follows.
    fn on_hello(&mut self, frame: &Value) {
        let (epoch, now) = (frame["epoch"].as_u64(), Instant::now());
        let is_durable = frame["durable"] == true;
        if self.outbox.greeted(epoch, is_durable) {
            self.outbox.lost_after(self.since, now);
        }
        self.on_stored(&frame["epoch"], &frame["stored_id"]);
        self.outbox.offer_all_again(now);
    }

    fn on_stored(&mut self, epoch: &Value, up_to: &Value) {
        let forgotten = self.outbox.stored(epoch.as_u64(), place(up_to));
        for (name, position) in forgotten {
            self.record(Event::Stored { name, position });
        }
        self.share_unanswered();
    }

    fn on_resync(&mut self, frame: &Value) {
        let lost_after = place(&frame["lost_after"]);
        self.since = lost_after;
        self.newest = self.newest.min(lost_after);
        self.shared().reached = lost_after;
        let epoch = frame["epoch"].as_u64();
        self.outbox.fell_back(epoch, lost_after, Instant::now());
        self.share_unanswered();
        self.record(Event::Resync { lost_after });
    }

    // --- the recording ---

    fn record(&self, event: Event) {
        self.shared().witness.record(event);
    }

    fn share_unanswered(&self) {
        let (unanswered, unstored) = (self.outbox.unanswered(), self.outbox.unstored());
        let oldest = self.outbox.oldest();
        let mut shared = self.shared();
        shared.oldest = oldest;
        shared.unanswered = unanswered;
        shared.unstored = unstored;
    }

    fn shared(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn is_cut(code: &Value) -> bool {
    code == "resume_lost" || code == "resume_too_old"
}

/// A message, in its turn or again.
pub(super) fn told(message: &Value) -> Told {
    let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
    Told {
        position: place(&message["id"]),
        sender: text("sender_id"),
        content: text("local_id"),
        shows: text("content"),
    }
}

pub(super) fn place(value: &Value) -> Position {
    let text = value.as_str().unwrap_or_default();
    let place = Position::parse(text).or_else(|| MessageId::parse(text).map(Position::of));
    place.unwrap_or_else(|| panic!("the server names a place {value}"))
}

/// By the system's chance.
pub(super) fn random_below(bound: u64) -> u64 {
    RandomState::new().hash_one(()) % bound.max(1)
}
