//! The other half, for tests: a device in the same address space, honest or not.
//!
//! [`FakeDevice`] plays the registers and counts their use; [`FakeQueue`] plays the device's side
//! of one ring. Neither knows the driver's types: they read and write what a device would.

mod queue;

use super::device::{Device, DeviceKind, InterruptTarget, Registers, RingAddresses};
use super::doorbell::Doorbell;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
pub(super) use queue::Bell;
pub use queue::{FakeBuffer, FakeChain, FakeQueue};
use std::sync::{Mutex, MutexGuard};

/// How a fake device is made.
#[derive(Debug, Clone)]
pub struct FakeOptions {
    /// What it says it is.
    pub kind: DeviceKind,
    /// Features it offers.
    pub features: u64,
    /// Features it insists on: without them it refuses.
    pub required: u64,
    /// Size of each queue it has.
    pub queue_sizes: Vec<u32>,
    /// Its configuration space.
    pub config: Vec<u8>,
    /// Interrupts it can tell apart.
    pub interrupt_lines: usize,
    /// Never shows a status of 0.
    pub is_stuck: bool,
}

#[derive(Default)]
struct State {
    status: u8,
    accepted: u64,
    rings: BTreeMap<u16, (RingAddresses, Bell)>,
    bells: BTreeMap<u16, Bell>,
    bound: BTreeMap<u16, usize>,
    routes: BTreeMap<usize, InterruptTarget>,
    reads: u64,
    writes: u64,
}

/// A device that is memory and nothing else. Clones are the same device.
#[derive(Clone)]
pub struct FakeDevice {
    options: FakeOptions,
    state: Arc<Mutex<State>>,
}

impl FakeDevice {
    /// Makes a device.
    pub fn new(options: FakeOptions) -> Self {
        FakeDevice {
            options,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the state")
    }

    /// Returns the device as discovery would hand it to a driver.
    pub fn device(&self) -> Device {
        Device::new(
            self.options.kind,
            "nowhere".to_string(),
            Box::new(self.clone()),
        )
    }

    /// Returns the device's side of a queue, once the driver has installed it. Ask for it once: it
    /// starts at the beginning of the ring.
    pub fn queue(&self, index: u16) -> Option<FakeQueue> {
        let state = self.state();
        let (ring, bell) = state.rings.get(&index)?;
        let has_event_index = state.accepted & super::device::features::EVENT_INDEX != 0;
        Some(FakeQueue::new(*ring, *bell, has_event_index))
    }

    /// Returns the device status last written.
    pub fn last_status(&self) -> u8 {
        self.state().status
    }

    /// Returns the features that the driver took.
    pub fn accepted_features(&self) -> u64 {
        self.state().accepted
    }

    /// Returns how often a register was read and written, doorbells not counted.
    pub fn register_uses(&self) -> (u64, u64) {
        let state = self.state();
        (state.reads, state.writes)
    }

    /// Returns where the interrupt of a queue leads.
    pub fn interrupt_of(&self, queue: u16) -> Option<InterruptTarget> {
        let state = self.state();
        state.routes.get(state.bound.get(&queue)?).copied()
    }
}

impl Registers for FakeDevice {
    fn status(&mut self) -> u8 {
        let mut state = self.state();
        state.reads += 1;
        let is_refused = self.options.required & !state.accepted != 0;
        match state.status {
            0 if self.options.is_stuck => 1,
            status if is_refused => status & !8,
            status => status,
        }
    }

    fn set_status(&mut self, status: u8) {
        let mut state = self.state();
        state.writes += 1;
        state.status = status;
    }

    fn offered_features(&mut self) -> u64 {
        self.state().reads += 1;
        self.options.features
    }

    fn accept_features(&mut self, features: u64) {
        let mut state = self.state();
        state.writes += 1;
        state.accepted = features;
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.state().reads += 1;
        self.options
            .queue_sizes
            .get(usize::from(queue))
            .copied()
            .unwrap_or(0)
    }

    fn doorbell(&mut self, queue: u16) -> Option<Doorbell> {
        let bell = Bell::new();
        self.state().bells.insert(queue, bell);
        Some(bell.doorbell(queue.into()))
    }

    fn install(&mut self, queue: u16, ring: RingAddresses) {
        let mut state = self.state();
        state.writes += 1;
        let bell = *state.bells.entry(queue).or_insert_with(Bell::new);
        state.rings.insert(queue, (ring, bell));
    }

    fn interrupt_lines(&self) -> usize {
        self.options.interrupt_lines
    }

    fn route(&mut self, line: usize, target: InterruptTarget) -> bool {
        self.state().routes.insert(line, target);
        true
    }

    fn bind(&mut self, queue: u16, line: usize) -> bool {
        self.state().bound.insert(queue, line);
        line < self.options.interrupt_lines
    }

    fn interrupt_acknowledge(&mut self) -> Option<Doorbell> {
        None
    }

    fn config_u8(&mut self, offset: usize) -> Option<u8> {
        self.state().reads += 1;
        self.options.config.get(offset).copied()
    }

    fn config_u16(&mut self, offset: usize) -> Option<u16> {
        self.state().reads += 1;
        let bytes = self.options.config.get(offset..offset + 2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }
}
