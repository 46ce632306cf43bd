//! A bounded ring from one core to one other: what one pushes the other pops, in order, without a
//! lock and without waiting.
//!
//! Downstream: `net`'s fabric, which sends frames through it. The scheme is Lamport's ("Proving the
//! correctness of multiprocess programs", 1977): the producer alone writes `tail`, the consumer alone
//! `head`, both count items for ever and wrap. Each end remembers what it last saw of the other's
//! counter and looks again only when that does not suffice, so that a cache line crosses once per
//! batch rather than once per item (Giacomoni et al., "FastForward", 2008, has the reason).
//!
//! Invariants: `head <= tail <= head + capacity` (wrapping); the places from `head` to `tail` hold
//! items and are the consumer's, the others hold none and are the producer's.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, OwnLines, UnsafeCell};
use alloc::boxed::Box;
use core::mem::MaybeUninit;

/// What both ends share.
struct Ring<T> {
    /// A power of two.
    places: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Items pushed so far.
    tail: OwnLines<AtomicUsize>,
    /// Items popped so far.
    head: OwnLines<AtomicUsize>,
}

// SAFETY: an item is pushed on one core and popped on another, so it must be `Send`; no two cores
// ever have access to the same place, by the invariant above.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above; everything else in it is atomic.
unsafe impl<T: Send> Sync for Ring<T> {}

/// The end that pushes. There is one; whoever has it may be on any core.
pub struct Producer<T> {
    ring: Arc<Ring<T>>,
    tail: usize,
    /// What was last seen of the consumer's counter: at most that.
    head_seen: usize,
}

/// The end that pops. There is one; whoever has it may be on any core.
pub struct Consumer<T> {
    ring: Arc<Ring<T>>,
    head: usize,
    /// What was last seen of the producer's counter: at most that.
    tail_seen: usize,
}

/// Makes a ring for at least `capacity` items: the next power of two, which is all the memory it
/// will ever take.
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let places = capacity.max(1).next_power_of_two();
    let place = |_| UnsafeCell::new(MaybeUninit::uninit());
    let ring = Arc::new(Ring {
        places: (0..places).map(place).collect(),
        tail: OwnLines(AtomicUsize::new(0)),
        head: OwnLines(AtomicUsize::new(0)),
    });
    let producer = Producer {
        ring: ring.clone(),
        tail: 0,
        head_seen: 0,
    };
    let consumer = Consumer {
        ring,
        head: 0,
        tail_seen: 0,
    };
    (producer, consumer)
}

impl<T> Ring<T> {
    #[inline]
    fn place(&self, count: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.places[count & (self.places.len() - 1)]
    }

    /// Takes the item out of a place.
    ///
    /// # Safety
    /// The place holds an item, and is the caller's.
    #[inline]
    unsafe fn take(&self, count: usize) -> T {
        // SAFETY: the caller's: nobody else has the place, and it was written.
        self.place(count)
            .with_mut(|place| unsafe { (*place).assume_init_read() })
    }
}

impl<T> Producer<T> {
    /// Appends an item.
    ///
    /// # Errors
    /// Gives the item back when the ring is full.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let capacity = self.ring.places.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            // Acquire: what the consumer took out of the places is over.
            self.head_seen = self.ring.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) == capacity {
                return Err(item);
            }
        }
        self.ring.place(self.tail).with_mut(|place| {
            // SAFETY: (1) the place is outside of `head..tail`, as just seen, and so the producer's;
            // (2) there is one producer, borrowed exclusively; (3) it holds no item to be dropped.
            unsafe { (*place).write(item) };
        });
        self.tail = self.tail.wrapping_add(1);
        // Release: the item is written before it can be seen.
        self.ring.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T> Producer<T> {
    /// Returns whether one more item fits.
    pub fn has_room(&mut self) -> bool {
        let capacity = self.ring.places.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            self.head_seen = self.ring.head.0.load(Ordering::Acquire);
        }
        self.tail.wrapping_sub(self.head_seen) < capacity
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest item.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            // Acquire: with the producer's release, the items up to there are written.
            self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        // SAFETY: (1) the place is inside of `head..tail`, as just seen, and so holds an item and is
        // the consumer's; (2) there is one consumer, borrowed exclusively.
        let item = unsafe { self.ring.take(self.head) };
        self.head = self.head.wrapping_add(1);
        // Release: the item is out before the place can be written again.
        self.ring.head.0.store(self.head, Ordering::Release);
        Some(item)
    }

    /// Returns whether there is an item.
    #[inline]
    pub fn has_items(&self) -> bool {
        self.head != self.tail_seen || self.head != self.ring.tail.0.load(Ordering::Acquire)
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // Both ends are gone, and nobody pushes or pops any more.
        let tail = self.tail.0.load(Ordering::Acquire);
        let mut head = self.head.0.load(Ordering::Acquire);
        while head != tail {
            // SAFETY: the places from `head` to `tail` hold items, and the ring is this function's.
            drop(unsafe { self.take(head) });
            head = head.wrapping_add(1);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::vec::Vec;

    #[test]
    fn items_come_out_in_order_and_a_full_ring_gives_them_back() {
        let (mut producer, mut consumer) = ring(3);
        for round in 0..10 {
            assert!(!consumer.has_items());
            for item in 0..4 {
                assert_eq!(producer.push(round + item), Ok(()));
            }
            assert_eq!(producer.push(99), Err(99), "three is rounded up to four");
            assert!(consumer.has_items());
            assert_eq!(consumer.pop(), Some(round));
            assert_eq!(producer.push(round + 4), Ok(()));
            let rest: Vec<i32> = core::iter::from_fn(|| consumer.pop()).collect();
            assert_eq!(rest, [round + 1, round + 2, round + 3, round + 4]);
        }
    }

    #[test]
    fn items_left_in_a_ring_are_dropped_with_it() {
        let item = Rc::new(());
        let (mut producer, mut consumer) = ring(4);
        for _ in 0..3 {
            assert!(producer.push(item.clone()).is_ok());
        }
        drop(consumer.pop());
        drop(producer);
        assert_eq!(Rc::strong_count(&item), 3);
        drop(consumer);
        assert_eq!(Rc::strong_count(&item), 1);
    }

    #[test]
    fn two_threads_pass_every_item_once() {
        // Miri runs this too, a thousand times slower.
        let count = if cfg!(miri) { 200 } else { 200_000_usize };
        let (mut producer, mut consumer) = ring(8);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..count {
                    let mut item = std::boxed::Box::new(number);
                    while let Err(back) = producer.push(item) {
                        item = back;
                        std::thread::yield_now();
                    }
                }
            });
            for number in 0..count {
                let item = loop {
                    match consumer.pop() {
                        Some(item) => break item,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(*item, number);
            }
            assert!(consumer.pop().is_none());
        });
    }
}
