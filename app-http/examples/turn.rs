//! What one request of a kept connection costs in the whole way from frame to frame, to be counted
//! in instructions:
//!
//! ```text
//! cargo build --profile image -p app-http --example turn
//! valgrind --tool=callgrind --toggle-collect='*serve_one*' target/image/examples/turn 16 10000
//! ```
//!
//! The arguments are connections and requests. The instructions counted, divided by the requests,
//! are the cost: frames in, TCP, the channel, HTTP and back, over a queue pair that does nothing. The
//! page has 612 bytes.

use app_http::settings::Settings;
use app_http::{Server, ServerConfig};
use kernel::Instant;
use kernel::wall_clock::WallClock;
use megapipe::channel::{Channel, ChannelConfig};
use megapipe::{Core, IoSlice};
use net::fabric::fabric;
use net::testing::frames::Tcp;
use net::testing::{OneFrame, STACK_ADDRESS, World};
use net::{AddressConfig, Stack};
use site::Site;
use site::pack::{PackOptions, pack_to_vec};

const REQUEST: &[u8] =
    b"GET /index.html HTTP/1.1\r\nHost: 10.78.0.2\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

type Serving = Core<OneFrame, Server>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let (connections, requests): (usize, usize) = (number(16), number(10_000));
    let wire = OneFrame::default();
    let mut core = core(&wire, connections);
    core.turn(Instant::ZERO);
    let mut peers: Vec<Tcp> = (0..connections)
        .map(|number| {
            let segment = wire.shake_hands(number as u16 + 1024, || {
                core.turn(Instant::ZERO);
            });
            segment.with_payload(REQUEST)
        })
        .collect();
    for number in 0..requests {
        let segment = &mut peers[number % connections];
        wire.put(segment);
        serve_one(&mut core, Instant::from_nanos(number as u64 * 20_000));
        segment.acknowledged = wire.next_sequence();
        segment.sequence = segment.sequence.wrapping_add(REQUEST.len() as u32);
    }
    let answered = core.application().counters().requests();
    assert_eq!(answered, requests as u64);
    println!("{requests} requests on {connections} connections");
}

#[inline(never)]
fn serve_one(core: &mut Serving, now: Instant) {
    core.turn(now);
}

fn core(wire: &OneFrame, connections: usize) -> Serving {
    let port = fabric(&[true], [7; 16]).remove(0);
    let config = World::config(connections + 1, 4096);
    let mut stack: Stack<_, IoSlice> = Stack::new(config, Some(wire.clone()), port, Instant::ZERO);
    let address = AddressConfig::fixed(STACK_ADDRESS, 16);
    stack.configure_address(&address, Instant::ZERO);
    let channel = Channel::create(ChannelConfig {
        handles: connections + 1,
        batch: 32,
        chunks: 64,
        buffers: 4,
        buffer_bytes: 8192,
        timers: 16,
    });
    let config = ServerConfig {
        wall_clock: WallClock::fixed_at(1_800_000_000),
        settings: Settings {
            requests_per_connection: u32::MAX,
            ..Settings::default()
        },
        ..ServerConfig::alone(80, connections as u32 + 1)
    };
    Core::new(stack, channel, Server::new(site(), config))
}

/// One page of 612 bytes.
fn site() -> Site<'static> {
    let folder = std::env::temp_dir().join(format!("sluice-turn-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("index.html"), [b'x'; 612]).expect("a page");
    let (image, _) = pack_to_vec(&folder, &PackOptions::default()).expect("a site");
    std::fs::remove_dir_all(&folder).expect("the folder");
    Site::parse(image.leak()).expect("its own image")
}
