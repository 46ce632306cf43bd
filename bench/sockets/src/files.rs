//! The files of all cores' connections, and per core the list of those that have something to tell: its
//! `epoll`.
//!
//! Any core may announce news of a file, and another may begin to watch it meanwhile or take it out of
//! its list. Invariants: a file is in one list at most, once; news of a file that is watched is never
//! forgotten: it is in a list, or about to be put into one by whoever is at it. Upstream: stacks.
//! Downstream: `wait`.

use crate::sync::Mutex;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use kernel::CoreId;
use kernel::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// All of them.
pub(crate) struct Files {
    /// By core and connection: a file is part of its connection, as is its lightweight name.
    files: Box<[File]>,
    /// By core: files that have something to tell to it.
    ready: Box<[Mutex<VecDeque<u32>>]>,
}

/// A socket, as far as it is not the connection's.
#[derive(Default)]
struct File {
    /// Descriptors, and calls under way.
    references: AtomicU32,
    /// The core that watches it, plus one; 0 for none.
    watcher: AtomicU32,
    token: AtomicU64,
    /// [`NEWS`], [`QUEUED`].
    state: AtomicU32,
}

/// There is something to receive, to send into, or to be told of its end.
const NEWS: u32 = 1;
/// In the list of some core.
const QUEUED: u32 = 2;

/// What comes of a place in a core's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The file that is watched with this token has something to tell.
    News(u64),
    /// It went to the list of another core, which is to be woken.
    Moved(CoreId),
    /// Nobody is to be told of anything.
    Stale,
}

impl File {
    fn watcher(&self) -> Option<CoreId> {
        let watcher = self.watcher.load(Ordering::Relaxed).checked_sub(1)?;
        CoreId::new(watcher as usize)
    }
}

impl Files {
    /// Makes the files of `cores` cores with so many connections each.
    pub(crate) fn new(cores: usize, connections: usize) -> Self {
        let files = cores * connections;
        let list = |_| Mutex::new(VecDeque::with_capacity(files));
        Files {
            files: (0..files).map(|_| File::default()).collect(),
            ready: (0..cores).map(list).collect(),
        }
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Begins to be a connection's. It may be in a list still, from the last one.
    pub(crate) fn begin(&self, file: u32) {
        let entry = &self.files[file as usize];
        entry.watcher.store(0, Ordering::Relaxed);
        entry.state.fetch_and(QUEUED, Ordering::Relaxed);
        entry.references.store(1, Ordering::Release);
    }

    /// Counts one more reference, unless there is none any more.
    pub(crate) fn take(&self, file: u32) -> bool {
        let more = |count: u32| (count > 0).then_some(count + 1);
        let references = &self.files[file as usize].references;
        references
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Gives a reference back; true for the last one. Then nobody watches the file any more.
    pub(crate) fn give_back(&self, file: u32) -> bool {
        let entry = &self.files[file as usize];
        let is_last = entry.references.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last {
            entry.watcher.store(0, Ordering::Relaxed);
        }
        is_last
    }

    /// Lets a core watch a file: what there is to tell already is told. Returns the core that is to be
    /// woken for it.
    pub(crate) fn watch(&self, file: u32, core: CoreId, token: u64) -> Option<CoreId> {
        let entry = &self.files[file as usize];
        // Only the core itself reads the token.
        entry.token.store(token, Ordering::Relaxed);
        let watcher = core.index() as u32 + 1;
        entry.watcher.store(watcher, Ordering::Relaxed);
        // Whoever has news at this moment sees the watcher, or is seen here (Dekker's pattern).
        fence(Ordering::SeqCst);
        match entry.state.load(Ordering::Acquire) & NEWS {
            0 => None,
            _ => self.announce(file),
        }
    }

    /// There is something to tell of a file. Returns the core that is to be woken for it.
    pub(crate) fn announce(&self, file: u32) -> Option<CoreId> {
        let entry = &self.files[file as usize];
        entry.state.fetch_or(NEWS, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        let watcher = entry.watcher()?;
        let before = entry.state.fetch_or(QUEUED, Ordering::AcqRel);
        if before & QUEUED != 0 {
            return None;
        }
        self.ready[watcher.index()].lock().push_back(file);
        Some(watcher)
    }

    /// Returns whether the list of a core is empty.
    pub(crate) fn is_quiet(&self, core: CoreId) -> bool {
        self.ready[core.index()].lock().is_empty()
    }

    /// Takes the file that is the first in the list of `core`.
    pub(crate) fn next(&self, core: CoreId) -> Option<Place> {
        let file = self.ready[core.index()].lock().pop_front()?;
        let entry = &self.files[file as usize];
        let is_watched_here = entry.watcher() == Some(core);
        // The news is taken in one step with the place: what comes after it makes a new place.
        let news = if is_watched_here { NEWS } else { 0 };
        let state = entry.state.fetch_and(!(QUEUED | news), Ordering::AcqRel);
        if state & news != 0 {
            return Some(Place::News(entry.token.load(Ordering::Relaxed)));
        }
        // Another core may watch it by now, and have found it in this list.
        let has_news = state & NEWS != 0;
        let moved = has_news.then(|| self.announce(file)).flatten();
        Some(moved.map_or(Place::Stale, Place::Moved))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ONE: CoreId = CoreId::new(1).unwrap();

    #[test]
    fn news_is_told_once_to_who_watches() {
        let files = Files::new(2, 2);
        files.begin(3);
        assert_eq!(files.announce(3), None, "nobody watches");
        assert_eq!(files.watch(3, ONE, 77), Some(ONE));
        assert_eq!(files.announce(3), None, "it is in the list already");
        assert_eq!(files.next(CoreId::BOOT), None);
        assert_eq!(files.next(ONE), Some(Place::News(77)));
        assert!(files.next(ONE).is_none() && files.is_quiet(ONE));
        assert_eq!(files.announce(3), Some(ONE));
    }

    #[test]
    fn a_place_from_the_last_connection_leads_to_who_watches_now() {
        let files = Files::new(2, 1);
        files.begin(0);
        files.watch(0, CoreId::BOOT, 1);
        assert_eq!(files.announce(0), Some(CoreId::BOOT));
        assert!(files.take(0) && !files.give_back(0) && files.give_back(0));
        assert!(!files.take(0), "there is no reference left");
        files.begin(0);
        files.watch(0, ONE, 2);
        assert_eq!(files.announce(0), None, "it is in the other list still");
        assert_eq!(files.next(CoreId::BOOT), Some(Place::Moved(ONE)));
        assert_eq!(files.next(ONE), Some(Place::News(2)));
    }
}
