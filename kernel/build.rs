//! How an image is linked: told to Cargo for the example here, and as metadata
//! (`DEP_SLUICE_KERNEL_LINK_ARGS`) to the build script of every crate that makes an image.

/// Between arguments in the metadata: no path has it.
const SEPARATOR: &str = "\u{1f}";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernel.ld");
    if std::env::var_os("CARGO_FEATURE_MACHINE").is_none() {
        return;
    }
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let script = format!("-Wl,-T,{here}/kernel.ld");
    // No C library, no loader: one segment per right (kernel.ld), pages of 4 KiB.
    let arguments = [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
        "-Wl,-z,noexecstack",
        "-Wl,--gc-sections",
        "-Wl,-z,max-page-size=4096",
        &script,
    ];
    for argument in arguments {
        println!("cargo::rustc-link-arg-examples={argument}");
    }
    println!("cargo::metadata=LINK_ARGS={}", arguments.join(SEPARATOR));
}
