//! The ping-pong server of the MegaPipe paper (OSDI 2012, listing 1): sends back what it receives.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{vec, vec::Vec};
use megapipe::appliance::{Appliance, Machine, Service, or_fatal};
use megapipe::{Application, Channel, CoreMask, Handle, Instant, ListenHandle};
use megapipe::{Completion::*, Cookie, IoVec};

megapipe::appliance::entry!(boot);

/// One core's server: its part of the listener, and its connections by cookie.
struct PingPong(ListenHandle, Vec<Option<Handle>>);

fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(7);
    // On every core, over a channel of its own: register with this core's mask, accept.
    appliance.serve(Service::tcp(port), move |place, channel| {
        let mask = CoreMask::only(place.core);
        let listener = or_fatal(channel.listen(port, Cookie(u64::MAX), mask));
        or_fatal(channel.accept(listener, 1));
        PingPong(listener, vec![None; place.connections])
    })
}

impl Application for PingPong {
    fn run(&mut self, channel: &mut Channel, _now: Instant) {
        let PingPong(listener, connections) = self;
        while let Some(event) = channel.dispatch(None) {
            let index = event.cookie().0 as usize;
            let conn = connections.get(index).copied().flatten();
            // A command is refused only when the connection is over: its Disconnect comes next.
            let _ = match (event, conn) {
                (Accept { socket, .. }, _) => {
                    let index = socket.index();
                    let conn = channel.register(socket, Cookie(index as u64));
                    connections[index] = Some(conn);
                    channel.accept(*listener, 1).and(channel.read(conn))
                }
                (Read { result: Ok(0), .. }, Some(conn)) => channel.disconnect(conn),
                (Read { buffer, .. }, Some(conn)) => {
                    let mut pieces = IoVec::from_iter(buffer);
                    channel.writev(conn, &mut pieces)
                }
                (Write { .. }, Some(conn)) => channel.read(conn),
                (Disconnect { .. }, Some(conn)) => channel.unregister(conn),
                (ListenFailed { error, .. }, _) => or_fatal(Err(error)),
                _ => Ok(()),
            };
        }
    }
}
