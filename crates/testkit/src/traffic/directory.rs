//! Which gateways are up, as a load balancer would know.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::server::locked;

/// Shared by the clients and by who starts and stops gateways.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    doors: Arc<Mutex<Vec<Door>>>,
    order: Order,
}

/// To which gateway a client is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    /// The next one from where it wants to go.
    #[default]
    InTurn,
    /// The one with the fewest connections.
    Fewest,
}

#[derive(Debug, Clone, Copy, Default)]
struct Door {
    /// While it is up.
    address: Option<SocketAddr>,
    /// Connections through it.
    inside: usize,
}

/// A connection through a door; counted until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    directory: Directory,
    /// The number of the gateway.
    pub(super) gateway: usize,
    /// Where it is.
    pub(super) address: SocketAddr,
}

impl Directory {
    /// All of these are up.
    #[must_use]
    pub fn new(gateways: impl IntoIterator<Item = SocketAddr>) -> Self {
        let door = |address| Door {
            address: Some(address),
            inside: 0,
        };
        let doors = gateways.into_iter().map(door).collect();
        Self {
            doors: Arc::new(Mutex::new(doors)),
            order: Order::InTurn,
        }
    }

    /// From now on clients of this handle are sent to the gateway that has the fewest of them.
    #[must_use]
    pub fn by_fewest(mut self) -> Self {
        self.order = Order::Fewest;
        self
    }

    /// Nobody is sent to this one any more.
    pub fn leave(&self, gateway: usize) {
        locked(&self.doors)[gateway].address = None;
    }

    /// It is up, here.
    pub fn join(&self, gateway: usize, address: SocketAddr) {
        let mut doors = locked(&self.doors);
        if gateway >= doors.len() {
            doors.resize(gateway + 1, Door::default());
        }
        doors[gateway].address = Some(address);
    }

    /// Up or not.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.doors).len()
    }

    /// Those that are up.
    #[must_use]
    pub fn all(&self) -> Vec<SocketAddr> {
        let doors = locked(&self.doors);
        doors.iter().filter_map(|door| door.address).collect()
    }

    /// The first that is up, from this one on, and its number.
    #[must_use]
    pub fn pick(&self, from: usize) -> Option<(usize, SocketAddr)> {
        in_turn(&locked(&self.doors), from)
    }

    /// A way in for a client that wants to this one.
    pub(super) fn enter(&self, from: usize) -> Option<Pass> {
        let mut doors = locked(&self.doors);
        let (gateway, address) = match self.order {
            Order::InTurn => in_turn(&doors, from)?,
            Order::Fewest => fewest(&doors)?,
        };
        doors[gateway].inside += 1;
        Some(Pass {
            directory: self.clone(),
            gateway,
            address,
        })
    }
}

fn in_turn(doors: &[Door], from: usize) -> Option<(usize, SocketAddr)> {
    let count = doors.len();
    let mut numbers = (from..from + count).map(|number| number % count);
    numbers.find_map(|number| Some((number, doors[number].address?)))
}

fn fewest(doors: &[Door]) -> Option<(usize, SocketAddr)> {
    let open = doors.iter().enumerate();
    let open = open.filter_map(|(number, door)| Some((door.inside, number, door.address?)));
    open.min().map(|(_, number, address)| (number, address))
}

impl Drop for Pass {
    fn drop(&mut self) {
        locked(&self.directory.doors)[self.gateway].inside -= 1;
    }
}
