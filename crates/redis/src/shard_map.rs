//! Which node has which partition, for all topologies.
//!
//! A deployment of masters, named by address or to sentinels, is fixed: partition `p` of `n` masters
//! is at `p % n`, wherever that master is at present. In a cluster the slots decide, and move.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use parlance_core::store::{PARTITIONS, Partition};
use redis::{ConnectionAddr, ConnectionInfo, Value, cmd};
use tokio::sync::Notify;

use crate::{
    answer,
    link::{self, CallError},
    node::{Dialer, Node},
    partition,
    topology::{NodeAccess, Topology},
};

/// How pub/sub is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// `PUBLISH`, `SUBSCRIBE`
    Plain,
    /// `SPUBLISH`, `SSUBSCRIBE`: within the shard of a cluster.
    Sharded,
}

/// The present map.
pub(crate) struct ShardMap {
    nodes: RefCell<Vec<Rc<Node>>>,
    /// Index into `nodes` by partition; `None` while a cluster's slot has no master.
    of_partition: RefCell<[Option<u16>; PARTITIONS]>,
    cluster: Option<Cluster>,
    /// Asks for a look at the cluster.
    pub(crate) look: Notify,
}

struct Cluster {
    seeds: Vec<ConnectionInfo>,
    access: NodeAccess,
}

/// What a look at a cluster changed.
#[derive(Default)]
pub(crate) struct Moved {
    /// Nodes that are new.
    pub(crate) nodes: Vec<Rc<Node>>,
    /// Partitions that are at another node than before.
    pub(crate) partitions: Vec<Partition>,
}

impl Speech {
    pub(crate) const fn publish(self) -> &'static str {
        match self {
            Self::Plain => "PUBLISH",
            Self::Sharded => "SPUBLISH",
        }
    }

    /// What stands for [`Speech::publish`] in the arguments of scripts.
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Plain => 'p',
            Self::Sharded => 's',
        }
    }

    pub(crate) const fn subscribe(self) -> &'static str {
        match self {
            Self::Plain => "SUBSCRIBE",
            Self::Sharded => "SSUBSCRIBE",
        }
    }

    pub(crate) const fn unsubscribe(self) -> &'static str {
        match self {
            Self::Plain => "UNSUBSCRIBE",
            Self::Sharded => "SUNSUBSCRIBE",
        }
    }
}

impl ShardMap {
    /// Of a cluster, nothing is known before the first [`ShardMap::look_at_cluster`].
    pub(crate) fn new(topology: Topology) -> Self {
        let (dialers, cluster) = match topology {
            Topology::Masters(infos) => (infos.into_iter().map(Dialer::At).collect(), None),
            Topology::Sentinel {
                sentinels,
                services,
                node,
            } => {
                let named = |service| Dialer::Named {
                    sentinels: sentinels.clone(),
                    service,
                    access: node.clone(),
                };
                (services.into_iter().map(named).collect(), None)
            }
            Topology::Cluster { seeds, node } => {
                let access = node;
                (Vec::new(), Some(Cluster { seeds, access }))
            }
        };
        let nodes: Vec<Rc<Node>> = dialers.into_iter().map(Node::new).collect();
        let mut of_partition = [None; PARTITIONS];
        for (index, place) in of_partition.iter_mut().enumerate() {
            *place = index
                .checked_rem(nodes.len())
                .and_then(|node| u16::try_from(node).ok());
        }
        Self {
            nodes: RefCell::new(nodes),
            of_partition: RefCell::new(of_partition),
            cluster,
            look: Notify::new(),
        }
    }

    pub(crate) fn speech(&self) -> Speech {
        match self.cluster {
            Some(_) => Speech::Sharded,
            None => Speech::Plain,
        }
    }

    /// All nodes, in the order of the layout.
    pub(crate) fn nodes(&self) -> Vec<Rc<Node>> {
        self.nodes.borrow().clone()
    }

    /// How the layout is written down: which of how many, or a cluster.
    pub(crate) fn place(&self, node: &Rc<Node>) -> String {
        let nodes = self.nodes.borrow();
        match self.cluster {
            Some(_) => "cluster".to_owned(),
            None => {
                let index = nodes.iter().position(|other| Rc::ptr_eq(other, node));
                format!("{}/{}", index.unwrap_or_default(), nodes.len())
            }
        }
    }

    /// Who has a partition.
    pub(crate) fn node(&self, partition: Partition) -> Option<Rc<Node>> {
        let index = self.of_partition.borrow()[usize::from(partition.0)]?;
        self.nodes.borrow().get(usize::from(index)).cloned()
    }

    /// What a node has.
    pub(crate) fn partitions(&self, node: &Rc<Node>) -> Vec<Partition> {
        let nodes = self.nodes.borrow();
        let own = nodes.iter().position(|other| Rc::ptr_eq(other, node));
        let own = own.and_then(|index| u16::try_from(index).ok());
        let places = self.of_partition.borrow();
        partition::all()
            .filter(|partition| own.is_some() && places[usize::from(partition.0)] == own)
            .collect()
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// Reads from any node that answers which of them has which slots.
    pub(crate) async fn look_at_cluster(&self) -> Result<Moved, CallError> {
        let Some(cluster) = &self.cluster else {
            return Ok(Moved::default());
        };
        let mut last = CallError::Elsewhere("no node of the cluster is known".into());
        for info in self.to_ask(cluster) {
            match masters(info).await {
                Ok(masters) => return Ok(self.take(cluster, &masters)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn to_ask(&self, cluster: &Cluster) -> Vec<ConnectionInfo> {
        let known = self.nodes.borrow();
        let known = known.iter().filter_map(|node| node.fixed_address());
        known.chain(cluster.seeds.iter().cloned()).collect()
    }

    fn take(&self, cluster: &Cluster, masters: &[Master]) -> Moved {
        let mut moved = Moved::default();
        let before: Vec<_> = partition::all().map(|p| self.node(p)).collect();
        let mut by_label: BTreeMap<String, Rc<Node>> = BTreeMap::new();
        for node in self.nodes.borrow().iter() {
            by_label.insert(node.label.clone(), Rc::clone(node));
        }
        let mut nodes: Vec<Rc<Node>> = Vec::new();
        let mut places = [None; PARTITIONS];
        for master in masters {
            let dialer = Dialer::At(cluster.access.connection_info(&master.host, master.port));
            let node = by_label.remove(&dialer.label()).unwrap_or_else(|| {
                let node = Node::new(dialer);
                moved.nodes.push(Rc::clone(&node));
                node
            });
            let index = match nodes.iter().position(|other| Rc::ptr_eq(other, &node)) {
                Some(index) => index,
                None => {
                    nodes.push(node);
                    nodes.len() - 1
                }
            };
            for partition in partition::all() {
                let slot = partition::slot(partition);
                if (master.first..=master.last).contains(&slot) {
                    places[usize::from(partition.0)] = u16::try_from(index).ok();
                }
            }
            // Several ranges of one master: it is found by its label again.
            let node = &nodes[index];
            by_label.insert(node.label.clone(), Rc::clone(node));
        }
        let gone: Vec<_> = by_label
            .into_values()
            .filter(|node| !nodes.iter().any(|other| Rc::ptr_eq(other, node)))
            .collect();
        self.nodes.replace(nodes);
        self.of_partition.replace(places);
        for node in gone {
            tracing::info!(node = node.label, "a master left the cluster's slots");
            node.retire();
        }
        moved.partitions = partition::all()
            .zip(before)
            .filter(|(partition, before)| {
                let now = self.node(*partition);
                !matches!((now, before), (Some(now), Some(before)) if Rc::ptr_eq(&now, before))
            })
            .map(|(partition, _)| partition)
            .collect();
        moved
    }
}

/// A master and one range of its slots.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Master {
    first: u16,
    last: u16,
    host: String,
    port: u16,
}

async fn masters(info: ConnectionInfo) -> Result<Vec<Master>, CallError> {
    let asked = host_of(info.addr());
    let mut question = cmd("CLUSTER");
    question.arg("SLOTS");
    let ranges = answer::list(link::ask_once(info, &question).await?)?;
    let read = ranges.into_iter().map(|range| master(range, &asked));
    read.collect::<Option<Vec<_>>>()
        .filter(|masters| !masters.is_empty())
        .ok_or_else(|| CallError::Elsewhere("it has no slots of a cluster".into()))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the client library's list grows; no cluster listens on anything else"
)]
fn host_of(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    }
}

/// `[first, last, [host, port, …], replicas…]`; an empty host is the one that was asked.
fn master(range: Value, asked: &str) -> Option<Master> {
    let mut parts = answer::list(range).ok()?.into_iter();
    let mut slot = || u16::try_from(answer::number(&parts.next()?)?).ok();
    let (first, last) = (slot()?, slot()?);
    let mut node = answer::list(parts.next()?).ok()?.into_iter();
    let host = answer::text(node.next()?).unwrap_or_default();
    let port = answer::number(&node.next()?)?;
    Some(Master {
        first,
        last,
        host: if host.is_empty() {
            asked.to_owned()
        } else {
            host
        },
        port: u16::try_from(port).ok()?,
    })
}
