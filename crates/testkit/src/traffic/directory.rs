//! Where the gateways are that take connections, as a balancer before them would know.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::server::locked;

/// Shared by the clients and by who starts and stops gateways.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    gateways: Arc<Mutex<Vec<Option<SocketAddr>>>>,
}

impl Directory {
    /// All of these are up.
    #[must_use]
    pub fn new(gateways: impl IntoIterator<Item = SocketAddr>) -> Self {
        let gateways = gateways.into_iter().map(Some).collect();
        Self {
            gateways: Arc::new(Mutex::new(gateways)),
        }
    }

    /// Nobody is sent to this one any more.
    pub fn leave(&self, gateway: usize) {
        locked(&self.gateways)[gateway] = None;
    }

    /// It is up, here.
    pub fn join(&self, gateway: usize, address: SocketAddr) {
        locked(&self.gateways)[gateway] = Some(address);
    }

    /// Up or not.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.gateways).len()
    }

    /// Those that are up.
    #[must_use]
    pub fn all(&self) -> Vec<SocketAddr> {
        locked(&self.gateways).iter().copied().flatten().collect()
    }

    /// The first that is up, from this one on, and its number.
    #[must_use]
    pub fn pick(&self, from: usize) -> Option<(usize, SocketAddr)> {
        let gateways = locked(&self.gateways);
        let count = gateways.len();
        let mut numbers = (from..from + count).map(|number| number % count);
        numbers.find_map(|number| Some((number, gateways[number]?)))
    }
}
