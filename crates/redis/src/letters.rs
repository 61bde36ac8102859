//! Dead letters: what the store refused, as a person finds it, gives it back or drops it.

use std::{collections::HashMap, fmt, rc::Rc};

use parlance_core::{
    ports::Unavailable,
    store::{Partition, Store},
};
use redis::{Value, cmd};

use crate::{
    answer,
    io::Io,
    link::{Call, CallError},
    partition, scripts,
};

/// Letters of one reading.
const PER_READING: usize = 200;

/// Where a dead letter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterId {
    partition: Partition,
    id: Box<str>,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:02x}/{}", self.partition.0, self.id)
    }
}

impl LetterId {
    /// As it is shown: `p9b/1795723119978-0`. `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, id) = text.strip_prefix('p')?.split_once('/')?;
        let (ms, seq) = id.split_once('-')?;
        ms.parse::<u64>().ok()?;
        seq.parse::<u64>().ok()?;
        let digits = (partition.len() == 2).then_some(partition)?;
        Some(Self {
            partition: Partition(u8::from_str_radix(digits, 16).ok()?),
            id: id.into(),
        })
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it is.
    pub id: LetterId,
    /// Its conversation, as far as it can be read.
    pub conversation: String,
    /// What it says, as it waited to be stored.
    pub text: String,
    /// Why the store refused it.
    pub reason: String,
}

/// All of them, partition by partition, the oldest first.
pub(crate) async fn list<S: Store>(io: &Rc<Io<S>>) -> Result<Vec<Letter>, Unavailable> {
    let mut letters = Vec::new();
    for partition in partition::all() {
        let mut from = "-".to_owned();
        loop {
            let found = read(io, partition, &from).await?;
            let is_last = found.len() < PER_READING;
            if let Some(last) = found.last() {
                from = format!("({}", last.id.id);
            }
            letters.extend(found);
            if is_last {
                break;
            }
        }
    }
    Ok(letters)
}

async fn read<S: Store>(
    io: &Rc<Io<S>>,
    partition: Partition,
    from: &str,
) -> Result<Vec<Letter>, Unavailable> {
    let link = io.node(partition)?.link().await?;
    let mut read = cmd("XRANGE");
    read.arg(partition::dead_letters_key(partition));
    read.arg(from).arg("+").arg("COUNT").arg(PER_READING);
    let entries = answer::list(link.send(&read).await?)?;
    let letters = entries.into_iter().map(|entry| letter(partition, entry));
    Ok(letters.collect::<Result<_, CallError>>()?)
}

fn letter(partition: Partition, entry: Value) -> Result<Letter, CallError> {
    let mut parts = answer::list(entry)?.into_iter();
    let mut next = || {
        parts
            .next()
            .ok_or_else(|| answer::unexpected("half a letter"))
    };
    let id = answer::text(next()?)?.into();
    let fields = answer::list(next()?)?.into_iter().map(|field| {
        let bytes = answer::bytes(field)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    let fields: Vec<String> = fields.collect::<Result<_, CallError>>()?;
    let pairs = fields.chunks_exact(2);
    let mut fields: HashMap<_, _> = pairs.map(|pair| (&*pair[0], pair[1].clone())).collect();
    let mut take = |name| fields.remove(name).unwrap_or_default();
    Ok(Letter {
        id: LetterId { partition, id },
        conversation: take("conversation"),
        text: take("text"),
        reason: take("reason"),
    })
}

/// Gives it to the persister again. Answers whether there was one.
pub(crate) async fn retry<S: Store>(io: &Rc<Io<S>>, id: &LetterId) -> Result<bool, Unavailable> {
    let link = io.node(id.partition)?.link().await?;
    let (ingest, letters) = (
        partition::ingest_key(id.partition),
        partition::dead_letters_key(id.partition),
    );
    let call = Call::of(&scripts::REQUEUE, [&*ingest, &*letters]).with(&*id.id);
    Ok(answer::number(&link.call(&call).await?) == Some(1))
}

/// Forgets it for ever. Answers whether there was one.
pub(crate) async fn drop<S: Store>(io: &Rc<Io<S>>, id: &LetterId) -> Result<bool, Unavailable> {
    let link = io.node(id.partition)?.link().await?;
    let mut delete = cmd("XDEL");
    delete.arg(partition::dead_letters_key(id.partition));
    delete.arg(&*id.id);
    Ok(answer::number(&link.send(&delete).await?) == Some(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letters_id_is_read_as_it_is_shown() {
        let id = LetterId::parse("p9b/1795723119978-12").unwrap();
        assert_eq!(id.partition, Partition(0x9b));
        assert_eq!(id.to_string(), "p9b/1795723119978-12");
        for wrong in [
            "", "p9b", "9b/1-0", "p9/1-0", "p9bb/1-0", "p9b/1", "pzz/1-0", "p9b/a-0",
        ] {
            assert_eq!(LetterId::parse(wrong), None, "{wrong}");
        }
    }
}
