//! Which queue of the stack a frame arrives on.

use crate::flow::FlowKey;
use crate::rss::Rss;
use core::net::Ipv4Addr;

/// Chooses one of `queues` queues for a TCP segment without IP options, by `rss` or else by its
/// ports; all other frames go to the first.
pub(super) fn queue(frame: &[u8], queues: usize, rss: Option<&Rss>) -> usize {
    let is_tcp = frame.len() >= 38 && frame[12..14] == [8, 0] && frame[23] == 6;
    if !is_tcp {
        return 0;
    }
    let Some(rss) = rss else {
        let ports = frame[34..38].iter().map(|byte| usize::from(*byte));
        return ports.sum::<usize>() % queues;
    };
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let flow = FlowKey {
        remote: address(26),
        local: address(30),
        remote_port: port(34),
        local_port: port(36),
    };
    usize::from(rss.table(queues)[rss.bucket(&flow)])
}
