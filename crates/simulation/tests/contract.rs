//! The fakes keep every promise of the ports.

use std::sync::Arc;

use parlance_core::ports::Backend;
use parlance_simulation::{
    adapter::Handle,
    log::Redis,
    net::{Direct, DirectNet},
    rule::Rules,
};
use parlance_testkit::{contract::Subject, store::MemoryStore};

/// Short, so that most of history is read from the store once that has it.
const TAIL_ENTRIES: usize = 8;

struct Fakes(Arc<Direct>);

impl Backend for Fakes {
    type Handle = Handle<DirectNet>;
    type Feed = parlance_feed::Feed;

    fn attach(&self) -> (Self::Handle, Self::Feed) {
        let (net, feed) = self.0.attach();
        (Handle::new(net), feed)
    }
}

struct Deployment(Fakes);

impl Subject for Deployment {
    type Backend = Fakes;

    async fn fresh() -> Self {
        let redis = Redis::new(Rules::all(), TAIL_ENTRIES);
        Self(Fakes(Direct::new(redis, Arc::new(MemoryStore::default()))))
    }

    fn backend(&self) -> &Fakes {
        &self.0
    }

    async fn reopened(self) -> Self {
        self
    }
}

parlance_testkit::contract_tests!(Deployment);
