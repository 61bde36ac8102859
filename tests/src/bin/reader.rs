//! A reader of one conversation as a process of its own, so that a test can stop it.
//!
//! `reader ADDRESS ROOM TOKEN COUNT` joins, says `joined`, takes COUNT messages that must have the
//! ids 1 to COUNT in this order, and says `complete`.

use std::{
    io::{Write, stdout},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use parlance_testkit::{
    client::Incoming,
    dial::{Dial, TokenPlace},
};

/// Clocks go on while this process is stopped.
const DEADLINE: Duration = Duration::from_secs(600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, room, token, count] = arguments.as_slice() else {
        bail!("usage: reader ADDRESS ROOM TOKEN COUNT");
    };
    let dial = Dial::new(address.parse()?, room).token(token, TokenPlace::Query);
    let mut client = dial.connect().await;
    client.fence().await;
    say("joined")?;
    for id in 1..=count.parse::<u64>()? {
        let expected = id.to_string();
        loop {
            let seen = client.next(DEADLINE).await.context("nothing came")?;
            client.seen.clear();
            match seen.what {
                Incoming::Json(frame) if frame["type"] == "chat_message" => {
                    let got = frame["message"]["id"].as_str();
                    ensure!(got == Some(&*expected), "{got:?} came where {id} belongs");
                    break;
                }
                Incoming::Close(code, reason) => bail!("closed with {code} {reason} before {id}"),
                Incoming::End => bail!("the stream ended before {id}"),
                Incoming::Json(_) | Incoming::Ping(_) | Incoming::Pong(_) => {}
            }
        }
    }
    say("complete")
}

fn say(word: &str) -> anyhow::Result<()> {
    let mut stdout = stdout().lock();
    writeln!(stdout, "{word}")?;
    Ok(stdout.flush()?)
}
