//! A server with so many seats on each core (`seats=4`), and an echo for whoever has one. Who comes
//! when all seats of its core are taken waits; `steal=on` lets another core that has free seats take
//! it, so that nobody waits while a seat is free anywhere.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use examples::echo::Echo;
use megapipe::appliance::{Appliance, Machine, Place, Service, or_fatal};
use megapipe::{Application, Channel, Completion, Cookie, CoreMask, Instant, ListenHandle};

megapipe::appliance::entry!(boot);

const LISTENER: Cookie = Cookie(u64::MAX);

/// One core's server.
struct Seats {
    listener: ListenHandle,
    echo: Echo,
}

fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(7);
    let count = |value: &str| value.parse().ok().filter(|seats| *seats > 0);
    let seats = appliance.word("seats", "a number of seats from 1 up", count);
    let steal = appliance.word("steal", "on or off", |value| match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    });
    appliance.serve(Service::tcp(port), move |place: Place, channel| {
        let own = CoreMask::only(place.core);
        let listener = or_fatal(channel.listen(port, LISTENER, own));
        or_fatal(channel.set_stealing(listener, steal.unwrap_or(false)));
        or_fatal(channel.accept(listener, seats.unwrap_or(4)));
        Seats {
            listener,
            echo: Echo::new(place.connections),
        }
    })
}

impl Application for Seats {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        while let Some(event) = channel.dispatch(None) {
            match &event {
                Completion::ListenFailed { error, .. } => or_fatal(Err(*error)),
                // Its seat is free. (Room for the command is sure.)
                Completion::Disconnect { .. } => or_fatal(channel.accept(self.listener, 1)),
                _ => {}
            }
            self.echo.handle(channel, event);
        }
    }
}
