//! The main path: one core's loop from frames in to frames out.

use crate::channel::Channel;
use kernel::Instant;
use net::{Nic, Stack};

/// What runs on a core above its channel.
pub trait Application {
    /// Dispatches completions until there are none ([`Channel::dispatch`] says `None`) and submits
    /// commands. Called only when completions wait or the timeout given to `dispatch` has passed.
    fn run(&mut self, channel: &mut Channel, now: Instant);
}

/// One core: its stack, its channel, its application.
pub struct Core<N: Nic, A: Application> {
    stack: Stack<N>,
    channel: Channel,
    application: A,
}

impl<N: Nic, A: Application> Core<N, A> {
    /// Puts a core together.
    pub fn new(stack: Stack<N>, channel: Channel, application: A) -> Self {
        Core {
            stack,
            channel,
            application,
        }
    }

    /// Runs the way of every request once: frames in, demultiplexed, through TCP to the completion
    /// ring, the application, the submission ring, through TCP to frames out, one doorbell.
    pub fn turn(&mut self, now: Instant) {
        let _ = (
            &mut self.stack,
            &mut self.channel,
            &mut self.application,
            now,
        );
        todo!()
    }
}
