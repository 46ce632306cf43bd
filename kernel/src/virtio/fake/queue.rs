//! The device's side of one ring, and the word that its doorbell writes to.

use super::super::device::RingAddresses;
use super::super::doorbell::Doorbell;
use super::super::notification::event_was_passed;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering, fence};

/// What is in a doorbell that has not been rung.
const SILENT: u32 = 0xffff_ffff;

/// A word that a driver's doorbell writes to.
#[derive(Clone, Copy)]
pub(in crate::virtio) struct Bell(NonNull<u32>);

// SAFETY: the word lives for ever, and is only accessed as a whole.
unsafe impl Send for Bell {}

impl Bell {
    pub(in crate::virtio) fn new() -> Self {
        Bell(NonNull::from(Box::leak(Box::new(SILENT))))
    }

    /// Returns the driver's side of it.
    pub(in crate::virtio) fn doorbell(self, value: u32) -> Doorbell {
        // SAFETY: the word is leaked, and nothing but the fake reads it.
        unsafe { Doorbell::bits32(self.0, value) }
    }

    /// Returns whether it was rung since the last look.
    fn take(self) -> bool {
        // SAFETY: valid for ever and aligned; the driver writes whole words.
        unsafe {
            let is_rung = self.0.read_volatile() != SILENT;
            if is_rung {
                self.0.write_volatile(SILENT);
            }
            is_rung
        }
    }
}

/// One buffer of a chain, as the descriptor names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeBuffer {
    address: u64,
    /// Length in bytes.
    pub len_bytes: u32,
    /// The device may write to it (and not read).
    pub is_writable: bool,
}

/// A chain of buffers that the driver made available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeChain {
    /// Its first descriptor, which names it.
    pub id: u16,
    /// The buffers.
    pub buffers: Vec<FakeBuffer>,
}

/// The device's side of one ring.
pub struct FakeQueue {
    ring: RingAddresses,
    bell: Bell,
    has_event_index: bool,
    next_available: u16,
    used: u16,
    signalled: u16,
}

impl FakeQueue {
    pub(in crate::virtio) fn new(ring: RingAddresses, bell: Bell, has_event_index: bool) -> Self {
        FakeQueue {
            ring,
            bell,
            has_event_index,
            next_available: 0,
            used: 0,
            signalled: 0,
        }
    }

    /// Returns the number of descriptors.
    pub fn size(&self) -> u16 {
        self.ring.size
    }

    /// Returns whether the doorbell was rung since the last look.
    pub fn was_rung(&mut self) -> bool {
        self.bell.take()
    }

    /// Returns how many chains wait to be taken.
    pub fn waiting(&self) -> u16 {
        let index = word(self.ring.available + 2).load(Ordering::Acquire);
        index.wrapping_sub(self.next_available)
    }

    /// Takes the next chain that the driver made available.
    pub fn take(&mut self) -> Option<FakeChain> {
        if self.waiting() == 0 {
            return None;
        }
        let slot = u64::from(self.next_available % self.ring.size);
        let id = read::<u16>(self.ring.available + 4 + 2 * slot);
        self.next_available = self.next_available.wrapping_add(1);
        let mut buffers = Vec::new();
        let mut next = Some(id);
        let mut table = self.ring.descriptors;
        while let Some(at) = next {
            let mut descriptor = table + 16 * u64::from(at);
            if read::<u16>(descriptor + 12) & 4 != 0 {
                table = read(descriptor);
                descriptor = table;
            }
            let flags = read::<u16>(descriptor + 12);
            buffers.push(FakeBuffer {
                address: read(descriptor),
                len_bytes: read(descriptor + 8),
                is_writable: flags & 2 != 0,
            });
            next = (flags & 1 != 0).then(|| read(descriptor + 14));
        }
        Some(FakeChain { id, buffers })
    }

    /// Asks for a doorbell at the next chain, or at none; VirtIO 1.2 §2.7.10.
    pub fn set_doorbell_wanted(&mut self, is_wanted: bool) {
        if self.has_event_index {
            let event = self
                .next_available
                .wrapping_add(if is_wanted { 0 } else { 0x8000 });
            let end = self.ring.used + 4 + 8 * u64::from(self.ring.size);
            word(end).store(event, Ordering::Relaxed);
        } else {
            word(self.ring.used).store(u16::from(!is_wanted), Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// Writes `bytes` to the chain's first writable buffer, as far as there is room; returns how
    /// many went in.
    pub fn write(&mut self, chain: &FakeChain, bytes: &[u8]) -> u32 {
        let Some(buffer) = chain.buffers.iter().find(|buffer| buffer.is_writable) else {
            return 0;
        };
        let len = bytes.len().min(buffer.len_bytes as usize);
        let to = core::ptr::with_exposed_provenance_mut::<u8>(buffer.address as usize);
        // SAFETY: the driver said that the buffer is this long and the device's to write.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), len) };
        len as u32
    }

    /// Reads the chain's readable buffers, one behind the other.
    pub fn read(&self, chain: &FakeChain) -> Vec<u8> {
        let mut bytes = Vec::new();
        for buffer in chain.buffers.iter().filter(|buffer| !buffer.is_writable) {
            for offset in 0..u64::from(buffer.len_bytes) {
                bytes.push(read::<u8>(buffer.address + offset));
            }
        }
        bytes
    }

    /// Gives a chain back, with `len_bytes` written. Both may be lies.
    pub fn complete(&mut self, id: u32, len_bytes: u32) {
        let slot = u64::from(self.used % self.ring.size);
        write(self.ring.used + 4 + 8 * slot, id);
        write(self.ring.used + 8 + 8 * slot, len_bytes);
        self.set_used_index(self.used.wrapping_add(1));
    }

    /// Stores the used index, which may be a lie.
    pub fn set_used_index(&mut self, index: u16) {
        self.used = index;
        word(self.ring.used + 2).store(index, Ordering::Release);
    }

    /// Returns whether the completions since the last call call for an interrupt (VirtIO 1.2
    /// §2.7.7).
    pub fn interrupts(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let old = core::mem::replace(&mut self.signalled, self.used);
        if self.has_event_index {
            let end = self.ring.available + 4 + 2 * u64::from(self.ring.size);
            event_was_passed(word(end).load(Ordering::Relaxed), self.used, old)
        } else {
            old != self.used && word(self.ring.available).load(Ordering::Relaxed) & 1 == 0
        }
    }

    /// Fills the next waiting receive buffer with `bytes`; false when there is none.
    pub fn deliver(&mut self, bytes: &[u8]) -> bool {
        let Some(chain) = self.take() else {
            return false;
        };
        let len_bytes = self.write(&chain, bytes);
        self.complete(chain.id.into(), len_bytes);
        true
    }

    /// Takes the next frame that was sent, and gives its buffer back.
    pub fn collect(&mut self) -> Option<Vec<u8>> {
        let chain = self.take()?;
        let bytes = self.read(&chain);
        self.complete(chain.id.into(), 0);
        Some(bytes)
    }
}

/// Returns an index or flags word that the driver shares.
fn word(address: u64) -> &'static AtomicU16 {
    let pointer = core::ptr::with_exposed_provenance_mut::<u16>(address as usize);
    // SAFETY: the driver installed the ring here; it lives for ever, and both sides access these
    // words atomically.
    unsafe { AtomicU16::from_ptr(pointer) }
}

/// Reads a value that the driver wrote before it published the index.
fn read<T: Copy>(address: u64) -> T {
    let pointer = core::ptr::with_exposed_provenance::<T>(address as usize);
    // SAFETY: inside of a ring or buffer that the driver named, which lives for ever.
    unsafe { pointer.read_volatile() }
}

/// Writes a value that the driver reads after the used index.
fn write<T: Copy>(address: u64, value: T) {
    let pointer = core::ptr::with_exposed_provenance_mut::<T>(address as usize);
    // SAFETY: as in `read`, and the device's to write.
    unsafe { pointer.write_volatile(value) }
}
