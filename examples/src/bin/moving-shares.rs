//! Listeners whose masks change all the time: the first core takes the other cores' shares of new
//! connections and gives them back, and the others give theirs up and take them back. Connections
//! stay where they are, and none is lost.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::time::Duration;
use examples::echo::Echo;
use megapipe::appliance::{Appliance, Machine, Place, Service, or_fatal};
use megapipe::{Application, Channel, Completion, Cookie, CoreId, CoreMask, Instant, ListenHandle};

megapipe::appliance::entry!(boot);

const LISTENER: Cookie = Cookie(u64::MAX);

/// One core's server.
struct Mover {
    listener: ListenHandle,
    echo: Echo,
    /// The masks between which it goes to and fro, and which of them is next.
    masks: [CoreMask; 2],
    next: usize,
    /// When it asks for the next one; the cores' times drift against each other.
    period: Duration,
    due: Instant,
    changes: u64,
    refusals: u64,
}

fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(7);
    appliance.serve(Service::tcp(port), move |place: Place, channel| {
        let own = CoreMask::only(place.core);
        let listener = or_fatal(channel.listen(port, LISTENER, own));
        or_fatal(channel.accept(listener, u32::MAX));
        let other = match place.core {
            CoreId::BOOT => CoreMask::first(place.cores),
            _ => CoreMask::EMPTY,
        };
        Mover {
            listener,
            echo: Echo::new(place.connections),
            // Its own first: the others may not listen yet.
            masks: [own, other],
            next: 0,
            period: Duration::from_micros(700 + 300 * place.core.index() as u64),
            due: Instant::ZERO,
            changes: 0,
            refusals: 0,
        }
    })
}

impl Application for Mover {
    fn run(&mut self, channel: &mut Channel, now: Instant) {
        if self.due <= now {
            self.due = now + self.period;
            // Busy while the last change is under way: then it is asked for at the next time.
            let _ = channel.change_mask(self.listener, self.masks[self.next]);
        }
        while let Some(event) = channel.dispatch(Some(self.due.saturating_since(now))) {
            match event {
                Completion::MaskChanged { result: Ok(()), .. } => {
                    self.next = 1 - self.next;
                    self.changes += 1;
                }
                // Another core has a share of it at the moment.
                Completion::MaskChanged { .. } => self.refusals += 1,
                Completion::ListenFailed { error, .. } => or_fatal(Err(error)),
                event => self.echo.handle(channel, event),
            }
        }
    }

    fn tell_counters(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        tell("mask_changes", self.changes);
        tell("mask_refusals", self.refusals);
    }
}
