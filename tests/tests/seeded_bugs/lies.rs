//! What the proxies say instead of the truth: each function is one bug.
//!
//! Every lie leaves the reader of history alone unless it is about reading, and is told a bounded
//! number of times or of something that is told again, so that clients get answers in the end.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parlance_testkit::tokens::Claims;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::liar::{Lie, Line, Said};

/// Which of many the lie is about.
struct Rarely {
    every: u64,
    left: u64,
    asked: u64,
}

impl Rarely {
    fn new(every: u64, at_most: u64) -> Self {
        Self {
            every,
            left: at_most,
            asked: 0,
        }
    }

    fn now(&mut self) -> bool {
        self.asked += 1;
        let now = self.left > 0 && self.asked.is_multiple_of(self.every);
        self.left -= u64::from(now);
        now
    }
}

/// Lies to members only, about what gateways say.
fn to_members(mut lie: impl FnMut(&Line, Value) + Send + 'static) -> Lie {
    Box::new(move |line, said| match said {
        Said::Server(frame) if !line.is_reader() => lie(line, frame),
        said @ (Said::Opening(_) | Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

/// Lies to gateways, about what members say.
fn of_members(mut lie: impl FnMut(&Line, Value) + Send + 'static) -> Lie {
    Box::new(move |line, said| match said {
        Said::Client(frame) if !line.is_reader() => lie(line, frame),
        said @ (Said::Opening(_) | Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

fn is_message(frame: &Value) -> bool {
    frame["type"] == "chat_message"
}

fn is_own(line: &Line, frame: &Value) -> bool {
    is_message(frame) && frame["message"]["sender_id"] == *line.user
}

fn is_of_others(line: &Line, frame: &Value) -> bool {
    is_message(frame) && frame["message"]["sender_id"] != *line.user
}

fn id_of(message: &Value) -> u64 {
    let id = message["message"]["id"].as_str().unwrap();
    id.parse().unwrap()
}

fn renumber(message: &mut Value, id: u64) {
    message["message"]["id"] = json!(id.to_string());
    message["position"] = json!(id.to_string());
}

// --- none ---

pub(crate) fn none() -> Lie {
    Box::new(|line, said| line.pass(said))
}

// --- the live stream ---

pub(crate) fn drops_a_message() -> Lie {
    let mut rarely = Rarely::new(100, 5);
    to_members(move |line, frame| {
        if !(is_of_others(line, &frame) && rarely.now()) {
            line.to_client(&frame);
        }
    })
}

pub(crate) fn tells_twice() -> Lie {
    let mut rarely = Rarely::new(100, 5);
    to_members(move |line, frame| {
        line.to_client(&frame);
        if is_of_others(line, &frame) && rarely.now() {
            line.to_client(&frame);
        }
    })
}

pub(crate) fn swaps_neighbours() -> Lie {
    let (mut rarely, mut held) = (Rarely::new(50, 5), HashMap::new());
    to_members(move |line, frame| {
        if let Some(held) = held.remove(&line.number) {
            line.to_client(&frame);
            line.to_client(&held);
        } else if is_of_others(line, &frame) && rarely.now() {
            held.insert(line.number, frame);
        } else {
            line.to_client(&frame);
        }
    })
}

pub(crate) fn shows_the_content_of_another() -> Lie {
    let (mut rarely, mut last) = (Rarely::new(50, 5), json!("none"));
    to_members(move |line, mut frame| {
        if is_of_others(line, &frame) {
            let content = frame["message"]["content"].clone();
            if rarely.now() {
                frame["message"]["content"] = last.clone();
            }
            last = content;
        }
        line.to_client(&frame);
    })
}

pub(crate) fn tells_another_message_in_its_place() -> Lie {
    let (mut rarely, mut last) = (Rarely::new(50, 5), HashMap::new());
    to_members(move |line, mut frame| {
        if is_of_others(line, &frame) {
            let message = frame["message"].clone();
            let before = last.insert(line.number, message);
            if let Some(mut before) = before
                && rarely.now()
            {
                before["id"] = frame["message"]["id"].clone();
                frame["message"] = before;
            }
        }
        line.to_client(&frame);
    })
}

pub(crate) fn invents_a_message() -> Lie {
    let mut rarely = Rarely::new(50, 5);
    to_members(move |line, mut frame| {
        line.to_client(&frame);
        if is_of_others(line, &frame) && rarely.now() {
            let id = id_of(&frame);
            renumber(&mut frame, id + 1);
            let name = json!(format!("never-said-{id}"));
            frame["message"]["local_id"] = name.clone();
            frame["message"]["content"] = name;
            line.to_client(&frame);
        }
    })
}

pub(crate) fn drops_edits() -> Lie {
    to_members(move |line, frame| {
        let is_edit = frame["type"] == "message.edited";
        if !is_edit || frame["edited_by"] == *line.user {
            line.to_client(&frame);
        }
    })
}

// --- resuming ---

/// Cuts lines, and lets the next one go on elsewhere than was asked.
fn resumes(at: fn(u64) -> u64) -> Lie {
    let mut rarely = Rarely::new(30, 20);
    Box::new(move |line, said| match said {
        Said::Opening(opening) if !line.is_reader() => {
            let since: Option<u64> = opening.get("since").and_then(|text| text.parse().ok());
            if let Some(since) = since.filter(|since| *since > 1) {
                opening.set("since", at(since).to_string());
            }
        }
        Said::Server(frame) if is_of_others(line, &frame) && !line.is_reader() => {
            line.to_client(&frame);
            if rarely.now() {
                line.cut();
            }
        }
        said @ (Said::Opening(_) | Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

pub(crate) fn resumes_too_late() -> Lie {
    resumes(|since| since + 1)
}

pub(crate) fn resumes_too_early() -> Lie {
    resumes(|since| since - 1)
}

pub(crate) fn swaps_after_a_reconnect() -> Lie {
    let mut rarely = Rarely::new(30, 20);
    let (mut resumed, mut held) = (HashSet::new(), HashMap::new());
    Box::new(move |line, said| match said {
        Said::Opening(opening) if !line.is_reader() && opening.get("since") != Some("0") => {
            resumed.insert(line.number);
        }
        Said::Server(frame) if is_of_others(line, &frame) && !line.is_reader() => {
            if let Some(held) = held.remove(&line.number) {
                line.to_client(&frame);
                line.to_client(&held);
            } else if resumed.remove(&line.number) {
                held.insert(line.number, frame);
            } else {
                line.to_client(&frame);
                if rarely.now() {
                    line.cut();
                }
            }
        }
        said @ (Said::Opening(_) | Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

// --- acknowledgements and refusals ---

/// What is acknowledged never reaches the gateway.
pub(crate) fn acknowledges_before_it_appends() -> Lie {
    let (mut rarely, mut newest) = (Rarely::new(20, 5), HashMap::new());
    Box::new(move |line, said| match said {
        Said::Server(frame) if is_message(&frame) => {
            let newest = newest.entry(line.conversation.clone()).or_default();
            *newest = id_of(&frame).max(*newest);
            line.to_client(&frame);
        }
        Said::Client(frame) if frame["action"] == "send_message" && rarely.now() => {
            let id = newest.get(&line.conversation).copied().unwrap_or_default() + 1;
            line.to_client(&acknowledgement(line, &frame, id));
        }
        said @ (Said::Opening(_) | Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

fn acknowledgement(line: &Line, send: &Value, id: u64) -> Value {
    let message = json!({"id": id.to_string(), "sender_id": line.user, "local_id": send["local_id"],
        "content": send["content"], "timestamp": "2026-01-01T00:00:00.000Z", "status": "sent"});
    json!({"type": "chat_message", "message": message, "position": id.to_string()})
}

/// A gateway that does not know a retry from a new message.
pub(crate) fn renames_retries() -> Lie {
    const AGAIN: &str = "+again";
    let mut rarely = Rarely::new(20, 10);
    Box::new(move |line, said| match said {
        Said::Client(mut frame) if frame["retry"] == true => {
            let name = frame["local_id"].as_str().unwrap();
            frame["local_id"] = json!(format!("{name}{AGAIN}"));
            line.to_server(&frame);
        }
        Said::Server(mut frame) if is_message(&frame) => {
            let name = frame["message"]["local_id"].as_str();
            if let Some(name) = name.and_then(|name| name.strip_suffix(AGAIN)) {
                frame["message"]["local_id"] = json!(name);
            }
            if is_own(line, &frame) && !line.is_extended && rarely.now() {
                line.cut();
            } else {
                line.to_client(&frame);
            }
        }
        said @ (Said::Opening(_) | Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

fn acknowledges_elsewhere(place: fn(u64) -> u64) -> Lie {
    let mut rarely = Rarely::new(30, 5);
    to_members(move |line, mut frame| {
        if is_own(line, &frame) && rarely.now() {
            let id = id_of(&frame);
            renumber(&mut frame, place(id));
        }
        line.to_client(&frame);
    })
}

pub(crate) fn acknowledges_as_the_next() -> Lie {
    acknowledges_elsewhere(|id| id + 1)
}

pub(crate) fn acknowledges_as_an_older() -> Lie {
    acknowledges_elsewhere(|id| id.saturating_sub(25).max(1))
}

pub(crate) fn refuses_what_it_appended() -> Lie {
    let mut rarely = Rarely::new(30, 5);
    to_members(move |line, frame| {
        if is_own(line, &frame) && rarely.now() {
            let local_id = &frame["message"]["local_id"];
            line.to_client(&json!({"type": "message.failed", "local_id": local_id,
                "error": "content is empty", "code": "invalid_content", "retryable": false}));
        } else {
            line.to_client(&frame);
        }
    })
}

pub(crate) fn swallows_a_send() -> Lie {
    let mut rarely = Rarely::new(5, 1);
    of_members(move |line, frame| {
        if !(frame["action"] == "send_message" && rarely.now()) {
            line.to_server(&frame);
        }
    })
}

pub(crate) fn appends_in_another_order() -> Lie {
    let (mut rarely, mut held) = (Rarely::new(30, 5), HashMap::new());
    of_members(move |line, frame| {
        if frame["action"] != "send_message" {
            line.to_server(&frame);
        } else if let Some(held) = held.remove(&line.number) {
            line.to_server(&frame);
            line.to_server(&held);
        } else if rarely.now() {
            held.insert(line.number, frame);
        } else {
            line.to_server(&frame);
        }
    })
}

/// Loses acknowledgements while `loses` is so, and gives a permit for each that is lost.
pub(crate) fn loses_acknowledgements(loses: Arc<AtomicBool>, lost: Arc<Semaphore>) -> Lie {
    to_members(move |line, frame| {
        if is_own(line, &frame) && loses.load(Ordering::SeqCst) {
            lost.add_permits(1);
        } else {
            line.to_client(&frame);
        }
    })
}

// --- losses ---

/// A gateway that does not notice another life of Redis.
pub(crate) fn hides_losses() -> Lie {
    let mut epochs: HashMap<String, Value> = HashMap::new();
    to_members(move |line, mut frame| {
        if frame["type"] == "hello" {
            let first = epochs.entry(line.conversation.clone());
            let first = first.or_insert_with(|| frame["epoch"].clone());
            frame["epoch"] = first.clone();
        }
        if frame["type"] != "resync" {
            line.to_client(&frame);
        }
    })
}

/// A gateway that takes what is acknowledged for stored.
pub(crate) fn announces_as_stored() -> Lie {
    let mut epochs: HashMap<usize, Value> = HashMap::new();
    to_members(move |line, mut frame| {
        if frame["type"] == "hello" || frame["type"] == "resync" {
            epochs.insert(line.number, frame["epoch"].clone());
        }
        if frame["type"] == "hello" {
            frame["durable"] = json!(true);
        }
        line.to_client(&frame);
        if line.is_extended && is_own(line, &frame) {
            line.to_client(&json!({"type": "stored", "epoch": epochs[&line.number],
                "up_to_id": frame["message"]["id"]}));
        }
    })
}

// --- pages ---

pub(crate) fn leaves_a_row_out_of_pages() -> Lie {
    to_members(move |line, mut frame| {
        if let Some(rows) = frame["messages"].as_array_mut()
            && rows.len() > 2
        {
            rows.remove(1);
        }
        line.to_client(&frame);
    })
}

/// Of the second page on, the first message is lost.
pub(crate) fn loses_a_row_between_pages() -> Lie {
    let mut paging = HashSet::new();
    Box::new(move |line, said| match said {
        Said::Server(mut frame) if line.is_reader() => {
            if let Some(rows) = frame["messages"].as_array_mut()
                && !paging.insert(line.number)
                && rows.len() > 1
            {
                rows.pop();
            }
            line.to_client(&frame);
        }
        said @ (Said::Opening(_) | Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

// --- what others do ---

pub(crate) fn takes_a_receipt_back() -> Lie {
    const FAR: u64 = 10;
    let mut far = HashSet::new();
    to_members(move |line, mut frame| {
        if frame["type"] == "read" && frame["user_id"] != *line.user {
            let reader = frame["user_id"].as_str().unwrap().to_owned();
            let ids = frame["message_ids"].as_array().unwrap().iter();
            let newest = ids.filter_map(|id| id.as_str()?.parse().ok()).max();
            if far.contains(&(line.number, reader.clone())) {
                frame["message_ids"] = json!(["1"]);
            } else if newest > Some(FAR) {
                far.insert((line.number, reader));
            }
        }
        line.to_client(&frame);
    })
}

pub(crate) fn does_not_tell_who_is_online() -> Lie {
    to_members(move |line, frame| {
        if frame["type"] != "user_status" || frame["status"] != "online" {
            line.to_client(&frame);
        }
    })
}

pub(crate) fn tells_a_user_is_gone() -> Lie {
    to_members(move |line, mut frame| {
        line.to_client(&frame);
        if frame["type"] == "user_status" && frame["status"] == "online" {
            frame["status"] = json!("offline");
            line.to_client(&frame);
        }
    })
}

pub(crate) fn does_not_end_typing() -> Lie {
    to_members(move |line, frame| {
        if frame["type"] != "typing" || frame["is_typing"] == true {
            line.to_client(&frame);
        }
    })
}

// --- access ---

pub(crate) fn lets_tokens_run_on(secret: &'static str) -> Lie {
    Box::new(move |line, said| match said {
        Said::Opening(opening) => opening.set("token", Claims::of(&line.user).sign(secret)),
        said @ (Said::Client(_) | Said::Server(_)) => line.pass(said),
    })
}

pub(crate) fn refuses_a_good_token() -> Lie {
    const UNAUTHORIZED: u16 = 4003;
    let mut rarely = Rarely::new(100, 2);
    to_members(move |line, frame| {
        line.to_client(&frame);
        if is_of_others(line, &frame) && rarely.now() {
            line.close(UNAUTHORIZED);
        }
    })
}
