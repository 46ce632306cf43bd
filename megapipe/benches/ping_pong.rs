//! The application of the benchmarks: sends back what it receives.

use megapipe::{Application, Channel, Completion, Cookie, CoreMask, Handle, Instant};

/// From one message's handle to the next one's: they come scattered, and from all of them.
pub(crate) const STRIDE: usize = 7919;

/// Which of the calls it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// The paper's: a read for each message, after the write.
    Read,
    /// One read for all messages.
    Multishot,
    /// The same, and writes that are told only if they have to wait.
    Quiet,
}

impl Calls {
    pub(crate) const ALL: [Calls; 3] = [Calls::Read, Calls::Multishot, Calls::Quiet];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Calls::Read => "read",
            Calls::Multishot => "multishot",
            Calls::Quiet => "quiet",
        }
    }
}

pub(crate) struct PingPong {
    handles: Vec<Option<Handle>>,
    calls: Calls,
    is_listening: bool,
}

impl PingPong {
    pub(crate) fn new(handles: usize, calls: Calls) -> Self {
        PingPong {
            handles: vec![None; handles],
            calls,
            is_listening: false,
        }
    }
}

impl Application for PingPong {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        if !self.is_listening {
            let listener = channel.listen(7, Cookie(u64::MAX), CoreMask::first(1));
            channel.accept_multishot(listener.unwrap()).unwrap();
            self.is_listening = true;
        }
        while let Some(completion) = channel.dispatch(None) {
            match completion {
                Completion::Read {
                    cookie,
                    buffer: Some(buffer),
                    ..
                } => {
                    if let Some(handle) = self.handles[cookie.0 as usize] {
                        let written = match self.calls {
                            Calls::Quiet => channel.writev_with(handle, |pieces| {
                                pieces.set_quiet(true);
                                // An empty list has room.
                                let _ = pieces.push(buffer);
                            }),
                            Calls::Read | Calls::Multishot => channel.write(handle, buffer),
                        };
                        written.unwrap();
                    }
                }
                Completion::Write { cookie, .. } => {
                    if self.calls == Calls::Read
                        && let Some(handle) = self.handles[cookie.0 as usize]
                    {
                        channel.read(handle).unwrap();
                    }
                }
                Completion::Accept { socket, .. } => {
                    let index = socket.index();
                    let handle = channel.register(socket, Cookie(index as u64));
                    self.handles[index] = Some(handle);
                    match self.calls {
                        Calls::Read => channel.read(handle).unwrap(),
                        _ => channel.read_multishot(handle).unwrap(),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
