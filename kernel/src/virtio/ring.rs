//! The split ring itself: descriptor table, available ring, used ring (VirtIO 1.2 §2.7).
//!
//! Every descriptor stands for one buffer of its queue for good, so the table is written at set-up
//! (and again for each transmit) and never read. What the device holds is kept in
//! `with_device`, which only the driver can touch.
//!
//! Upstream: the device, by its stores to the used ring. Downstream: `rx`, `tx`, `exchange`.

use super::device::RingAddresses;
use super::doorbell::Doorbell;
use super::limits::{MAX_QUEUE_SIZE, MIN_QUEUE_SIZE, QUIET_DISTANCE, QUIET_MARGIN};
use super::memory::{SharedMemory, device_address};
use super::notification::event_was_passed;
use super::ring_layout::{Descriptor, ENTRIES, INDEX, RingLayout, UsedEntry};
use alloc::boxed::Box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering, fence};

/// Descriptor flag: `next` is valid (VirtIO 1.2 §2.7.5).
pub(super) const DESCRIPTOR_NEXT: u16 = 1;
/// Descriptor flag: the device writes to this buffer.
pub(super) const DESCRIPTOR_WRITE: u16 = 2;
/// Descriptor flag: the buffer is a table of descriptors (VirtIO 1.2 §2.7.5.3).
pub(super) const DESCRIPTOR_INDIRECT: u16 = 4;
/// Available-ring flag: no interrupts, please. Of meaning without EVENT_IDX only.
const NO_INTERRUPT: u16 = 1;
/// Used-ring flag: no doorbells, please. Of meaning without EVENT_IDX only.
const NO_NOTIFY: u16 = 1;

/// What the used ring holds next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completion {
    /// Nothing new.
    Nothing,
    /// The device has finished with buffer `id` and says that it wrote `len_bytes`.
    Buffer {
        /// Below the size of the ring, and was with the device until now.
        id: u16,
        /// As the device has it: to be checked against the buffer.
        len_bytes: u32,
    },
    /// An entry that cannot be true: the id is no buffer of the device's. It was skipped.
    Lie,
}

/// One split ring, its doorbell, and the driver's own record of both.
pub(super) struct Ring {
    size: u16,
    has_event_index: bool,
    descriptors: NonNull<Descriptor>,
    available: NonNull<u8>,
    used: NonNull<u8>,
    doorbell: Doorbell,
    /// Which buffers the device holds: the shadow of the descriptor table.
    with_device: Box<[bool]>,
    /// Where the next buffer goes in the available ring, and up to where the device was told.
    next_available: u16,
    published: u16,
    /// The next entry to take from the used ring, and the device's index as last read.
    next_used: u16,
    seen_used: u16,
    /// Where the event index was put to keep the device quiet, `None` while armed.
    quiet_event: Option<u16>,
    /// The device's index jumped to where it cannot be: nothing more is taken.
    is_broken: bool,
    doorbells: u64,
    bad_completions: u64,
}

// SAFETY: the pointers lead to shared memory that is never freed, and only this value's holder
// goes through them on the driver's side.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes an empty ring; `size` is a power of two within [`MIN_QUEUE_SIZE`]..=[`MAX_QUEUE_SIZE`].
    /// `None` when there is no memory.
    pub(super) fn new(size: u16, has_event_index: bool, doorbell: Doorbell) -> Option<Self> {
        assert!(size.is_power_of_two() && (MIN_QUEUE_SIZE..=MAX_QUEUE_SIZE).contains(&size));
        let layout = RingLayout::new(size);
        let memory = SharedMemory::new(layout.end)?;
        let mut ring = Ring {
            size,
            has_event_index,
            descriptors: memory.start().cast(),
            available: memory.at(layout.available),
            used: memory.at(layout.used),
            doorbell,
            with_device: alloc::vec![false; usize::from(size)].into_boxed_slice(),
            next_available: 0,
            published: 0,
            next_used: 0,
            seen_used: 0,
            quiet_event: None,
            is_broken: false,
            doorbells: 0,
            bad_completions: 0,
        };
        ring.disarm();
        Some(ring)
    }

    /// Returns the number of descriptors.
    pub(super) fn size(&self) -> u16 {
        self.size
    }

    /// Returns where the three parts are, for the device.
    pub(super) fn addresses(&self) -> RingAddresses {
        RingAddresses {
            size: self.size,
            descriptors: device_address(self.descriptors.cast()),
            available: device_address(self.available),
            used: device_address(self.used),
        }
    }

    /// Returns the doorbells rung so far.
    pub(super) fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Returns the completions refused so far.
    pub(super) fn bad_completions(&self) -> u64 {
        self.bad_completions
    }

    /// Counts a completion that was refused for its length.
    pub(super) fn count_bad_completion(&mut self) {
        self.bad_completions += 1;
    }

    /// Writes descriptor `id` (below the size): the buffer, `DESCRIPTOR_*` flags, and the next of
    /// its chain.
    pub(super) fn describe(
        &mut self,
        id: u16,
        address: u64,
        len_bytes: u32,
        flags: u16,
        next: u16,
    ) {
        assert!(id < self.size, "descriptor outside of the table");
        let descriptor = Descriptor {
            address,
            len_bytes,
            flags,
            next,
        };
        // SAFETY: `id` is inside of the table, which lives for ever and is aligned to a page.
        unsafe {
            self.descriptors
                .add(usize::from(id))
                .write_volatile(descriptor)
        };
    }

    /// Puts buffer `id` into the available ring; the device learns of it by
    /// [`publish`](Self::publish). Returns false, and does nothing, when `id` is no buffer or the
    /// device has it already.
    #[inline]
    pub(super) fn give(&mut self, id: u16) -> bool {
        match self.with_device.get_mut(usize::from(id)) {
            Some(held) if !*held => *held = true,
            _ => return false,
        }
        let slot = usize::from(self.next_available & (self.size - 1));
        // SAFETY: the mask keeps `slot` below the size; entries are aligned to 2 bytes. The slot is
        // free: at most `size` buffers exist, and each is in the ring once.
        unsafe {
            self.available
                .add(ENTRIES + 2 * slot)
                .cast::<u16>()
                .write_volatile(id)
        };
        self.next_available = self.next_available.wrapping_add(1);
        true
    }

    /// Tells the device of everything given since the last call: one store of the index, and one
    /// doorbell if the device wants it.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.next_available != self.published {
            let old = self.store_available_index();
            self.ring_if_wanted(old);
        }
    }

    /// First half of [`publish`](Self::publish): returns the index published before.
    #[inline]
    pub(super) fn store_available_index(&mut self) -> u16 {
        let old = self.published;
        self.available_word(INDEX)
            .store(self.next_available, Ordering::Release);
        self.published = self.next_available;
        old
    }

    /// Rings the doorbell, whether the device wants it or not.
    pub(super) fn nudge(&mut self) {
        self.doorbells += 1;
        self.doorbell.ring();
    }

    /// Second half of [`publish`](Self::publish) (VirtIO 1.2 §2.7.10.1, §2.7.13.4.1).
    #[inline]
    pub(super) fn ring_if_wanted(&mut self, old: u16) {
        // The device stores its wish and then looks at the index; here it is the other way round.
        fence(Ordering::SeqCst);
        let is_wanted = if self.has_event_index {
            let event = self.used_word(self.used_end()).load(Ordering::Relaxed);
            event_was_passed(event, self.published, old)
        } else {
            self.used_word(0).load(Ordering::Relaxed) & NO_NOTIFY == 0
        };
        if is_wanted {
            self.doorbells += 1;
            self.doorbell.ring();
        }
    }

    /// Takes the next entry of the used ring.
    #[inline]
    pub(super) fn take(&mut self) -> Completion {
        if self.next_used == self.seen_used && !self.look() {
            return Completion::Nothing;
        }
        let slot = usize::from(self.next_used & (self.size - 1));
        // SAFETY: the mask keeps `slot` below the size; the used ring is aligned to 64 bytes, its
        // entries to 4. Any bits make an entry.
        let entry = unsafe {
            let entries = self.used.add(ENTRIES).cast::<UsedEntry>();
            entries.add(slot).read_volatile()
        };
        self.next_used = self.next_used.wrapping_add(1);
        match self.with_device.get_mut(entry.id as usize) {
            Some(held) if *held => {
                *held = false;
                Completion::Buffer {
                    id: entry.id as u16,
                    len_bytes: entry.len_bytes,
                }
            }
            _ => {
                self.bad_completions += 1;
                Completion::Lie
            }
        }
    }

    /// Reads the device's index; returns whether it moved.
    fn look(&mut self) -> bool {
        let used = self.used_word(INDEX).load(Ordering::Acquire);
        if used == self.seen_used || self.is_broken {
            return false;
        }
        // The device cannot have used more than it was given.
        if used.wrapping_sub(self.next_used) > self.published.wrapping_sub(self.next_used) {
            self.is_broken = true;
            self.bad_completions += 1;
            return false;
        }
        self.seen_used = used;
        if let Some(event) = self.quiet_event
            && self.has_event_index
            && event.wrapping_sub(used) < QUIET_MARGIN
        {
            self.disarm();
        }
        true
    }

    /// Returns whether [`take`](Self::take) has something to look at.
    pub(super) fn has_used(&self) -> bool {
        !self.is_broken
            && (self.next_used != self.seen_used
                || self.used_word(INDEX).load(Ordering::Acquire) != self.seen_used)
    }

    /// Asks for an interrupt at the next completion. Returns true, and asks for none, when there
    /// is one already.
    pub(super) fn arm(&mut self) -> bool {
        if self.has_used() {
            return true;
        }
        self.ask_for_interrupt();
        if self.has_used() {
            self.disarm();
            return true;
        }
        false
    }

    /// The store of [`arm`](Self::arm) (VirtIO 1.2 §2.7.7.1), fenced from the look that follows.
    pub(super) fn ask_for_interrupt(&mut self) {
        self.quiet_event = None;
        if self.has_event_index {
            let event = self.available_word(self.available_end());
            event.store(self.next_used, Ordering::Relaxed);
        } else {
            self.available_word(0).store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// Asks for no interrupts. With EVENT_IDX there is no word for that: the event is put where
    /// the device does not get before it is moved again.
    pub(super) fn disarm(&mut self) {
        let event = self.seen_used.wrapping_add(QUIET_DISTANCE);
        self.quiet_event = Some(event);
        if self.has_event_index {
            self.available_word(self.available_end())
                .store(event, Ordering::Relaxed);
        } else {
            self.available_word(0)
                .store(NO_INTERRUPT, Ordering::Relaxed);
        }
    }

    /// Offset of `used_event`, behind the entries of the available ring.
    #[inline]
    fn available_end(&self) -> usize {
        ENTRIES + 2 * usize::from(self.size)
    }

    /// Offset of `avail_event`, behind the entries of the used ring.
    #[inline]
    fn used_end(&self) -> usize {
        ENTRIES + size_of::<UsedEntry>() * usize::from(self.size)
    }

    /// Returns a word of the available ring: `offset` is 0, `INDEX` or `available_end`.
    #[inline]
    fn available_word(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: all three offsets are even and inside of the ring, which lives for ever; both
        // sides access these words atomically.
        unsafe { AtomicU16::from_ptr(self.available.add(offset).cast().as_ptr()) }
    }

    /// Returns a word of the used ring: `offset` is 0, `INDEX` or `used_end`.
    #[inline]
    fn used_word(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: as in `available_word`.
        unsafe { AtomicU16::from_ptr(self.used.add(offset).cast().as_ptr()) }
    }
}
