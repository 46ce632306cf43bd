//! The ping-pong server over BSD-style sockets: the baseline that MegaPipe is compared with. The words
//! `partition=on`, `batch=on` and `lwsocket=on` turn its three ideas on one by one.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use kernel::Processor;
use kernel::machine::ThisCore;
use megapipe::appliance::{Appliance, Footprint, Machine, Place, Seated, Service, Tell, or_fatal};
use megapipe::{CoreId, Instant};
use sockets::memory::Page;
use sockets::pong::{BUFFER_BYTES, Pong};
use sockets::{Cpu, Switches, System, Thread};
use spin::Once;

megapipe::appliance::entry!(boot);

fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(7);
    let switches = Switches {
        partition: is_on(&mut appliance, "partition"),
        batch: is_on(&mut appliance, "batch"),
        lwsocket: is_on(&mut appliance, "lwsocket"),
    };
    let service = Service {
        footprint: Footprint {
            // The program's buffer, and a page of the kernel's.
            application_bytes: 2 * BUFFER_BYTES + 512,
            ..Footprint::default()
        },
        ..Service::tcp(port)
    };
    let system = Arc::new(Once::new());
    appliance.run(service, move |seated: Seated<Page>| {
        let Place {
            cores, connections, ..
        } = seated.place;
        let system = system.call_once(|| System::new(switches, cores, connections));
        or_fatal(system.join(seated.stack, port));
        let cpu = Processing(seated.processor);
        let (mut thread, mut pong) = (Thread::new(system, &cpu), Pong::new(connections));
        let mut monitor = seated.monitor;
        cpu.0.start_barrier();
        loop {
            pong.run(&mut thread, monitor.deadline());
            let now = cpu.now();
            if monitor.deadline().is_some_and(|deadline| deadline <= now) {
                let calls = thread.calls();
                let more = |tell: Tell<'_>| {
                    calls.iter().for_each(|(name, value)| tell(name, value));
                };
                system.with_stack(cpu.core(), |stack| monitor.look(stack, now, more));
            }
        }
    })
}

/// Takes the word of a switch.
fn is_on(appliance: &mut Appliance, name: &'static str) -> bool {
    let on = appliance.word(name, "on or off", |value| match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    });
    on.unwrap_or(false)
}

/// The core, which can be crossed on.
struct Processing(ThisCore);

impl Processor for Processing {
    fn core(&self) -> CoreId {
        self.0.core()
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn unix_seconds(&self) -> u64 {
        self.0.unix_seconds()
    }

    fn clear_wake(&self) {
        self.0.clear_wake();
    }

    fn sleep_until(&self, deadline: Option<Instant>) {
        self.0.sleep_until(deadline);
    }

    fn wake(&self, core: CoreId) {
        self.0.wake(core);
    }
}

impl Cpu for Processing {
    fn cross(&self) {
        self.0.cross();
    }
}
