//! A client on the other end of a [`Link`]: plain smoltcp over Ethernet, with its own ARP, as a
//! second opinion on everything the stack sends.

use super::link::{ClientPort, Link};
use super::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, CLIENT_MAC, STACK_ADDRESS, STACK_ADDRESS_V6};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use kernel::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
pub use smoltcp::socket::tcp::State;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

/// A client host.
pub struct Client {
    port: ClientPort,
    interface: Interface,
    sockets: SocketSet<'static>,
    next_port: u16,
    /// The stack's address.
    stack: IpAddress,
    /// Bytes of each of a socket's buffers.
    pub buffer_bytes: usize,
}

impl Client {
    /// Makes a client with the usual address.
    pub fn new(link: &Link) -> Self {
        Client::at(link, CLIENT_ADDRESS, CLIENT_MAC)
    }

    /// Makes a client with the usual IPv6 address, which speaks nothing else.
    pub fn over_ipv6(link: &Link) -> Self {
        Client::at(link, CLIENT_ADDRESS_V6, CLIENT_MAC)
    }

    /// Makes a client with this address and station address.
    pub fn at(link: &Link, address: impl Into<IpAddr>, mac: [u8; 6]) -> Self {
        let address = address.into();
        let stack = match address {
            IpAddr::V4(_) => STACK_ADDRESS.into(),
            IpAddr::V6(_) => STACK_ADDRESS_V6.into(),
        };
        let mut port = link.client_port();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        config.random_seed = 0x5eed;
        let now = smoltcp::time::Instant::ZERO;
        let mut interface = Interface::new(config, &mut port, now);
        interface.update_ip_addrs(|addresses| {
            let prefix = if address.is_ipv6() { 64 } else { 16 };
            let address = IpCidr::new(address.into(), prefix);
            addresses.push(address).expect("an empty list has room");
        });
        Client {
            port,
            interface,
            sockets: SocketSet::new(vec![]),
            next_port: 49_152,
            stack,
            buffer_bytes: 65_536,
        }
    }

    /// Begins a connection to a port of the stack.
    pub fn connect(&mut self, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; self.buffer_bytes]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        let handle = self.sockets.add(socket);
        self.reconnect(handle, port);
        handle
    }

    /// Begins another connection with a socket that is closed.
    pub fn reconnect(&mut self, handle: SocketHandle, port: u16) {
        let local = self.next_port;
        self.next_port = if local == 65_535 { 49_152 } else { local + 1 };
        let remote = (self.stack, port);
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        let context = self.interface.context();
        socket
            .connect(context, remote, local)
            .expect("a closed socket");
    }

    /// Waits for a connection to this port of its own.
    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; self.buffer_bytes]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.listen(port).expect("a new socket, and a port");
        self.sockets.add(socket)
    }

    /// Takes in and sends everything that can be now. Returns whether anything happened.
    pub fn poll(&mut self, now: Instant) -> bool {
        let at = smoltcp::time::Instant::from_micros(now.as_micros() as i64);
        let result = self.interface.poll(at, &mut self.port, &mut self.sockets);
        result == smoltcp::iface::PollResult::SocketStateChanged
    }

    /// Returns when [`poll`](Self::poll) is to be called next.
    pub fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let at = smoltcp::time::Instant::from_micros(now.as_micros() as i64);
        let deadline = self.interface.poll_at(at, &self.sockets)?;
        Some(Instant::from_nanos(
            deadline.total_micros().max(0) as u64 * 1000,
        ))
    }

    /// Returns a socket.
    pub fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Forgets a socket.
    pub fn remove(&mut self, handle: SocketHandle) {
        self.sockets.remove(handle);
    }

    /// Queues as much of `data` as fits, and returns how much.
    pub fn send(&mut self, handle: SocketHandle, data: &[u8]) -> usize {
        self.socket(handle).send_slice(data).unwrap_or(0)
    }

    /// Takes everything that has been received.
    pub fn receive(&mut self, handle: SocketHandle) -> Vec<u8> {
        let socket = self.socket(handle);
        let mut received = vec![0; socket.recv_queue()];
        let bytes = socket.recv_slice(&mut received).unwrap_or(0);
        received.truncate(bytes);
        received
    }

    /// Finishes sending.
    pub fn close(&mut self, handle: SocketHandle) {
        self.socket(handle).close();
    }
}

/// A frame that arrived, to be given back to the link.
pub struct Arrived(Option<Vec<u8>>, Link);
/// Leave to send a frame.
pub struct Departing(Link);

impl Device for ClientPort {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arrived, Departing)> {
        let frame = ClientPort::receive(self)?;
        Some((Arrived(Some(frame), self.link()), Departing(self.link())))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Departing> {
        Some(Departing(self.link()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(mut self, read: F) -> R {
        let frame = self.0.take().unwrap_or_default();
        let result = read(&frame);
        self.1.client_port().recycle(frame);
        result
    }
}

impl TxToken for Departing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, fill: F) -> R {
        let port = self.0.client_port();
        let mut frame = port.take_buffer(bytes);
        frame.fill(0);
        let result = fill(&mut frame);
        port.send_buffer(frame);
        result
    }
}
