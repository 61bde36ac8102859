//! The public listener: accepts, speaks HTTP up to the upgrade, judges who may come in, and hands
//! the raw socket to the shard of its conversation.
//!
//! The order of judgement is fixed: caps of the node (503), shape (400, 404, 405, 426), origin
//! (403), token (upgraded, then 4003), access (4004), cap of the user (4201). Whoever started the
//! gateway may answer what would be a 404. Every connection answers one request. What it deliberately does not do: read WebSocket frames, or keep anything
//! of a connection that has become a member.

pub(crate) mod admission;
mod connection;
mod farewell;
#[cfg(all(any(fuzzing, test), not(feature = "echo")))]
pub(crate) mod fuzz;
mod handshake;
mod judge;
mod origin;
mod refusal;
mod token;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use parlance_telemetry::labels::{Accept, HttpStatus};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
};

use self::admission::Pass;
use crate::node::Node;

/// TCP asks a silent peer after this long, in case it is gone: the protocol's own heartbeats do the
/// same for members, but not while a shard has nothing to write.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long accepting rests when the system has no file descriptor or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection is counted against from its accept on.
pub(crate) struct Entry {
    connection: Pass,
    unverified: Pass,
}

/// Accepts until dropped; connections that are no members yet are cut then.
pub(crate) async fn run(listener: TcpListener, node: Arc<Node>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => begin(stream, peer, &node, &mut connections),
                Err(error) => rest_if_exhausted(&error).await,
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    }
}

fn begin(stream: TcpStream, peer: SocketAddr, node: &Arc<Node>, connections: &mut JoinSet<()>) {
    if let Err(error) = tune(&stream) {
        tracing::debug!(%peer, %error, "a connection ended before it began");
        return node.metrics.accepts.of(Accept::Gone).increment(1);
    }
    if let Some(entry) = enter(node) {
        connections.spawn(connection::serve(stream, peer, entry, Arc::clone(node)));
        return;
    }
    node.metrics.accepts.of(Accept::Overloaded).increment(1);
    if let Some(pass) = node.refused.enter() {
        let unavailable = node.metrics.http_responses.of(HttpStatus::Unavailable);
        unavailable.increment(1);
        let linger = node.config.deadlines.linger;
        connections.spawn(async move {
            let answer = refusal::busy_unasked();
            farewell::say_and_end(stream, answer.as_bytes(), linger).await;
            drop(pass);
        });
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn enter(node: &Node) -> Option<Entry> {
    Some(Entry {
        connection: node.connections.enter()?,
        unverified: node.unverified.enter()?,
    })
}

/// A peer that gave up in the queue is no reason to wait; an exhausted system is.
async fn rest_if_exhausted(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "no connection can be accepted at present");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
