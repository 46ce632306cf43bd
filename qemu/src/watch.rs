//! Whether folders have changed, by looking at them now and then.
//!
//! Looking costs a call for each file; it is what works for every file system, shares of other
//! machines included.

use site::pack::is_partial_image;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the folders are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Folders inside folders, at most.
const MAX_DEPTH: usize = 64;

/// Device and number of a folder, whatever it is called.
type Identity = (u64, u64);

/// Folders that are watched.
#[derive(Debug)]
pub struct Watch {
    folders: Vec<PathBuf>,
    /// Whether names that start with a dot count.
    has_hidden: bool,
    packed: u64,
    seen: u64,
    next_look: Instant,
    look_every: Duration,
}

impl Watch {
    /// Takes the folders as they are now for what is served.
    pub fn new(folders: Vec<PathBuf>, has_hidden: bool) -> Self {
        let state = state(&folders, has_hidden);
        Watch {
            folders,
            has_hidden,
            packed: state,
            seen: state,
            next_look: Instant::now(),
            look_every: LOOK_EVERY,
        }
    }

    /// Returns whether the folders differ from what is served and have come to rest: something
    /// that is being written is not packed half.
    pub fn has_changed(&mut self) -> bool {
        let started = Instant::now();
        if started < self.next_look {
            return false;
        }
        let state = state(&self.folders, self.has_hidden);
        // A large folder must not keep this program busy.
        self.next_look = started + self.look_every.max(4 * started.elapsed());
        let is_at_rest = state == self.seen;
        self.seen = state;
        is_at_rest && state != self.packed
    }

    /// Takes the folders as they were last seen for what is served.
    pub fn handle_packed(&mut self) {
        self.packed = self.seen;
    }
}

/// Returns a number that changes when a file comes, goes or changes.
fn state(folders: &[PathBuf], has_hidden: bool) -> u64 {
    let mut sum = 0u64;
    for folder in folders {
        let mut above = fs::metadata(folder).iter().map(identity).collect();
        visit(folder, has_hidden, &mut above, &mut sum);
    }
    sum
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Adds what is in a folder; `above` are those around it and itself, so that links that lead in
/// circles are not followed.
fn visit(folder: &Path, has_hidden: bool, above: &mut Vec<Identity>, sum: &mut u64) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if is_partial_image(&name) {
            continue;
        }
        if !has_hidden && name.as_bytes().starts_with(b".") && name != ".well-known" {
            continue;
        }
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        let own = identity(&metadata);
        if metadata.is_dir() && above.len() < MAX_DEPTH && !above.contains(&own) {
            above.push(own);
            visit(&path, has_hidden, above, sum);
            above.pop();
        }
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        if metadata.is_file() {
            let written = (metadata.mtime(), metadata.mtime_nsec());
            // Tools that set the time of writing back (rsync, tar) cannot set this one.
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            (own, metadata.size(), written, changed).hash(&mut hasher);
        }
        // Whatever the order in which the folder names them.
        *sum = sum.wrapping_add(hasher.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Looks until the watch reports a change, or long enough to be sure that there is none.
    fn changes(watch: &mut Watch) -> bool {
        (0..10).any(|_| {
            std::thread::sleep(Duration::from_millis(2));
            watch.has_changed()
        })
    }

    #[test]
    fn files_that_come_go_or_change_are_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b.txt");
        fs::create_dir(dir.path().join("a")).unwrap();
        let mut watch = Watch::new(vec![dir.path().to_owned()], false);
        watch.look_every = Duration::from_millis(1);
        assert!(!changes(&mut watch));
        for step in [
            &|| fs::write(&file, "one").unwrap(),
            &|| fs::write(&file, "two!").unwrap(),
            &|| fs::rename(&file, dir.path().join("c")).unwrap(),
            &|| fs::remove_file(dir.path().join("c")).unwrap(),
            &|| fs::create_dir(dir.path().join("new")).unwrap(),
        ] as [&dyn Fn(); 5]
        {
            fs::write(dir.path().join(".hidden"), "x").unwrap();
            assert!(!changes(&mut watch));
            step();
            assert!(changes(&mut watch));
            watch.handle_packed();
            assert!(!changes(&mut watch));
        }
    }

    fn watch_of(dir: &Path) -> Watch {
        let mut watch = Watch::new(vec![dir.to_owned()], false);
        watch.look_every = Duration::from_millis(1);
        watch
    }

    #[test]
    fn a_link_to_the_folder_that_is_led_elsewhere_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join("current");
        for release in ["41", "42"] {
            fs::create_dir(dir.path().join(release)).unwrap();
            fs::write(dir.path().join(release).join("index.html"), "same").unwrap();
        }
        symlink("41", &current).unwrap();
        let mut watch = watch_of(&current);
        assert!(!changes(&mut watch));
        symlink("42", dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), &current).unwrap();
        assert!(changes(&mut watch));
    }

    #[test]
    fn a_change_whose_time_is_set_back_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "one").unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        let mut watch = watch_of(dir.path());
        // Times of files are as coarse as the kernel's ticks.
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&path, "two").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(before).unwrap();
        assert!(changes(&mut watch));
    }

    #[test]
    fn links_that_lead_in_circles_are_followed_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            symlink(".", dir.path().join(name)).unwrap();
        }
        let mut watch = watch_of(dir.path());
        fs::write(dir.path().join("new"), "x").unwrap();
        assert!(changes(&mut watch));
    }
}
