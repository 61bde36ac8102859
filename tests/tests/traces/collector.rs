//! Where spans go: it takes OTLP over HTTP as collectors do, and gives them to the test.

use std::{convert::Infallible, fmt::Write, net::SocketAddr};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1,
};
use parlance_testkit::dial::DEADLINE;
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};

pub(crate) struct Collector {
    address: SocketAddr,
    incoming: mpsc::UnboundedReceiver<Span>,
    /// All that came so far.
    pub(crate) spans: Vec<Span>,
    _server: JoinSet<()>,
}

/// What is judged of a span. Ids are in hex.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: v1::span::SpanKind,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) parent_id: String,
    attributes: Vec<KeyValue>,
    pub(crate) has_failed: bool,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, incoming) = mpsc::unbounded_channel();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, told));
        Self {
            address,
            incoming,
            spans: Vec::new(),
            _server: server,
        }
    }

    /// For `traces.endpoint`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// Takes what comes until so many spans of the name are there.
    pub(crate) async fn wait_for(&mut self, name: &str, count: usize) {
        while self.named(name).len() < count {
            let next = timeout(DEADLINE, self.incoming.recv()).await;
            let Ok(Some(span)) = next else {
                panic!("no {count} spans {name}, but {:#?}", self.spans);
            };
            self.spans.push(span);
        }
    }

    pub(crate) fn named(&self, name: &str) -> Vec<&Span> {
        let spans = self.spans.iter();
        spans.filter(|span| span.name == name).collect()
    }
}

impl Span {
    /// The attribute as text, or nothing.
    pub(crate) fn attribute(&self, key: &str) -> String {
        text(&self.attributes, key)
    }
}

async fn serve(listener: TcpListener, told: mpsc::UnboundedSender<Span>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let told = told.clone();
        let service = service_fn(move |request| take(request, told.clone()));
        let connection = hyper::server::conn::http1::Builder::new();
        connections.spawn(connection.serve_connection(TokioIo::new(stream), service));
    }
}

async fn take(
    request: Request<Incoming>,
    told: mpsc::UnboundedSender<Span>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let is_right = request.uri().path() == "/v1/traces"
        && request.headers().get(CONTENT_TYPE).unwrap() == "application/x-protobuf";
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut answer = Response::new(Empty::new());
    if !is_right {
        *answer.status_mut() = StatusCode::NOT_FOUND;
        return Ok(answer);
    }
    for span in spans(ExportTraceServiceRequest::decode(body).unwrap()) {
        // The test may be over.
        let _ = told.send(span);
    }
    Ok(answer)
}

fn spans(request: ExportTraceServiceRequest) -> impl Iterator<Item = Span> {
    request.resource_spans.into_iter().flat_map(|of_one| {
        let Resource { attributes, .. } = of_one.resource.unwrap();
        let service = text(&attributes, "service.name");
        let scopes = of_one.scope_spans.into_iter();
        let spans = scopes.flat_map(|scope| scope.spans);
        spans.map(move |span| Span {
            service: service.clone(),
            kind: span.kind(),
            name: span.name,
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            attributes: span.attributes,
            has_failed: span
                .status
                .is_some_and(|status| status.code() == v1::status::StatusCode::Error),
        })
    })
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
        Some(other) => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        write!(digits, "{byte:02x}").unwrap();
    }
    digits
}
