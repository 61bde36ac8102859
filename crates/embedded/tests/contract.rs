//! The embedded backend keeps every promise of the ports.

use parlance_embedded::{Embedded, Options};
use parlance_testkit::contract::Subject;

struct InTempDir {
    backend: Embedded,
    dir: tempfile::TempDir,
}

impl Subject for InTempDir {
    type Backend = Embedded;

    async fn fresh() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        Self {
            backend: open(&dir),
            dir,
        }
    }

    fn backend(&self) -> &Embedded {
        &self.backend
    }

    async fn reopened(self) -> Self {
        let Self { backend, dir } = self;
        drop(backend);
        Self {
            backend: open(&dir),
            dir,
        }
    }
}

fn open(dir: &tempfile::TempDir) -> Embedded {
    Embedded::open(dir.path(), Options::default()).expect("the directory can be opened")
}

parlance_testkit::contract_tests!(InTempDir);
