//! The bootable image: the packed site, served over HTTP on every core.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use app_http::control::Control;
use app_http::plan::FOOTPRINT;
use app_http::settings::{SETTINGS, Settings};
use app_http::{Server, ServerConfig};
use kernel::CoreMask;
use megapipe::appliance::{Appliance, Machine, Place, Service, fatal, or_fatal};
use site::Site;

megapipe::appliance::entry!(boot);

/// Boots the appliance; runs on the boot core, before the others serve.
fn boot(machine: Machine) -> ! {
    let mut appliance = Appliance::new(machine);
    let port = appliance.port(80);
    let service = Service {
        scheme: "http",
        footprint: FOOTPRINT,
        ..Service::tcp(port)
    };
    let site = packed_site(appliance.machine());
    let settings = settings(&mut appliance);
    let control = Arc::new(Control::new(appliance.machine().cores()));
    appliance.serve(service, move |place: Place, _channel| {
        let config = ServerConfig {
            port,
            cores: CoreMask::only(place.core),
            connections: place.connections as u32,
            buffer_bytes: FOOTPRINT.buffer_bytes,
            unix_seconds_at_boot: place.unix_seconds_at_boot,
            settings,
            key: place.secret,
            log: None,
            control: Arc::clone(&control),
        };
        Server::new(site, config)
    })
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

/// Returns the site, checked once.
fn packed_site(machine: &Machine) -> Site<'static> {
    let Some(image) = machine.site() else {
        fatal(format_args!("no site: give a packed site as -initrd"));
    };
    or_fatal(Site::parse(image))
}
