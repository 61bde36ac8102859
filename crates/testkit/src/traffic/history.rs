//! Reads a conversation to its end, as any client could.

use std::{net::SocketAddr, time::Duration};

use parlance_protocol::Position;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    directory::Directory,
    member,
    recording::{Told, root},
};
use crate::{
    client::{Client, Incoming},
    dial::{DEADLINE, Dial, TokenPlace},
    server::SECRET,
    tokens::Claims,
};

/// Who reads.
pub(super) const READER: &str = "reader";

/// Everything, oldest first, from any gateway. Panics when the deadline passes without an answer.
pub(super) async fn read(directory: &Directory, conversation: &str) -> Vec<Told> {
    insist(conversation, || async {
        match directory.pick(0) {
            Some((_, address)) => page_through(address, conversation).await,
            None => Err("no gateway is up".to_owned()),
        }
    })
    .await
}

/// Reads again, as any client would, what was refused or interrupted. Panics when that goes on.
pub async fn insist<Reading>(conversation: &str, read: impl Fn() -> Reading) -> Vec<Told>
where
    Reading: Future<Output = Result<Vec<Told>, String>>,
{
    let give_up = Instant::now() + DEADLINE * 2;
    loop {
        match read().await {
            Ok(history) => return history,
            Err(why) => assert!(
                Instant::now() < give_up,
                "the history of {conversation} cannot be read: {why}"
            ),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Everything in pages, oldest first, from this gateway.
///
/// # Errors
/// When a page is refused or does not come in time.
pub async fn page_through(address: SocketAddr, conversation: &str) -> Result<Vec<Told>, String> {
    let mut client = dial(address, conversation).try_connect().await?;
    let mut history: Vec<Told> = Vec::new();
    loop {
        let after = history.last().map_or(Position::ZERO, |told| told.position);
        let rows = page(&mut client, &after.id.to_string()).await?;
        if rows.is_empty() {
            client.close(1000).await;
            return Ok(history);
        }
        history.extend(rows.iter().rev().map(told));
    }
}

/// Everything that a client is told which has nothing yet, in its order, from this gateway.
///
/// # Errors
/// When something is left out, or does not come in time.
pub async fn replay(address: SocketAddr, conversation: &str) -> Result<Vec<Told>, String> {
    let dial = dial(address, conversation).extended().since("0");
    let mut client = dial.try_connect().await?;
    let mut told = Vec::new();
    loop {
        let next = tokio::time::timeout(DEADLINE, client.take());
        match next.await.map_err(|_| "no live")?.what {
            Incoming::Json(frame) => match frame["type"].as_str().unwrap_or_default() {
                "chat_message" => told.push(member::told(&frame["message"])),
                "message.edited" | "message.deleted" => {
                    let message = member::place(&frame["message_id"]);
                    let of: Option<&mut Told> =
                        told.iter_mut().find(|told| told.position == message);
                    let of = of.ok_or_else(|| format!("a change of nothing: {frame}"))?;
                    // An edit that follows a deletion changes nothing.
                    if !of.shows.is_empty() {
                        of.shows = frame["content"].as_str().unwrap_or_default().to_owned();
                    }
                }
                "live" => break,
                "gap" | "resync" | "error" => return Err(frame.to_string()),
                _ => {}
            },
            Incoming::Close(code, reason) => return Err(format!("closed: {code} {reason}")),
            Incoming::End => return Err("the stream ended".to_owned()),
            Incoming::Ping(_) | Incoming::Pong(_) => {}
        }
    }
    client.close(1000).await;
    Ok(told)
}

fn dial(address: SocketAddr, conversation: &str) -> Dial {
    let token = Claims::of(READER).sign(SECRET);
    Dial::new(address, conversation).token(&token, TokenPlace::Query)
}

async fn page(client: &mut Client, after: &str) -> Result<Vec<Value>, String> {
    let action = json!({"action": "fetch_messages", "after_id": after, "limit": 100});
    client.send(action).await;
    let answer = tokio::time::timeout(DEADLINE, async {
        loop {
            match client.take().await.what {
                Incoming::Json(frame) if frame["type"] == "messages_fetched" => return Ok(frame),
                Incoming::Json(frame) if frame["type"] == "error" => return Err(frame.to_string()),
                Incoming::Close(code, reason) => return Err(format!("closed: {code} {reason}")),
                Incoming::End => return Err("the stream ended".to_owned()),
                Incoming::Json(_) | Incoming::Ping(_) | Incoming::Pong(_) => {}
            }
        }
    });
    let page = answer.await.map_err(|_| "no answer")??;
    Ok(page["messages"].as_array().cloned().unwrap_or_default())
}

/// A row; it does not say what a deleted message was.
fn told(row: &Value) -> Told {
    let told = member::told(row);
    Told {
        content: root(&told.shows).to_owned(),
        ..told
    }
}
