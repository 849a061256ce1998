//! A node and its world as files, for tests of what is read from there.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

const NODE: &str = r#"
name      = "dns1"
cluster   = "test"
world     = "world.toml"
state_dir = "state"
[dns]
listen = ["127.0.0.1:0"]
"#;
/// Of `example.com`: no name but its server's.
const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";

pub struct Files(TempDir);

impl Files {
    /// With a zone file `example.com.zone` and an empty directory of state.
    pub fn of(world: &str) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.put("node.toml", NODE);
        files.put("world.toml", world);
        files.put("example.com.zone", ZONE);
        fs::create_dir(files.0.path().join("state")).unwrap();
        files
    }

    pub fn node(&self) -> PathBuf {
        self.0.path().join("node.toml")
    }

    pub fn put(&self, name: &str, octets: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), octets).unwrap();
    }
}
