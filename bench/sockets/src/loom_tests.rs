//! What crosses cores in this crate, in the orders that the memory model allows
//! (`RUSTFLAGS="--cfg loom"`): descriptors, references, and news of files.

use crate::descriptors::DescriptorTable;
use crate::files::{Files, Place};
use kernel::CoreId;
use kernel::sync::Arc;
use kernel::sync::atomic::{AtomicU32, Ordering};
use kernel::wake::WakeFlags;
use loom::sync::Notify;
use loom::thread;

const ONE: CoreId = CoreId::new(1).unwrap();

#[test]
fn two_cores_never_get_the_same_descriptor() {
    loom::model(|| {
        let table = Arc::new(DescriptorTable::new(2));
        let theirs = table.clone();
        let other = thread::spawn(move || {
            let first = theirs.open(7).unwrap();
            assert_eq!(theirs.close(first), Some(7));
            theirs.open(8).unwrap()
        });
        let own = table.open(9).unwrap();
        assert_eq!(table.file(own), Some(9));
        let theirs = other.join().unwrap();
        assert_ne!(own, theirs);
        assert_eq!((table.file(theirs), table.in_use()), (Some(8), 2));
        assert!(table.open(10).is_none());
    });
}

/// Makes a call by a descriptor, as a thread does; returns whether its reference was the last one.
fn call(table: &DescriptorTable, files: &Files, descriptor: u32) -> bool {
    let Some(file) = table.file(descriptor).filter(|file| files.take(*file)) else {
        return false;
    };
    // By now the descriptor may be another file's, or nobody's.
    let is_its = table.file(descriptor) == Some(file);
    let is_last = files.give_back(file);
    assert!(is_its || table.file(descriptor) != Some(file));
    is_last
}

#[test]
fn the_last_of_those_who_use_a_file_ends_it_and_nobody_else() {
    loom::model(|| {
        let shared = Arc::new((DescriptorTable::new(1), Files::new(1, 1)));
        let (table, files) = &*shared;
        files.begin(0);
        assert_eq!(table.open(0), Some(0));
        let theirs = shared.clone();
        let other = thread::spawn(move || call(&theirs.0, &theirs.1, 0));
        assert_eq!(table.close(0), Some(0));
        let is_last_here = files.give_back(0);
        let is_last_there = other.join().unwrap();
        assert_ne!(is_last_here, is_last_there);
        assert!(!files.take(0), "it goes on");
    });
}

#[test]
fn news_comes_to_a_core_that_begins_to_watch() {
    loom::model(|| {
        let files = Arc::new(Files::new(1, 1));
        files.begin(0);
        let theirs = files.clone();
        let other = thread::spawn(move || theirs.announce(0));
        let here = files.watch(0, CoreId::BOOT, 5);
        let there = other.join().unwrap();
        assert!(here.is_none() || there.is_none(), "it is in the list once");
        assert_eq!(files.next(CoreId::BOOT), Some(Place::News(5)));
        assert_eq!(files.next(CoreId::BOOT), None);
    });
}

#[test]
fn what_comes_while_a_file_is_taken_from_the_list_is_told_too() {
    loom::model(|| {
        let shared = Arc::new((Files::new(1, 1), AtomicU32::new(0)));
        let (files, arrived) = &*shared;
        files.begin(0);
        files.watch(0, CoreId::BOOT, 5);
        let theirs = shared.clone();
        let other = thread::spawn(move || {
            let (files, arrived) = &*theirs;
            for count in 1..=2 {
                arrived.store(count, Ordering::Relaxed);
                files.announce(0);
            }
        });
        let mut seen = 0;
        let mut look = || match files.next(CoreId::BOOT) {
            Some(Place::News(5)) => seen = arrived.load(Ordering::Relaxed),
            // What made the place may have been told with the one before it.
            Some(Place::Stale) | None => {}
            place => panic!("{place:?}"),
        };
        look();
        look();
        other.join().unwrap();
        look();
        assert_eq!(seen, 2);
        assert!(files.is_quiet(CoreId::BOOT));
    });
}

#[test]
fn a_place_of_the_last_connection_does_not_keep_the_next_ones_news() {
    loom::model(|| {
        let files = Arc::new(Files::new(2, 1));
        // In the list of the first core, from a connection that is over.
        files.begin(0);
        files.watch(0, CoreId::BOOT, 1);
        files.announce(0);
        assert!(files.give_back(0));
        files.begin(0);
        let theirs = files.clone();
        let first_core = thread::spawn(move || theirs.next(CoreId::BOOT));
        let theirs = files.clone();
        let stack = thread::spawn(move || theirs.announce(0));
        files.watch(0, ONE, 2);
        let place = first_core.join().unwrap();
        assert_ne!(place, Some(Place::News(1)), "of a connection that is over");
        stack.join().unwrap();
        assert_eq!(files.next(ONE), Some(Place::News(2)));
        assert!(files.is_quiet(CoreId::BOOT) && files.is_quiet(ONE));
    });
}

#[test]
fn a_core_does_not_sleep_over_news() {
    loom::model(|| {
        let shared = Arc::new((Files::new(1, 1), WakeFlags::default(), Notify::new()));
        shared.0.begin(0);
        let theirs = shared.clone();
        let other = thread::spawn(move || {
            let (files, flags, interrupt) = &*theirs;
            if files.announce(0).is_some() && flags.wake() {
                interrupt.notify();
            }
        });
        let (files, flags, interrupt) = &*shared;
        files.watch(0, CoreId::BOOT, 5);
        // A wake-up that is lost is a deadlock, which loom tells.
        loop {
            if files.next(CoreId::BOOT) == Some(Place::News(5)) {
                break;
            }
            flags.clear();
            if files.is_quiet(CoreId::BOOT) && flags.begin_sleep() {
                interrupt.wait();
                flags.handle_interrupt();
            }
            flags.end_sleep();
        }
        other.join().unwrap();
    });
}
