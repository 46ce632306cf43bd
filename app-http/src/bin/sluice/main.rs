//! The bootable image: the packed site, served over HTTP on every core, and an admin port on one.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::sync::Arc;
use app_http::access_log::{LogConfig, LogSink};
use app_http::admin::AdminConfig;
use app_http::control::Control;
use app_http::limits::{ADMIN_CONNECTIONS, LOG_RING_BYTES};
use app_http::log_line::LogForm;
use app_http::metrics::Metrics;
use app_http::plan::FOOTPRINT;
use app_http::publisher::Publisher;
use app_http::settings::{SETTINGS, Settings};
use app_http::syslog::Syslog;
use app_http::trace::Traces;
use app_http::{Server, ServerConfig};
use core::net::SocketAddr;
use kernel::machine::console;
use kernel::{CoreId, CoreMask, Processor};
use megapipe::appliance::{Appliance, Machine, Place, Seated, Service, fatal, or_fatal, power_off};
use megapipe::channel::ChannelConfig;
use megapipe::{Channel, Core};
use site::Site;

megapipe::appliance::entry!(boot);

/// The port of the operator unless another one is asked for.
const ADMIN_PORT: u16 = 9100;

/// Boots the appliance; runs on the boot core, before the others serve.
fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(80);
    let service = Service {
        scheme: "http",
        footprint: FOOTPRINT,
        ..Service::tcp(port)
    };
    let (batch, idle) = (service.batch, appliance.idle_policy(&service));
    let cores = appliance.machine().cores();
    let (log, log_to) = access_log(&mut appliance);
    let serving = Serving {
        site: packed_site(appliance.machine()),
        port,
        admin_port: admin_port(&mut appliance),
        settings: settings(&mut appliance),
        log,
        log_to,
        control: Arc::new(Control::new(cores)),
        metrics: Arc::new(Metrics::new(cores)),
        traces: Arc::new(Traces::new(cores, is_tracing(&mut appliance))),
    };
    appliance.run(service, move |seated: Seated| {
        let Seated {
            processor,
            stack,
            place,
            monitor,
            power_button,
        } = seated;
        let channel = Channel::create(ChannelConfig {
            handles: place.connections,
            batch,
            chunks: place.chunks,
            buffers: place.buffers,
            buffer_bytes: FOOTPRINT.buffer_bytes,
            timers: place.timers,
        });
        let mut core = Core::new(stack, channel, serving.server(place));
        // Listens: who answers for a flow must not change later.
        core.turn(processor.now());
        processor.start_barrier();
        let Serving {
            control,
            metrics,
            traces,
            ..
        } = serving;
        core.run(
            processor,
            idle,
            Publisher::new(metrics, traces, control, power_off, monitor)
                .with_power_button(power_button),
        )
    })
}

/// What all cores serve.
#[derive(Clone)]
struct Serving {
    site: Site<'static>,
    port: u16,
    admin_port: u16,
    settings: Settings,
    log: Option<LogConfig>,
    /// A log server; the console without.
    log_to: Option<SocketAddr>,
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    traces: Arc<Traces>,
}

impl Serving {
    /// Makes the server of a core.
    fn server(&self, place: Place) -> Server {
        let has_admin = self.admin_port != 0 && place.core == CoreId::BOOT;
        let admins = if has_admin { ADMIN_CONNECTIONS } else { 0 };
        let cores = CoreMask::only(place.core);
        let server = Server::new(
            self.site,
            ServerConfig {
                port: self.port,
                cores,
                connections: place.connections.saturating_sub(admins) as u32,
                buffer_bytes: FOOTPRINT.buffer_bytes,
                wall_clock: place.wall_clock,
                settings: self.settings,
                key: place.secret,
                log: self.log,
                control: Arc::clone(&self.control),
            },
        )
        .with_log_sink(match self.log_to {
            Some(address) => Box::new(Syslog::new(address, place.core)),
            None => Box::new(Console),
        });
        if !has_admin {
            return server;
        }
        server.with_admin(AdminConfig {
            port: self.admin_port,
            cores,
            metrics: Arc::clone(&self.metrics),
            traces: Arc::clone(&self.traces),
        })
    }
}

/// The serial console as a place for log lines.
struct Console;

impl LogSink for Console {
    fn take(&mut self, line: &[u8], _now: u64, _channel: &mut Channel) -> bool {
        let text = core::str::from_utf8(line).unwrap_or_default();
        console::print(format_args!("{text}\n"));
        true
    }
}

/// Takes the words of the server's settings.
fn settings(appliance: &mut Appliance) -> Settings {
    let mut settings = Settings::default();
    for word in &SETTINGS {
        let number = appliance.word(word.name, word.wanted, |value| word.parse(value));
        if let Some(number) = number {
            word.apply(&mut settings, number);
        }
    }
    settings
}

/// Takes the word `admin-port=`; 0 means none.
fn admin_port(appliance: &mut Appliance) -> u16 {
    let port = appliance.word("admin-port", "a port, or 0 for none", |value| {
        value.parse().ok()
    });
    port.unwrap_or(ADMIN_PORT)
}

/// Takes the word `trace=`.
fn is_tracing(appliance: &mut Appliance) -> bool {
    let is_on = appliance.word("trace", "on or off", |value| match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    });
    is_on.unwrap_or(false)
}

/// Takes the words of the access log.
fn access_log(appliance: &mut Appliance) -> (Option<LogConfig>, Option<SocketAddr>) {
    let form = appliance.word("access-log", "off, combined or json", |value| match value {
        "off" => Some(None),
        "combined" => Some(Some(LogForm::Combined)),
        "json" => Some(Some(LogForm::Json)),
        _ => None,
    });
    let sample = appliance.word("access-log-sample", "one of how many, from 1 up", |value| {
        value.parse().ok().filter(|sample| *sample > 0)
    });
    let to = appliance.word(
        "access-log-to",
        "console or syslog:ADDR[:PORT]",
        |value| match value {
            "console" => Some(None),
            _ => Syslog::parse_address(value).map(Some),
        },
    );
    let log = form.flatten().map(|form| LogConfig {
        form,
        sample: sample.unwrap_or(1),
        ring_bytes: LOG_RING_BYTES,
    });
    (log, to.flatten())
}

/// Returns the site, checked once.
fn packed_site(machine: &Machine) -> Site<'static> {
    let Some(image) = machine.site() else {
        fatal(format_args!("no site: give a packed site as -initrd"));
    };
    or_fatal(Site::parse(image))
}
