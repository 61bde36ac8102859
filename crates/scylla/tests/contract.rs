//! The adapter keeps every promise of a store, on a real server.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::sync::Arc;

use parlance_scylla::Scylla;
use parlance_testkit::contract::store::StoreSubject;
use support::Shared;

struct OnServer(Arc<Shared>);

impl StoreSubject for OnServer {
    type Store = Scylla;

    async fn fresh() -> Self {
        Self(Shared::get())
    }

    fn store(&self) -> &Scylla {
        &self.0.store
    }
}

parlance_testkit::store_contract_tests!(OnServer);
