//! Hostile peers: what each of their attacks does to honest clients, to memory, and afterwards.
//!
//! Each test is one attack of 200 frames in every millisecond of virtual time, for half a second,
//! beside four connections that ask and are answered. In virtual time the processor is free, so what
//! is compared is what the stack does, not what it costs: that is counted by `examples/flood.rs`.

mod floods;
mod fragments;
mod ipv6;
mod lies;
mod siege;
mod slow;
