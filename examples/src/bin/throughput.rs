//! A peer to measure bulk transfers with, in the way of ttcp and iperf3: takes and counts what comes,
//! and sends as much as the first line asks for. `window=KIB` bounds what may wait unread on a
//! connection.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use examples::throughput::{LISTENER, Pattern, Throughput};
use megapipe::CoreMask;
use megapipe::appliance::{Appliance, Footprint, Machine, Service, or_fatal};

megapipe::appliance::entry!(boot);

fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(5001);
    let kib = |value: &str| value.parse().ok().filter(|kib| (4..=16_384).contains(kib));
    let window = appliance.word("window", "a window in KiB, from 4 to 16384", kib);
    let service = Service {
        footprint: Footprint {
            window_bytes: window.unwrap_or(1024) * 1024,
            application_bytes: Throughput::CONNECTION_BYTES,
            ..Footprint::default()
        },
        ..Service::tcp(port)
    };
    let pattern = Pattern::new();
    appliance.serve(service, move |place, channel| {
        let listener = or_fatal(channel.listen(port, LISTENER, CoreMask::only(place.core)));
        or_fatal(channel.accept_multishot(listener));
        Throughput::new(pattern, place.connections)
    })
}
