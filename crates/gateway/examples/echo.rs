//! A gateway that sends every message back, for testing its frames: listener, shards and sockets are
//! the product's, the rooms are not (see `shard/echo.rs`). Anybody may come in.
//!
//! Prints the address to connect to, and ends with its standard input. `make autobahn` starts it.

use std::{
    error::Error,
    io::{self, Write, stdout},
    num::NonZeroUsize,
    sync::Arc,
};

use parlance_core::{
    identity::{Conversations, Identity},
    ports::{Denied, Verifier},
    settings::Settings,
};
use parlance_embedded::{Embedded, Options};
use parlance_gateway::{
    GatewayConfig, Hooks, Listeners, Running, clock::Clock, shard::spawn_shards,
};
use parlance_protocol::{UnixMicros, UserId};
use parlance_traces::Traces;
use tokio::net::TcpListener;

/// The longest messages of the tests, in bytes.
const FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Finds every token good.
struct Anybody;

impl Verifier for Anybody {
    fn verify(&self, _: &str, _: UnixMicros) -> Result<Identity, Denied> {
        Ok(Identity {
            user: UserId::new("anybody").expect("it is short and plain"),
            username: "anybody".into(),
            expires_at: UnixMicros(u64::MAX),
            conversations: Conversations::All,
            moderator: false,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Nothing is kept: no room asks the log for anything.
    let directory = tempfile::tempdir()?;
    let backend = Arc::new(Embedded::open(directory.path(), Options::default())?);
    let (clock, verifier) = (Clock::start(), Arc::new(Anybody));
    let settings = Arc::new(Settings {
        frame_bytes: FRAME_BYTES,
        ..Settings::default()
    });
    let shards = spawn_shards(
        NonZeroUsize::MIN,
        &backend,
        &verifier,
        &settings,
        clock,
        &Traces::off(),
    )?;
    let listeners = Listeners {
        public: TcpListener::bind("127.0.0.1:0").await?,
        admin: TcpListener::bind("127.0.0.1:0").await?,
    };
    let config = GatewayConfig::default();
    let running = Running::before(shards, listeners, config, clock, verifier, hooks())?;
    let address = running.local_addr();
    writeln!(stdout(), "ws://{address}/conversations/echo/?token=any")?;
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}

fn hooks() -> Hooks {
    Hooks {
        backend_health: Box::new(|| Ok(())),
        metrics_text: Box::new(String::new),
        pages: None,
        peers: None,
        leave: None,
    }
}
