//! The power button on the bare machine: its event enabled, its interrupt aimed at the boot core, its
//! registers kept in reach.
//!
//! Upstream: [`power_button`](crate::power_button), which says where it is. Downstream: whoever ends
//! the appliance. The interrupt has a vector of its own, whose entry sets a word beside the wake flag,
//! so that no core reads a register to learn what has woken it.

use super::interrupts::POWER_VECTOR;
use super::{Machine, memory, ports};
use crate::CoreId;
use crate::power_button::{self, EventRegisters, GED_POWER_DOWN, PM1_POWER_BUTTON, PowerButton};
use core::sync::atomic::AtomicU32;

/// Set by the button's interrupt (`traps.s`).
#[unsafe(no_mangle)]
static SLUICE_POWER_SIGNAL: AtomicU32 = AtomicU32::new(0);

/// PM1 control: ACPI mode is on, and the button raises an interrupt of ours instead of the firmware's.
const SCI_ENABLED: u16 = 1;
/// How often the firmware is looked at for having entered ACPI mode.
const ENTER_POLLS: u32 = 10_000;

impl Machine {
    /// Arms the power button and returns it; for the boot core, which its interrupt wakes. `None` on
    /// a machine that has none, or none that can be reached.
    pub fn power_button(&mut self) -> Option<PowerButton> {
        let event = power_button::find(&memory::OPEN_MEMORY, self.rsdp?)?;
        match event.registers {
            EventRegisters::Fixed { status_port, .. } => {
                let [low, high] = [status_port, status_port.checked_add(1)?];
                self.open_ports.extend_from_slice(&[low, high]).ok()?;
            }
            EventRegisters::GenericEvent { address } => self.map_device(address, 4).ok()?,
        }
        self.route(event.gsi, CoreId::BOOT, POWER_VECTOR).ok()?;
        let button = PowerButton::new(
            &SLUICE_POWER_SIGNAL,
            match event.registers {
                EventRegisters::Fixed { status_port, .. } => TakeEvent::Fixed(status_port),
                EventRegisters::GenericEvent { address } => TakeEvent::Generic(address),
            }
            .into_closure(),
        );
        if let EventRegisters::Fixed {
            status_port,
            enable_port,
            control_port,
            enter,
        } = event.registers
        {
            arm_fixed(status_port, enable_port, control_port, enter);
        }
        Some(button)
    }
}

/// How an event is read and cleared.
enum TakeEvent {
    Fixed(u16),
    Generic(u64),
}

impl TakeEvent {
    fn into_closure(self) -> impl FnMut() -> bool + Send + 'static {
        move || match self {
            TakeEvent::Fixed(port) => {
                // SAFETY: the PM1 status register, whose ports stay open to the boot core; writing a
                // bit clears it and nothing else.
                unsafe {
                    let is_pressed = ports::read_u16(port) & PM1_POWER_BUTTON != 0;
                    ports::write_u16(port, PM1_POWER_BUTTON);
                    is_pressed
                }
            }
            TakeEvent::Generic(address) => {
                // SAFETY: the generic event device's register, mapped as a device's for good;
                // reading clears its events, of which only this one is of use here.
                let events = unsafe { (address as *const u32).read_volatile() };
                events & GED_POWER_DOWN != 0
            }
        }
    }
}

/// Enters ACPI mode where the firmware has not, forgets an old press, and lets the next one interrupt.
fn arm_fixed(status: u16, enable: u16, control: u16, enter: Option<(u16, u8)>) {
    // SAFETY: registers of the power management block, where the firmware's tables say they are; the
    // machine is open, as the caller's `&mut Machine` shows. None of them changes memory that is ours.
    unsafe {
        if let Some((port, value)) = enter
            && ports::read_u16(control) & SCI_ENABLED == 0
        {
            ports::write_u8(port, value);
            for _ in 0..ENTER_POLLS {
                if ports::read_u16(control) & SCI_ENABLED != 0 {
                    break;
                }
            }
        }
        ports::write_u16(status, PM1_POWER_BUTTON);
        ports::write_u16(enable, ports::read_u16(enable) | PM1_POWER_BUTTON);
    }
}
