//! The ring against the fake device half: wraps, batches, interleavings, and real concurrency.

use super::fake::{Bell, FakeQueue};
use super::ring::{Completion, Ring};
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::vec::Vec;

/// A small seeded generator (xorshift64).
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Turns of the long loops: enough to wrap an index twice, or a taste of it under Miri.
pub(super) const LONG: u64 = if cfg!(miri) { 600 } else { 140_000 };

/// A ring of `size` with both its ends; every descriptor has length 0.
fn pair(size: u16, has_event_index: bool) -> (Ring, FakeQueue) {
    let bell = Bell::new();
    let ring = Ring::new(size, has_event_index, bell.doorbell(7)).unwrap();
    let queue = FakeQueue::new(ring.addresses(), bell, has_event_index);
    (ring, queue)
}

#[test]
fn ids_go_round_past_the_wrap_in_any_batch() {
    for (size, has_event_index) in [(4, true), (4, false), (16, true), (256, true), (256, false)] {
        let (mut ring, mut device) = pair(size, has_event_index);
        let mut random = Seeded(0x5eed + u64::from(size));
        let mut free: Vec<u16> = (0..size).collect();
        let mut with_device = Vec::new();
        let mut turns = 0;
        while turns < LONG {
            for _ in 0..random.below(u64::from(size) + 1) {
                let Some(id) = free.pop() else { break };
                assert!(ring.give(id) && !ring.give(id));
            }
            let doorbells = ring.doorbells();
            ring.publish();
            ring.publish();
            assert!(ring.doorbells() <= doorbells + 1);
            while let Some(chain) = device.take() {
                with_device.push(chain.id);
            }
            assert_eq!(with_device.len() + free.len(), usize::from(size));
            for _ in 0..random.below(with_device.len() as u64 + 1) {
                let at = random.below(with_device.len() as u64) as usize;
                let id = with_device.swap_remove(at);
                device.complete(id.into(), u32::from(id) * 3);
                turns += 1;
            }
            loop {
                match ring.take() {
                    Completion::Nothing => break,
                    Completion::Lie => panic!("an honest device was called a liar"),
                    Completion::Buffer { id, len_bytes } => {
                        assert_eq!(len_bytes, u32::from(id) * 3);
                        free.push(id);
                    }
                }
            }
        }
        assert_eq!(ring.bad_completions(), 0);
    }
}

#[test]
fn a_quiet_ring_is_never_interrupted_and_an_armed_one_always() {
    for has_event_index in [true, false] {
        let (mut ring, mut device) = pair(4, has_event_index);
        let mut turn = |is_armed: bool| {
            ring.give(1);
            ring.publish();
            if is_armed {
                assert!(!ring.arm());
            }
            device.take().unwrap();
            device.complete(1, 0);
            assert_eq!(device.interrupts(), is_armed);
            if is_armed {
                assert!(ring.arm(), "a completion waits");
                ring.disarm();
            }
            assert_eq!(
                ring.take(),
                Completion::Buffer {
                    id: 1,
                    len_bytes: 0
                }
            );
        };
        for length in [LONG, 0, 1, 3, LONG / 2, 100] {
            (0..length).for_each(|_| turn(false));
            turn(true);
        }
    }
}

/// Driver and device take turns in any order, each step a memory access apart. Whenever both have
/// come to rest, nothing may be left lying: that would be a lost doorbell.
#[test]
fn no_doorbell_is_lost_in_any_interleaving() {
    for has_event_index in [true, false] {
        for seed in 1..=40 {
            let (mut ring, mut device) = pair(8, has_event_index);
            let mut random = Seeded(seed);
            let mut unrung: Option<u16> = None;
            let mut is_device_asleep = false;
            for _ in 0..LONG / 20 {
                if random.below(2) == 0 {
                    match unrung.take() {
                        Some(old) => ring.ring_if_wanted(old),
                        None => {
                            let mut given = 0;
                            for _ in 0..random.below(9) {
                                given += u16::from(ring.give(random.below(8) as u16));
                            }
                            if given > 0 {
                                unrung = Some(ring.store_available_index());
                            }
                        }
                    }
                    while ring.take() != Completion::Nothing {}
                } else if is_device_asleep {
                    is_device_asleep = !device.was_rung();
                } else if let Some(chain) = device.take() {
                    device.set_doorbell_wanted(false);
                    device.complete(chain.id.into(), 0);
                } else {
                    device.set_doorbell_wanted(true);
                    is_device_asleep = device.waiting() == 0;
                }
                if is_device_asleep && unrung.is_none() && device.waiting() > 0 {
                    assert!(
                        device.was_rung(),
                        "asleep with work and no doorbell, seed {seed}"
                    );
                    is_device_asleep = false;
                }
            }
        }
    }
}

/// The same the other way: a driver that sleeps while completions wait has lost a wake-up.
#[test]
fn no_interrupt_is_lost_in_any_interleaving() {
    #[derive(PartialEq)]
    enum Driver {
        Awake,
        Asked,
        Asleep,
    }
    for has_event_index in [true, false] {
        for seed in 1..=40 {
            let (mut ring, mut device) = pair(8, has_event_index);
            let mut random = Seeded(seed * 77);
            let mut driver = Driver::Awake;
            let mut is_unsignalled = false;
            let mut is_woken = false;
            for _ in 0..LONG / 20 {
                if random.below(2) == 0 {
                    driver = match driver {
                        Driver::Awake if random.below(3) == 0 && !ring.has_used() => {
                            is_woken = false;
                            ring.ask_for_interrupt();
                            Driver::Asked
                        }
                        Driver::Asked if !ring.has_used() => Driver::Asleep,
                        Driver::Asleep if !is_woken => Driver::Asleep,
                        Driver::Asked | Driver::Asleep => {
                            ring.disarm();
                            Driver::Awake
                        }
                        Driver::Awake => {
                            while ring.take() != Completion::Nothing {}
                            ring.give(random.below(8) as u16);
                            ring.publish();
                            Driver::Awake
                        }
                    };
                } else if is_unsignalled {
                    is_woken |= device.interrupts();
                    is_unsignalled = false;
                } else if let Some(chain) = device.take() {
                    device.complete(chain.id.into(), 0);
                    is_unsignalled = true;
                }
                if driver == Driver::Asleep && !is_unsignalled && ring.has_used() {
                    assert!(is_woken, "asleep with completions, seed {seed}");
                }
            }
        }
    }
}

/// Looks at `is_so` until it holds; fails when it does not come to hold.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for turn in 0..50_000_000_u64 {
        if is_so() {
            return;
        }
        match turn % 256 {
            0 => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
    panic!("{what} was lost");
}

/// Both halves at once on real cores, each asleep until it is told: here the order of stores and
/// loads counts, which no simulation shows.
#[test]
#[cfg_attr(
    miri,
    ignore = "the fake device's doorbell is plain memory, and so a race to Miri"
)]
fn two_threads_lose_nothing() {
    const ROUNDS: u32 = 400_000;
    for has_event_index in [true, false] {
        let (mut ring, mut device) = pair(4, has_event_index);
        let interrupt = Arc::new(AtomicBool::new(false));
        let raise = interrupt.clone();
        let device = std::thread::spawn(move || {
            let mut done = 0;
            while done < ROUNDS {
                device.set_doorbell_wanted(false);
                while let Some(chain) = device.take() {
                    device.complete(chain.id.into(), 0);
                    done += 1;
                    if device.interrupts() {
                        raise.store(true, Ordering::SeqCst);
                    }
                }
                device.set_doorbell_wanted(true);
                if device.waiting() == 0 && done < ROUNDS {
                    wait_until("a doorbell", || device.was_rung());
                }
            }
        });
        let (mut done, mut given) = (0, 0);
        while done < ROUNDS {
            while given < ROUNDS && ring.give((given % 4) as u16) {
                given += 1;
            }
            ring.publish();
            while let Completion::Buffer { .. } = ring.take() {
                done += 1;
            }
            interrupt.store(false, Ordering::SeqCst);
            if done < given && !ring.arm() {
                wait_until("an interrupt", || interrupt.load(Ordering::SeqCst));
                ring.disarm();
            }
        }
        device.join().unwrap();
        assert_eq!(ring.bad_completions(), 0);
    }
}

#[test]
fn every_lie_of_the_used_ring_is_counted_and_harmless() {
    // Ids that are no buffer, or no buffer of the device's.
    let (mut ring, mut device) = pair(8, true);
    for id in 0..4 {
        ring.give(id);
    }
    ring.publish();
    for id in [8, 5, 0xffff_ffff, 0x1_0000] {
        device.complete(id, 0);
        assert_eq!(ring.take(), Completion::Lie);
    }
    assert_eq!(ring.bad_completions(), 4);
    assert_eq!(ring.take(), Completion::Nothing);

    // One buffer given back twice.
    let (mut ring, mut device) = pair(8, true);
    ring.give(3);
    ring.give(4);
    ring.publish();
    device.complete(3, 9);
    device.complete(3, 9);
    assert_eq!(
        ring.take(),
        Completion::Buffer {
            id: 3,
            len_bytes: 9
        }
    );
    assert_eq!(ring.take(), Completion::Lie);

    // More used than there ever was; and an index that went back.
    for index in [3, 9, 0x7fff, 0x8000, 0xffff] {
        let (mut ring, mut device) = pair(8, true);
        ring.give(0);
        ring.give(1);
        ring.publish();
        device.set_used_index(index);
        for _ in 0..3 {
            assert_eq!(ring.take(), Completion::Nothing);
        }
        assert_eq!(ring.bad_completions(), 1);
        assert!(!ring.arm());
    }
}

#[test]
fn a_liar_at_random_never_gets_a_buffer_given_twice() {
    let (mut ring, mut device) = pair(16, true);
    let mut random = Seeded(99);
    let mut owned = [true; 16];
    for _ in 0..LONG {
        let id = random.below(20) as u16;
        let may_give = owned.get(usize::from(id)).copied().unwrap_or(false);
        assert_eq!(ring.give(id), may_give);
        if may_give {
            owned[usize::from(id)] = false;
        }
        ring.publish();
        match random.below(8) {
            0 => device.complete(random.below(24) as u32, random.below(1 << 32) as u32),
            _ => {
                if let Some(chain) = device.take() {
                    device.complete(chain.id.into(), 1);
                }
            }
        }
        if let Completion::Buffer { id, .. } = ring.take() {
            assert!(!owned[usize::from(id)]);
            owned[usize::from(id)] = true;
        }
    }
    assert!(ring.bad_completions() > 0);
}
