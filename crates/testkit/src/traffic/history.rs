//! Reads a conversation to its end, as any client could.

use std::time::Duration;

use parlance_protocol::Position;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{directory::Directory, recording::Told};
use crate::{
    client::{Client, Incoming},
    dial::{DEADLINE, Dial, TokenPlace},
    server::SECRET,
    tokens::Claims,
};

/// Who reads.
pub(super) const READER: &str = "reader";

/// Everything, oldest first. Panics when the deadline passes without an answer.
pub(super) async fn read(directory: &Directory, conversation: &str) -> Vec<Told> {
    let token = Claims::of(READER).sign(SECRET);
    let give_up = Instant::now() + DEADLINE * 2;
    loop {
        match attempt(directory, conversation, &token).await {
            Ok(history) => return history,
            Err(why) => assert!(
                Instant::now() < give_up,
                "the history of {conversation} cannot be read: {why}"
            ),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn attempt(
    directory: &Directory,
    conversation: &str,
    token: &str,
) -> Result<Vec<Told>, String> {
    let (_, address) = directory.pick(0).ok_or("no gateway is up")?;
    let dial = Dial::new(address, conversation).token(token, TokenPlace::Query);
    let mut client = dial.try_connect().await?;
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

fn told(row: &Value) -> Told {
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    Told {
        position: Position::parse(&text("id")).expect("a row has an id"),
        sender: text("sender_id"),
        content: text("content"),
    }
}
