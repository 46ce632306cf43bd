//! A TCP load balancer to the backends of the word `backends=ADDRESS:PORT,…`, round robin among those
//! that are well.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use examples::backends;
use examples::proxy::{LISTENER, Proxy};
use megapipe::CoreMask;
use megapipe::appliance::{Appliance, Machine, Service, fatal, or_fatal};

megapipe::appliance::entry!(boot);

fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(80);
    let wanted = "addresses and ports with commas between, such as backends=10.0.2.2:8000";
    let Some(list) = appliance.word("backends", wanted, backends::parse) else {
        fatal(format_args!("backends= is missing: wanted {wanted}"));
    };
    appliance.serve(Service::tcp(port), move |place, channel| {
        let mask = CoreMask::only(place.core);
        let listener = or_fatal(channel.listen(port, LISTENER, mask));
        or_fatal(channel.accept_multishot(listener));
        Proxy::new(&list, place.connections)
    })
}
