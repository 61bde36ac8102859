//! The way to the collector.

use std::{env, io, time::Duration};

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// For one request to the collector. `OTEL_EXPORTER_OTLP_TIMEOUT` may make it less.
const REQUEST: Duration = Duration::from_secs(10);
/// The most of an answer that is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// A process that ends waits no longer for the collector than this.
const FINISH: Duration = Duration::from_secs(2);

/// Of the whole workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Nothing can be sent to this collector, now or later.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system has no certificates of authorities that could be read.
    #[error("cannot read the system's certificates: {0}")]
    Certificates(io::Error),
    /// The system refuses a runtime.
    #[error("cannot start the runtime for traces: {0}")]
    Runtime(io::Error),
    /// The endpoint, or a variable that begins with `OTEL_`, has a value that cannot be used.
    #[error("cannot send traces to {endpoint}: {reason}")]
    Exporter {
        /// The URL.
        endpoint: String,
        /// Why not.
        reason: String,
    },
}

/// What is decided to be recorded is; who decides is [`crate::Traces`].
pub(crate) fn provider(
    endpoint: &str,
    service: &'static str,
) -> Result<SdkTracerProvider, StartError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_http_client(Client::new()?)
        .build()
        .map_err(|error| StartError::Exporter {
            endpoint: endpoint.to_owned(),
            reason: error.to_string(),
        })?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource(service))
        .with_sampler(Sampler::AlwaysOn)
        .with_batch_exporter(exporter)
        .build())
}

pub(crate) fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    let scope = InstrumentationScope::builder("parlance");
    let scope = scope.with_version(VERSION).build();
    provider.tracer_with_scope(scope)
}

/// What is left is given up after that; the SDK logs it.
pub(crate) fn finish(provider: &SdkTracerProvider) {
    let _ = provider.shutdown_with_timeout(FINISH);
}

/// What the environment says wins.
fn resource(service: &'static str) -> Resource {
    let name = env::var("OTEL_SERVICE_NAME").unwrap_or_default();
    let name = if name.is_empty() {
        service.to_owned()
    } else {
        name
    };
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.version", VERSION),
            KeyValue::new("service.instance.id", format!("{:016x}", crate::random())),
            KeyValue::new("service.name", name),
        ])
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ])
        .build()
}

/// HTTP on the thread that exports: it is the SDK's own, and has no runtime.
#[derive(Debug)]
struct Client {
    runtime: Runtime,
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    fn new() -> Result<Self, StartError> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(StartError::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(StartError::Runtime)?,
            client: legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.request(request.map(Full::new)).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime
            .block_on(async { timeout(REQUEST, self.exchange(request)).await? })
    }
}
