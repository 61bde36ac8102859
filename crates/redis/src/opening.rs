//! How a room is opened: what it begins with is read by one script, which rooms that open at the same
//! time share (`gather`).

use std::rc::Rc;

use parlance_core::{ports::Unavailable, room::Opened, store::Store};
use parlance_protocol::{ConversationId, UserId};
use redis::{FromRedisValue, Value};
use tokio::time::Instant;

use crate::{
    answer,
    asking::PATIENCE,
    chores,
    gather::{Gathering, Part, What},
    io::Io,
    link::{CallError, Run},
    partition::Keys,
    receipts::{self, Known},
    time::now_micros,
};

/// See [`parlance_core::ports::Opening::open`]; the subscription stands.
pub(crate) async fn open<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    cursors: usize,
) -> Result<Opened, Unavailable> {
    let keys = Keys::of(conversation);
    let ([meta, present, known], run) = ask(io, conversation, &keys, cursors).await?;
    let meta = chores::take_meta(io, conversation, &keys, meta, &run).await?;
    io.table.saw(conversation, meta.head);
    let lineage = io.lineage(conversation, &meta).await?;
    let known = Known::of(known)?;
    let cursors = if known.is_recalled || io.store.is_none() {
        receipts::named(known.cursors, cursors)
    } else {
        receipts::cursors(io, conversation, cursors).await?
    };
    Ok(Opened {
        head: meta.head(lineage, io.store.is_some()),
        present: users(io, conversation, present)?,
        cursors,
    })
}

/// The script's three answers, and the run that gave them.
async fn ask<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    keys: &Keys,
    cursors: usize,
) -> Result<([Value; 3], Run), Unavailable> {
    let deadline = Instant::now() + PATIENCE;
    let speech = io.shards.speech();
    while Instant::now() < deadline {
        let link = io.node(keys.partition)?.link().await?;
        let letters = (io.log_letter(), speech.letter());
        let mode = format!(
            "{}{} {cursors} {} {}",
            letters.0,
            letters.1,
            now_micros(),
            io.retention_ms()
        );
        let answer = Gathering::call(&link, What::Opening, &mode, speech, part(keys)).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                io.before_asking_again(error).await?;
                continue;
            }
        };
        match answer::need(&answer) {
            Some(need) => Box::pin(io.satisfy(conversation, keys, need)).await?,
            None => {
                let three = <[Value; 3]>::try_from(answer::list(answer)?);
                let three = three.map_err(|_| answer::unexpected("no opening"))?;
                return Ok((three, link.run.clone()));
            }
        }
    }
    Err(Unavailable::new(
        "Redis: the question went back and forth too long",
    ))
}

fn part(keys: &Keys) -> Part {
    let mut part = Part::new(keys.partition, 1);
    for key in [
        &keys.epoch,
        &keys.meta,
        &keys.log,
        &keys.presence,
        &keys.read,
        &keys.delivered,
    ] {
        part.keys.push(key.as_bytes());
    }
    part.arguments.push(keys.channel.as_bytes());
    part
}

/// Who is present by a conversation's hash. Those whom only the dead hold are taken out of it.
fn users<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    hash: Value,
) -> Result<Vec<UserId>, CallError> {
    let all: Vec<(String, String)> = Vec::from_redis_value(hash)
        .map_err(|error| CallError::Refused(error.to_string().into()))?;
    let mut has_dead = false;
    let mut users = Vec::with_capacity(all.len());
    for (user, holders) in all {
        let mut tokens = holders.split(' ');
        let lives = tokens.clone().any(|token| !io.leases.is_dead(token));
        has_dead |= tokens.any(|token| io.leases.is_dead(token));
        if lives {
            users.push(UserId::new(&user).map_err(|_| answer::unexpected("a user"))?);
        }
    }
    if has_dead {
        let (io, conversation) = (Rc::clone(io), conversation.clone());
        tokio::task::spawn_local(async move {
            chores::take_out(&io, &conversation, &io.leases.dead()).await;
        });
    }
    Ok(users)
}
