//! The files of a recording: one is written, the others are kept until there are too many.
//!
//! What is written is whole blocks, each at once. One that the disk does not take leaves nothing behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Display, Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::recording::Header;
use crate::world::Recording;

/// Who is in the server's group may read.
const FILE_MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;
/// Files are called `queries-20261121T193604.123Z.rec`, so that the order of their names is that in time.
const PREFIX: &str = "queries-";
const SUFFIX: &str = ".rec";
/// Octets of a name between the two: `20261121T193604.123Z`.
const STAMP: usize = 20;

pub struct Files {
    config: Recording,
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Octets of whole blocks, the header included.
    length: u64,
    /// By a clock that only goes forward.
    opened: Duration,
}

impl Files {
    pub fn new(config: Recording) -> Files {
        Files { config, open: None }
    }

    pub fn dir(&self) -> Display<'_> {
        self.config.dir.display()
    }

    /// Writes a block, in a new file if the present one is full, old or gone.
    pub fn append(
        &mut self,
        header: &Header,
        block: &[u8],
        now: Timestamp,
        clock: Duration,
    ) -> io::Result<()> {
        let Recording { file_octets, file_age, .. } = self.config;
        self.open = self.open.take().filter(|open| {
            let is_there = open.file.metadata().is_ok_and(|file| file.nlink() > 0);
            let is_full = open.length + block.len() as u64 > file_octets;
            is_there && !is_full && clock < open.opened + file_age
        });
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.config, header, now, clock)?),
        };
        if let Err(error) = open.file.write_all_at(block, open.length) {
            // What was written of it is taken away again. Where not even that is possible, readers find it cut, and
            // the next block comes into another file.
            if open.file.set_len(open.length).is_err() {
                self.open = None;
            }
            return Err(error);
        }
        open.length += block.len() as u64;
        Ok(())
    }
}

fn open(config: &Recording, header: &Header, now: Timestamp, clock: Duration) -> io::Result<Open> {
    let dir = &config.dir;
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    remove_oldest(dir, config.files.saturating_sub(1))?;
    let stamp = now.strftime("%Y%m%dT%H%M%S.%3fZ");
    let path = dir.join(format!("{PREFIX}{stamp}{SUFFIX}"));
    // Where there is one of this millisecond the next try comes later.
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
    let header = header.to_octets();
    if let Err(error) = file.write_all_at(&header, 0) {
        // An empty file says nothing, and would push out one that does.
        fs::remove_file(&path)?;
        return Err(error);
    }
    Ok(Open { file, length: header.len() as u64, opened: clock })
}

/// Leaves so many of the latest.
fn remove_oldest(dir: &Path, left: usize) -> io::Result<()> {
    let files = recordings_in(dir)?;
    let over = files.len().saturating_sub(left);
    files.iter().take(over).try_for_each(fs::remove_file)
}

/// The recordings in a folder, in the order of time. Nothing else there is ever touched.
pub fn recordings_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = vec![];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let stamp = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
            .filter(|stamp| stamp.len() == STAMP && stamp.is_ascii());
        if stamp.is_some() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::world::{Clients, Epoch, Sample};

    struct Scene {
        dir: tempfile::TempDir,
        files: Files,
        header: Header,
        now: Timestamp,
        clock: Duration,
    }

    impl Scene {
        fn new(file_octets: u64, files: usize) -> Scene {
            let dir = tempfile::tempdir().unwrap();
            let config = Recording {
                dir: dir.path().join("a/b"),
                file_octets,
                file_age: Duration::from_secs(60),
                files,
                clients: Clients::Whole,
            };
            let header = Header {
                node: "test".into(),
                started: 0,
                sample: Sample::ALL,
                clients: Clients::Whole,
                epoch: Epoch([0; 32]),
            };
            let now = "2026-11-21T19:36:04.123Z".parse().unwrap();
            Scene { dir, files: Files::new(config), header, now, clock: Duration::ZERO }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("a/b")
        }

        fn append_after(&mut self, milliseconds: i64, octets: usize) -> io::Result<()> {
            self.now += jiff::SignedDuration::from_millis(milliseconds);
            self.clock += Duration::from_millis(milliseconds.unsigned_abs());
            self.files.append(&self.header, &vec![7; octets], self.now, self.clock)
        }

        fn names(&self) -> Vec<String> {
            let files = recordings_in(&self.path()).unwrap();
            files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().into()).collect()
        }

        fn sizes(&self) -> Vec<u64> {
            let files = recordings_in(&self.path()).unwrap();
            files.iter().map(|path| fs::metadata(path).unwrap().len()).collect()
        }
    }

    #[test]
    fn a_file_is_full_or_old_and_the_oldest_go() {
        let mut scene = Scene::new(1000, 3);
        let head = scene.header.to_octets().len() as u64;
        scene.append_after(0, 100).unwrap();
        assert_eq!(scene.names(), ["queries-20261121T193604.123Z.rec"]);
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(scene.path().join(&scene.names()[0])) & !0o640, 0);
        assert_eq!(mode(scene.path()) & !0o750, 0);
        // To the last octet.
        scene.append_after(10, 900 - head as usize).unwrap();
        assert_eq!(scene.sizes(), [1000]);
        scene.append_after(10, 1).unwrap();
        assert_eq!(scene.sizes(), [1000, head + 1]);
        scene.append_after(59_999, 1).unwrap();
        assert_eq!(scene.sizes(), [1000, head + 2]);
        scene.append_after(1, 1).unwrap();
        assert_eq!(scene.sizes(), [1000, head + 2, head + 1]);
        // What is not ours stays, whatever it is called.
        for other in ["queries-.rec", "queries-old.rec", "notes.txt", "a.rec"] {
            fs::write(scene.path().join(other), "").unwrap();
        }
        scene.append_after(60_000, 5).unwrap();
        assert_eq!(scene.sizes(), [head + 2, head + 1, head + 5]);
        assert_eq!(fs::read_dir(scene.path()).unwrap().count(), 3 + 4);
    }

    #[test]
    fn a_file_that_was_taken_away_is_not_written_to() {
        let mut scene = Scene::new(1000, 3);
        scene.append_after(0, 1).unwrap();
        fs::remove_file(scene.path().join(&scene.names()[0])).unwrap();
        scene.append_after(1, 1).unwrap();
        assert_eq!(scene.names(), ["queries-20261121T193604.124Z.rec"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_until_it_can() {
        let mut scene = Scene::new(1000, 3);
        fs::write(scene.dir.path().join("a"), "").unwrap();
        assert!(scene.append_after(0, 1).is_err());
        fs::remove_file(scene.dir.path().join("a")).unwrap();
        scene.append_after(1, 1).unwrap();
        assert_eq!(scene.names().len(), 1);
    }
}
