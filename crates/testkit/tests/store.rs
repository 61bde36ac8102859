//! The store in memory keeps every promise of a store.

use parlance_testkit::{contract::store::StoreSubject, store::MemoryStore};

struct InMemory(MemoryStore);

impl StoreSubject for InMemory {
    type Store = MemoryStore;

    async fn fresh() -> Self {
        Self(MemoryStore::default())
    }

    fn store(&self) -> &MemoryStore {
        &self.0
    }
}

parlance_testkit::store_contract_tests!(InMemory);
