//! The bootable image: the boot story, and one seat per core.
//!
//! What it says on the console for others to read: `sluice: ready http://ADDR:PORT cores=C
//! queues=Q` when the first request would be answered, `sluice: stats core=N NAME=VALUE …` when
//! asked for, and `sluice: fatal: TEXT` before it gives up.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod monitor;

use alloc::boxed::Box;
use alloc::vec::Vec;
use app_http::options::Options;
use app_http::plan::{BUFFER_BYTES, Plan, RX_BUFFER_BYTES, TX_BUFFER_BYTES};
use app_http::{Server, ServerConfig};
use kernel::machine::{self, CoreSeat, ExitStatus, Machine, ThisCore, console};
use kernel::virtio::{self, DeviceKind, InterruptTarget};
use kernel::{CoreMask, Processor};
use megapipe::channel::{Channel, ChannelConfig};
use megapipe::idle::IdlePolicy;
use monitor::Monitor;
use net::fabric::{FabricPort, fabric};
use net::stack::{Stack, StackConfig};
use net::virtio_net::{self, QueuePair};
use site::Site;

kernel::entry!(boot);

/// The commands that a channel collects before they are flushed: the paper's figure.
const BATCH: usize = 32;

/// Boots the appliance; runs on the boot core, before the others are started.
fn boot(mut machine: Machine) -> ! {
    // 1. What was asked for.
    let options = or_fatal(Options::parse(machine.command_line()));
    console::set_level(options.log);

    // 2. The site, checked once.
    let image = machine
        .site()
        .unwrap_or_else(|| fatal("no site: give a packed site as -initrd"));
    let site = or_fatal(Site::parse(image));

    // 3. Keys, which nobody outside may guess.
    let mut flow_key = [0; 16];
    or_fatal(machine.entropy(&mut flow_key));

    // 4. Memory, shared out between the cores.
    let cores = options
        .cores
        .map_or(machine.cores(), |asked| asked.min(machine.cores()));
    let plan = or_fatal(Plan::new(machine.memory().free_heap_bytes, cores));

    // 5. The network device, one queue pair per core as far as it has them.
    let pairs = open_network(&mut machine, cores, plan.queue_size);
    let queues = pairs.len();
    log::info!(
        "{} pages, {cores} cores, {queues} queue pairs, {plan:?}",
        site.len()
    );

    // 6. What the cores share.
    let mut pairs: Vec<Option<QueuePair>> = pairs.into_iter().map(Some).collect();
    pairs.resize_with(cores, || None);
    let with_pair: Vec<bool> = pairs.iter().map(Option::is_some).collect();
    let mut ports = fabric(&with_pair, flow_key);
    if let Some(port) = ports.first_mut() {
        port.configure_address(options.address);
    }

    // 7. A seat for each core; they run from here on.
    let mut seats: Vec<CoreSeat> = Vec::with_capacity(cores);
    for (pair, port) in pairs.into_iter().zip(ports) {
        let mut seed = [0; 32];
        or_fatal(machine.entropy(&mut seed));
        let monitor = Monitor::new(&options, cores, queues);
        let port_number = options.port;
        seats.push(Box::new(move |this: ThisCore| {
            serve(
                this,
                Seat {
                    site,
                    plan,
                    pair,
                    port,
                    seed,
                    port_number,
                    monitor,
                },
            )
        }));
    }
    machine.run(seats)
}

/// What one core serves with.
struct Seat {
    site: Site<'static>,
    plan: Plan,
    pair: Option<QueuePair>,
    port: FabricPort,
    seed: [u8; 32],
    port_number: u16,
    monitor: Monitor,
}

/// Serves for ever on the core that calls.
fn serve(this: ThisCore, seat: Seat) {
    let Plan {
        connections,
        buffers,
        ..
    } = seat.plan;
    let now = this.now();
    let config = StackConfig {
        connections,
        rx_buffer_bytes: RX_BUFFER_BYTES,
        tx_buffer_bytes: TX_BUFFER_BYTES,
        seed: seat.seed,
    };
    let stack = Stack::new(config, seat.pair, seat.port, now);
    let channel = Channel::create(ChannelConfig {
        handles: connections,
        batch: BATCH,
        buffers,
        buffer_bytes: BUFFER_BYTES,
    });
    let server = Server::new(
        seat.site,
        ServerConfig {
            port: seat.port_number,
            cores: CoreMask::only(this.core()),
            connections: connections as u32,
            unix_seconds_at_boot: this.unix_seconds() - now.as_nanos() / 1_000_000_000,
        },
    );
    let mut core = megapipe::Core::new(stack, channel, server);
    // Listens, before any core takes a frame in: who answers for a flow must not change later.
    core.turn(this.now());
    this.start_barrier();
    core.run(this, IdlePolicy::default(), seat.monitor)
}

/// Opens the one network device with up to `cores` queue pairs.
fn open_network(machine: &mut Machine, cores: usize, queue_size: u16) -> Vec<QueuePair> {
    let devices = virtio::discover(machine);
    let Some(device) = devices
        .into_iter()
        .find(|device| device.kind() == DeviceKind::Network)
    else {
        fatal("no network: give QEMU a virtio-net device");
    };
    let targets: Vec<InterruptTarget> = machine.interrupt_targets().take(cores).collect();
    or_fatal(virtio_net::open(device, &targets, queue_size))
}

fn or_fatal<T, E: core::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fatal(error))
}

/// Says why the appliance gives up, and ends it.
fn fatal(reason: impl core::fmt::Display) -> ! {
    console::say(format_args!("sluice: fatal: {reason}"));
    machine::exit(ExitStatus::Failure)
}
