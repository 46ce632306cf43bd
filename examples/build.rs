//! Links the bootable images as `kernel`'s build script says, when they are asked for (feature
//! `image`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_IMAGE").is_none() {
        return;
    }
    let arguments = std::env::var("DEP_SLUICE_KERNEL_LINK_ARGS").expect("kernel's build script");
    for argument in arguments.split('\u{1f}') {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
