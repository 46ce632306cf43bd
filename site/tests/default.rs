//! The project's own site: small, complete, and pointing at nothing outside.

use site::Site;
use site::pack::{PackOptions, pack_to_vec};
use std::path::Path;

#[test]
fn the_default_site_is_small_and_every_link_in_it_leads_to_a_page() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("default");
    let (image, summary) = pack_to_vec(&dir, &PackOptions::default()).unwrap();
    let site = Site::parse(&image).unwrap();
    assert!(summary.has_front_page);
    assert!(summary.content_bytes < 60 * 1024);
    let host = site.default_host();
    let not_found = host.not_found().identity().body();
    assert!(not_found.starts_with(b"<!doctype html>"));

    let mut links = 0;
    for page in host.pages().filter(|page| page.path().ends_with(b".html")) {
        let text = std::str::from_utf8(page.identity().body()).unwrap();
        for attribute in ["href=\"", "src=\""] {
            for link in text.split(attribute).skip(1) {
                let target = link.split('"').next().unwrap();
                // The front page shows off the page for what is not found.
                let is_known = target.starts_with('#') || target == "/nowhere";
                assert!(
                    is_known || host.lookup(target.as_bytes()).is_some(),
                    "{target}"
                );
                links += 1;
            }
        }
    }
    assert!(links > 8);
}
