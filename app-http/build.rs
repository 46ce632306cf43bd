//! How the bootable image is linked, when it is asked for (feature `image`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../kernel/kernel.ld");
    if std::env::var_os("CARGO_FEATURE_IMAGE").is_none() {
        return;
    }
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let script = format!("-Wl,-T,{here}/../kernel/kernel.ld");
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
        println!("cargo::rustc-link-arg-bin=sluice={argument}");
    }
}
