//! A register that is only ever written, always with the same value: a queue's doorbell, or the
//! acknowledgement of an interrupt.

use core::ptr::NonNull;

/// One device register and the value to write to it (VirtIO 1.2 §4.1.5.2, §4.2.2 QueueNotify).
///
/// Its address is worked out once, when the queue is set up, so that ringing is one store.
#[derive(Debug)]
pub struct Doorbell {
    register: Register,
}

#[derive(Debug)]
enum Register {
    /// PCI: 16 bits at the queue's own address.
    Bits16(NonNull<u16>, u16),
    /// MMIO: 32 bits.
    Bits32(NonNull<u32>, u32),
}

// SAFETY: a store to a device register may come from any core, and the constructors' callers
// promise that the register stays mapped.
unsafe impl Send for Doorbell {}

impl Doorbell {
    /// Makes a doorbell of a 16-bit register.
    ///
    /// # Safety
    /// `register` must stay valid for volatile 16-bit stores for ever, and storing `value` must
    /// have no effect on memory but through buffers that were made available to the device.
    pub unsafe fn bits16(register: NonNull<u16>, value: u16) -> Self {
        Doorbell {
            register: Register::Bits16(register, value),
        }
    }

    /// Makes a doorbell of a 32-bit register.
    ///
    /// # Safety
    /// As for [`bits16`](Self::bits16), with 32-bit stores.
    pub unsafe fn bits32(register: NonNull<u32>, value: u32) -> Self {
        Doorbell {
            register: Register::Bits32(register, value),
        }
    }

    /// Writes the value. Costs an exit to the hypervisor: 1–2 µs, or far more.
    pub fn ring(&self) {
        match self.register {
            // SAFETY: the caller of `bits16` promised that the register can be written.
            Register::Bits16(register, value) => unsafe { register.write_volatile(value) },
            // SAFETY: the caller of `bits32` promised that the register can be written.
            Register::Bits32(register, value) => unsafe { register.write_volatile(value) },
        }
    }
}
