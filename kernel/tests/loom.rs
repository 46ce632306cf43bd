//! What crosses cores, in every order that the memory model allows (`RUSTFLAGS="--cfg loom"`): the
//! ring from one core to another, and going to sleep against being woken. loom also sees whether
//! two cores ever touch the same place of the ring at once, and whether an item is lost or leaks.
#![cfg(loom)]

use kernel::spsc;
use kernel::sync::Arc;
use kernel::wake::WakeFlags;
use loom::sync::Notify;
use loom::thread;

#[test]
fn items_cross_once_and_in_order() {
    loom::model(|| {
        let (mut producer, mut consumer) = spsc::ring(2);
        let other = thread::spawn(move || {
            let mut refused = 0;
            for item in 0..4 {
                // A ring of two is full at times: the item comes back.
                if let Err(back) = producer.push(Box::new(item)) {
                    assert_eq!(*back, item);
                    refused += 1;
                }
            }
            refused
        });
        let mut taken = Vec::new();
        for _ in 0..3 {
            if let Some(item) = consumer.pop() {
                taken.push(*item);
            }
        }
        let refused = other.join().unwrap();
        while let Some(item) = consumer.pop() {
            taken.push(*item);
        }
        assert!(taken.is_sorted() && taken.len() + refused == 4);
    });
}

#[test]
fn places_are_used_again_while_both_ends_run() {
    loom::model(|| {
        let (mut producer, mut consumer) = spsc::ring(1);
        let other = thread::spawn(move || {
            for mut item in 0..2 {
                while let Err(back) = producer.push(item) {
                    item = back;
                    thread::yield_now();
                }
            }
        });
        for expected in 0..2 {
            let item = loop {
                match consumer.pop() {
                    Some(item) => break item,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(item, expected);
        }
        other.join().unwrap();
        assert!(!consumer.has_items());
    });
}

#[test]
fn an_end_that_goes_away_leaves_no_item_behind() {
    loom::model(|| {
        let (mut producer, mut consumer) = spsc::ring(2);
        let other = thread::spawn(move || {
            // Leaks are loom's to find.
            let _ = producer.push(loom::sync::Arc::new(()));
            let _ = producer.push(loom::sync::Arc::new(()));
        });
        drop(consumer.pop());
        drop(consumer);
        other.join().unwrap();
    });
}

/// A core that takes `wanted` items, and sleeps whenever there is none; `interrupt` wakes it. A
/// wake-up that is lost is a deadlock, which loom tells.
fn take_all(
    mut consumer: spsc::Consumer<u32>,
    flags: &WakeFlags,
    interrupt: &Notify,
    wanted: usize,
) {
    let mut taken = 0;
    while taken < wanted {
        flags.clear();
        if consumer.pop().is_some() {
            taken += 1;
            continue;
        }
        if flags.begin_sleep() {
            interrupt.wait();
            flags.handle_interrupt();
        }
        flags.end_sleep();
    }
}

#[test]
fn a_core_that_goes_to_sleep_is_woken_for_what_was_put_down() {
    loom::model(|| {
        let (mut producer, consumer) = spsc::ring(2);
        let flags = Arc::new(WakeFlags::default());
        let interrupt = Arc::new(Notify::new());
        let (their_flags, their_interrupt) = (flags.clone(), interrupt.clone());
        let sleeper = thread::spawn(move || take_all(consumer, &their_flags, &their_interrupt, 2));
        for item in 0..2 {
            producer.push(item).unwrap();
            if flags.wake() {
                interrupt.notify();
            }
        }
        sleeper.join().unwrap();
    });
}

#[test]
fn two_cores_that_wake_a_third_do_not_rely_on_each_other_in_vain() {
    loom::model(|| {
        let flags = Arc::new(WakeFlags::default());
        let interrupt = Arc::new(Notify::new());
        let words: Vec<_> = (0..2)
            .map(|_| Arc::new(kernel::sync::atomic::AtomicU32::new(0)))
            .collect();
        let wakers: Vec<_> = words
            .iter()
            .map(|word| {
                let (word, flags, interrupt) = (word.clone(), flags.clone(), interrupt.clone());
                thread::spawn(move || {
                    word.store(1, kernel::sync::atomic::Ordering::Relaxed);
                    if flags.wake() {
                        interrupt.notify();
                    }
                })
            })
            .collect();
        let is_set = |word: &Arc<kernel::sync::atomic::AtomicU32>| {
            word.load(kernel::sync::atomic::Ordering::Relaxed) == 1
        };
        loop {
            flags.clear();
            if words.iter().all(is_set) {
                break;
            }
            if flags.begin_sleep() {
                interrupt.wait();
                flags.handle_interrupt();
            }
            flags.end_sleep();
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}
