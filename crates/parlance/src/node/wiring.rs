//! The configuration, as the other crates take it.

use std::{net::SocketAddr, num::NonZeroUsize, thread::available_parallelism};

use anyhow::Context;
use parlance_core::settings::Settings;
use parlance_gateway::{DrainTimes, GatewayConfig, Listeners, NodeLimits, Origins};
use tokio::net::{TcpListener, TcpSocket};

use super::Pages;
use crate::{
    config::Config,
    descriptors,
    failure::{Exit, Failure},
};

/// Handshakes that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// Binds both listeners. Inside a runtime.
pub(super) fn listeners(config: &Config) -> Result<Listeners, Failure> {
    Ok(Listeners {
        public: bind(config.listen, "listen")?,
        admin: bind(config.admin_listen, "admin.listen")?,
    })
}

/// Binds one. Inside a runtime.
pub(crate) fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let bound = listen().with_context(|| format!("cannot listen on {address} (`{setting}`)"));
    bound.map_err(|error| {
        let fix = format!("stop what listens there, or set `{setting}` to another address");
        Failure::new(Exit::Unavailable, error).fix(fix)
    })
}

/// What the gateway is told.
pub(super) fn gateway(config: &Config, pages: Pages) -> GatewayConfig {
    GatewayConfig {
        origins: Origins {
            allowed: config
                .origins
                .iter()
                .map(|origin| origin.as_str().to_owned())
                .collect(),
            any_from_loopback: pages == Pages::AnyFromLoopback,
        },
        shards: shards(config),
        limits: limits(config),
        drain: DrainTimes {
            window: config.drain_window.duration(),
            grace: config.drain_grace.duration(),
        },
        room: room(config),
        ..GatewayConfig::default()
    }
}

fn shards(config: &Config) -> NonZeroUsize {
    let configured = config
        .shards
        .and_then(|shards| NonZeroUsize::new(shards.as_usize()));
    configured
        .or_else(|| available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}

fn limits(config: &Config) -> NodeLimits {
    let configured = config.limits_connections;
    NodeLimits {
        connections: configured.map_or_else(from_descriptors, |limit| limit.as_usize()),
        pre_auth: config.limits_pre_auth.as_usize(),
        connections_per_user: config.limits_connections_per_user.as_usize(),
        user_actions_per_second: config.limits_user_actions_per_second.as_u32(),
        accepts_per_second: config.limits_accepts_per_second.as_u32(),
    }
}

fn from_descriptors() -> usize {
    usize::try_from(descriptors::raise().connections()).unwrap_or(usize::MAX)
}

fn room(config: &Config) -> Settings {
    Settings {
        content_bytes: config.limits_content_bytes.as_usize(),
        frame_bytes: config.limits_frame_bytes.as_usize(),
        actions_per_second: config.limits_actions_per_second.as_u32(),
        actions_burst: config.limits_actions_burst.as_u32(),
        resume_events: config.limits_resume_events.get(),
        ..Settings::default()
    }
}
