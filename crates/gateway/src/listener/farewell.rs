//! The end of a connection that no shard takes: the last bytes, then an orderly end of TCP.
//!
//! A socket that is closed while something unread lies in its buffer resets the connection, and the
//! peer may lose the answer that was just written. So the sending side is closed first, and what
//! the peer still sends is read and dropped, within bounds.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A peer that sends more after the last answer is cut.
const DROPPED_BYTES: u64 = 64 * 1024;

/// Writes `last`, ends the sending side, and waits for the peer to end its own, `within` at most.
pub(super) async fn say_and_end(mut stream: TcpStream, last: &[u8], within: Duration) {
    let end = async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(DROPPED_BYTES), &mut tokio::io::sink()).await
    };
    match timeout(within, end).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the peer of a refused connection was gone"),
        Err(_) => tracing::debug!("the peer of a refused connection did not end in time"),
    }
}
