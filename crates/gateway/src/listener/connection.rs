//! One connection from its accept until a shard has it or it has ended. Runs as a task that ends
//! then; nothing of it, and nothing of hyper, stays with a member.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use hyper::{
    Request,
    body::Incoming,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_PROTOCOL},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parlance_core::room::retry_after_reason;
use parlance_protocol::CloseCode;
use parlance_telemetry::labels::{Accept, Code, HttpStatus, Initiator, Label};
use tokio::{net::TcpStream, time::timeout};

use super::{
    Entry,
    farewell::say_and_end,
    handshake,
    judge::{Admitted, TurnedAway, judge},
    refusal::Refusal,
    token::SUBPROTOCOL,
};
use crate::{
    frame::FrameWriter,
    handover::{ConnectionPermit, Handover, Refused},
    http::{self, Answer},
    node::Node,
};

/// What a client of an overloaded shard is told to wait: by chance, within this range.
const RETRY_AFTER_MS: std::ops::Range<u64> = 1_000..5_000;

/// How a connection was answered.
enum Answered {
    /// The peer went away before it had asked anything.
    Not,
    /// By HTTP alone.
    Http,
    /// By 101.
    Upgraded(Result<Box<Admitted>, TurnedAway>),
}

/// The socket, after the HTTP part of its life.
struct Talked {
    stream: TcpStream,
    /// Read from the socket already, behind the handshake.
    buffered: Bytes,
    answered: Answered,
}

/// A connection that ends here, and how.
struct Farewell {
    stream: TcpStream,
    /// Still to be written.
    last: Vec<u8>,
    /// It counts as long as its socket is open.
    _permit: ConnectionPermit,
}

impl Farewell {
    fn new(stream: TcpStream, last: Vec<u8>, entry: Entry) -> Self {
        Self {
            stream,
            last,
            _permit: Box::new(entry),
        }
    }
}

/// Serves one connection to its end or hand-over.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, entry: Entry, node: Arc<Node>) {
    let deadlines = node.config.deadlines;
    let (outcome, farewell) = match timeout(deadlines.upgrade, talk(stream, peer, &node)).await {
        Ok(talked) => settle(talked, entry, &node),
        Err(_) => (Accept::Timeout, None),
    };
    node.metrics.accepts.of(outcome).increment(1);
    tracing::debug!(%peer, outcome = outcome.as_str(), "connection accepted");
    if let Some(farewell) = farewell {
        say_and_end(farewell.stream, &farewell.last, deadlines.linger).await;
    }
}

/// The HTTP part. Gives the socket back whatever happened, so that it ends in order.
async fn talk(stream: TcpStream, peer: SocketAddr, node: &Node) -> Talked {
    let answered = OnceLock::new();
    let service = service_fn(|request| {
        let (answer, how) = respond(request, peer, node);
        let status = HttpStatus::of(answer.status().as_u16());
        node.metrics.http_responses.of(status).increment(1);
        // Every answer ends the HTTP part, so there is no second request.
        let _ = answered.set(how);
        ready(Ok::<_, Infallible>(answer))
    });
    let mut connection =
        http::server(node.config.deadlines.header).serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    Talked {
        stream: parts.io.into_inner(),
        // A copy: the buffer that hyper read into is large and would stay.
        buffered: Bytes::copy_from_slice(&parts.read_buf),
        answered: answered
            .into_inner()
            .unwrap_or_else(|| answered_by_hyper(ended, node)),
    }
}

/// hyper answers unreadable requests by itself, before the service sees them.
fn answered_by_hyper(ended: hyper::Result<()>, node: &Node) -> Answered {
    let status = match ended {
        Err(error) if error.is_parse_too_large() => HttpStatus::HeadersTooLarge,
        Err(error) if error.is_parse() => HttpStatus::BadRequest,
        Ok(()) | Err(_) => return Answered::Not,
    };
    node.metrics.http_responses.of(status).increment(1);
    Answered::Http
}

fn respond(mut request: Request<Incoming>, peer: SocketAddr, node: &Node) -> (Answer, Answered) {
    let (verdict, subprotocol) = match verdict(&request, peer, node) {
        Ok(verdict) => verdict,
        Err(refusal) => return (refused(refusal, request, peer, node), Answered::Http),
    };
    // The future that would yield the upgraded stream is not used: the socket is taken back from
    // the connection itself, which cannot fail and holds no task.
    let (response, _) = fastwebsockets::upgrade::upgrade(&mut request)
        .expect("key and version were checked before");
    let mut answer = response.map(|_| http_body_util::Full::default());
    if subprotocol {
        let selected = HeaderValue::from_static(SUBPROTOCOL);
        answer
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, selected);
    }
    (answer, Answered::Upgraded(verdict.map(Box::new)))
}

/// What is no conversation may be a page of whoever started this gateway.
fn refused(refusal: Refusal, request: Request<Incoming>, peer: SocketAddr, node: &Node) -> Answer {
    if refusal == Refusal::NotFound
        && let Some(pages) = &node.hooks.pages
        && let Some(mut page) = pages(&request.into_parts().0, peer.ip())
    {
        let close = HeaderValue::from_static("close");
        page.headers_mut().insert(CONNECTION, close);
        return page;
    }
    refusal.answer()
}

type Verdict = (Result<Admitted, TurnedAway>, bool);

fn verdict(request: &Request<Incoming>, peer: SocketAddr, node: &Node) -> Result<Verdict, Refusal> {
    if node.is_draining() {
        return Err(Refusal::Busy);
    }
    let ask = handshake::read(request, &node.config.base_path)?;
    if !node.config.origins.admit(request.headers(), peer.ip()) {
        return Err(Refusal::ForeignOrigin);
    }
    Ok((judge(&ask, node), ask.subprotocol))
}

/// Hands the socket over, or says how it ends.
fn settle(talked: Talked, entry: Entry, node: &Node) -> (Accept, Option<Farewell>) {
    match talked.answered {
        Answered::Not => (Accept::Gone, None),
        Answered::Http => (
            Accept::Http,
            Some(Farewell::new(talked.stream, Vec::new(), entry)),
        ),
        Answered::Upgraded(Err(turned_away)) => {
            let last = close(turned_away.close_code(), turned_away.close_reason(), node);
            (
                turned_away.count(node),
                Some(Farewell::new(talked.stream, last, entry)),
            )
        }
        Answered::Upgraded(Ok(admitted)) => {
            let handed_over = hand_over(talked.stream, talked.buffered, *admitted, entry, node);
            handed_over.unwrap_or_else(|error| {
                tracing::debug!(%error, "a socket could not change its runtime");
                (Accept::Gone, None)
            })
        }
    }
}

fn hand_over(
    stream: TcpStream,
    buffered: Bytes,
    admitted: Admitted,
    entry: Entry,
    node: &Node,
) -> io::Result<(Accept, Option<Farewell>)> {
    let handover = Box::new(Handover {
        socket: stream.into_std()?,
        buffered,
        conversation: admitted.conversation,
        joiner: admitted.joiner,
        permit: Box::new((entry.connection, admitted.user_pass)),
    });
    drop(entry.unverified);
    let Err(Refused(back)) = node.shards.hand_over(handover) else {
        return Ok((Accept::Joined, None));
    };
    let retry_after_ms = crate::random_in(RETRY_AFTER_MS);
    let farewell = Farewell {
        stream: TcpStream::from_std(back.socket)?,
        last: close(
            CloseCode::Overloaded,
            &retry_after_reason(retry_after_ms),
            node,
        ),
        _permit: back.permit,
    };
    Ok((Accept::Overloaded, Some(farewell)))
}

/// A close frame, counted.
fn close(code: CloseCode, reason: &str, node: &Node) -> Vec<u8> {
    let closes = &node.metrics.closes;
    closes
        .of(Code::of(code.get()), Initiator::Server)
        .increment(1);
    let mut frame = FrameWriter::default();
    frame.close(Some(code.get()), reason);
    frame.as_slice().to_vec()
}
