//! The admin listener, for whoever runs a process and not for its users: `/livez`, `/readyz`,
//! `/metrics`. Bind it where the public cannot reach it: it asks for no token.

mod readiness;

pub(crate) use readiness::of_gateway;
pub use readiness::{Check, Readiness};

use std::{convert::Infallible, future::ready, sync::Arc, time::Duration};

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parlance_telemetry::ProcessMetrics;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    http::{self, Answer, text},
    node::MetricsText,
};

/// What the listener tells of its process.
pub struct AdminPages {
    /// Asked at each `/readyz` and `/metrics`; must not block.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// Asked at each `/metrics`.
    pub metrics_text: MetricsText,
    /// How long the head of a request may take.
    pub header_deadline: Duration,
}

/// Scrapers and probes are few; more wait in the accept queue.
const CONNECTIONS: usize = 64;
/// A connection is cut after this long, so that one that does not read its answers cannot keep one
/// of the few places.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How long accepting rests when the system has no file descriptor or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped.
pub async fn run(listener: TcpListener, pages: Arc<AdminPages>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&pages)));
                }
                Err(error) => {
                    tracing::warn!(%error, "no admin connection can be accepted at present");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, pages: Arc<AdminPages>) {
    let service = service_fn(|request| ready(Ok::<_, Infallible>(respond(&request, &pages))));
    let connection =
        http::server(pages.header_deadline).serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_LIFE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_) => tracing::debug!("an admin connection was cut at the end of its time"),
    }
}

fn respond(request: &Request<Incoming>, pages: &AdminPages) -> Answer {
    let page: fn(&Request<Incoming>, &AdminPages) -> Answer = match request.uri().path() {
        "/livez" => |_, _| text(StatusCode::OK, "ok\n"),
        "/readyz" => readyz,
        "/metrics" => metrics,
        _ => return text(StatusCode::NOT_FOUND, "nothing is here\n"),
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    page(request, pages)
}

fn readyz(request: &Request<Incoming>, pages: &AdminPages) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let verbose = query.split('&').any(|name| name == "verbose");
    let readiness = (pages.readiness)();
    let status = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    text(status, readiness.report(verbose))
}

/// Whether the process is ready is known to nobody before somebody asks, so it is noted here.
fn metrics(_: &Request<Incoming>, pages: &AdminPages) -> Answer {
    let ready = if (pages.readiness)().is_ready() {
        1.0
    } else {
        0.0
    };
    ProcessMetrics::register().ready.set(ready);
    let mut answer = text(StatusCode::OK, (pages.metrics_text)());
    let exposition = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, exposition);
    answer
}
