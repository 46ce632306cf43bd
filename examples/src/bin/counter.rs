//! Counts lines: whoever sends one gets the count. The worked example of `docs/megapipe.md`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;
use megapipe::appliance::{Appliance, Machine, Service, or_fatal};
use megapipe::{Application, Channel, Completion, Cookie, CoreMask, Handle, Instant};
use megapipe::{TimerHandle, Versions};

megapipe::appliance::entry!(boot);

const LISTENER: Cookie = Cookie(u64::MAX);
/// A client that says nothing this long is let go.
const PATIENCE: Duration = Duration::from_secs(30);

/// One core's part.
struct Counter {
    count: u64,
    /// Answers on their way: memory is taken at the start, and used again when the peer has it.
    answers: Versions,
    /// By the cookie.
    clients: Vec<Option<Client>>,
}

struct Client {
    handle: Handle,
    timer: Option<TimerHandle>,
    last_line: Instant,
}

fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(7000);
    // On every core. All memory is taken here: later, an allocation is a crash.
    appliance.serve(Service::tcp(port), move |place, channel| {
        let listener = or_fatal(channel.listen(port, LISTENER, CoreMask::only(place.core)));
        or_fatal(channel.accept_multishot(listener));
        Counter {
            count: 0,
            answers: Versions::new(1024, 24),
            clients: (0..place.connections).map(|_| None).collect(),
        }
    })
}

impl Application for Counter {
    fn run(&mut self, channel: &mut Channel, now: Instant) {
        while let Some(completion) = channel.dispatch(None) {
            let cookie = completion.cookie();
            let client = self
                .clients
                .get_mut(cookie.0 as usize)
                .and_then(Option::as_mut);
            match (completion, client) {
                (Completion::Accept { socket, .. }, _) => {
                    // The cookie is ours to choose: the place in our own table.
                    let index = socket.index();
                    let handle = channel.register(socket, Cookie(index as u64));
                    let _ = channel.read_multishot(handle);
                    self.clients[index] = Some(Client {
                        handle,
                        timer: channel.timer(PATIENCE, Cookie(index as u64)).ok(),
                        last_line: now,
                    });
                }
                (
                    Completion::Read {
                        buffer: Some(buffer),
                        ..
                    },
                    Some(client),
                ) => {
                    client.last_line = now;
                    if buffer.filled().contains(&b'\n') {
                        self.count += 1;
                        let answer = self.answers.format(format_args!("{}\n", self.count));
                        if let Some(answer) = answer {
                            // Busy while the last answer waits for room: this one is left out.
                            let _ = channel.write(client.handle, answer);
                        }
                    }
                    // The buffer goes back to the stack here.
                }
                // The peer has finished: so do we, behind what is still to be sent.
                (Completion::Read { result: Ok(0), .. }, Some(client)) => {
                    let _ = channel.disconnect(client.handle);
                }
                (Completion::Timer { .. }, Some(client)) => {
                    client.timer = None;
                    if now.saturating_since(client.last_line) < PATIENCE {
                        client.timer = channel.timer(PATIENCE, cookie).ok();
                    } else {
                        // It says nothing, and perhaps does not read: not asked, but told.
                        let _ = channel.abort(client.handle);
                    }
                }
                (Completion::Disconnect { .. }, Some(client)) => {
                    // The cookie is the next client's: no timer of this one may come with it.
                    if let Some(timer) = client.timer {
                        let _ = channel.cancel_timer(timer);
                    }
                    let _ = channel.unregister(client.handle);
                    self.clients[cookie.0 as usize] = None;
                }
                (Completion::ListenFailed { error, .. }, _) => or_fatal(Err(error)),
                _ => {}
            }
        }
    }
}
