//! Writes the published schemas: `cargo run -p parlance-protocol --example schema`.

use std::{fs, io, path::Path};

use parlance_protocol::schema;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join("client-actions.schema.json"),
        schema::client_actions(),
    )?;
    fs::write(
        folder.join("server-frames.schema.json"),
        schema::server_frames(),
    )
}
