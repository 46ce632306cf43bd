//! The application of the benchmarks: sends back what it receives.

use megapipe::{Application, Channel, Completion, Cookie, CoreMask, Handle, Instant};

pub(crate) struct PingPong {
    handles: Vec<Option<Handle>>,
    is_multishot: bool,
    is_listening: bool,
}

impl PingPong {
    pub(crate) fn new(handles: usize, is_multishot: bool) -> Self {
        PingPong {
            handles: vec![None; handles],
            is_multishot,
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
                        channel.write(handle, buffer).unwrap();
                    }
                }
                Completion::Write { cookie, .. } => {
                    if !self.is_multishot
                        && let Some(handle) = self.handles[cookie.0 as usize]
                    {
                        channel.read(handle).unwrap();
                    }
                }
                Completion::Accept { socket, .. } => {
                    let index = socket.index();
                    let handle = channel.register(socket, Cookie(index as u64));
                    self.handles[index] = Some(handle);
                    match self.is_multishot {
                        true => channel.read_multishot(handle).unwrap(),
                        false => channel.read(handle).unwrap(),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
