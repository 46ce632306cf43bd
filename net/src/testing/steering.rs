//! Which queue of the stack a frame arrives on.

use super::frames::split;
use crate::flow::{AddressPair, FlowKey};
use crate::rss::Rss;

/// Chooses one of `queues` queues for a TCP segment without IP options or extensions, by `rss` or else
/// by its ports; all other frames go to the first.
pub(super) fn queue(frame: &[u8], queues: usize, rss: Option<&Rss>) -> usize {
    let flow = split(frame).and_then(|(remote, local, tcp)| {
        let ports = *tcp.first_chunk::<4>()?;
        Some((AddressPair::new(remote, local)?, ports))
    });
    let Some((addresses, ports)) = flow else {
        return 0;
    };
    let Some(rss) = rss else {
        let ports = ports.iter().map(|byte| usize::from(*byte));
        return ports.sum::<usize>() % queues;
    };
    let [a, b, c, d] = ports;
    let flow = FlowKey {
        addresses,
        remote_port: u16::from_be_bytes([a, b]),
        local_port: u16::from_be_bytes([c, d]),
    };
    usize::from(rss.table(queues)[rss.bucket(&flow)])
}
