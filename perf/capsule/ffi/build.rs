//! Compiles the C shim against Debian's libdpdk.

fn main() {
    println!("cargo::rerun-if-changed=src/shim.c");
    let library = pkg_config::Config::new().atleast_version("22.11").probe("libdpdk");
    let library = library.expect("libdpdk 22.11: apt-get install libdpdk-dev pkg-config");
    // rte_config.h and the instruction set are what Debian built the library with.
    cc::Build::new()
        .file("src/shim.c")
        .includes(&library.include_paths)
        .flag("-include")
        .flag("rte_config.h")
        .flag("-D_GNU_SOURCE")
        .flag("-DALLOW_EXPERIMENTAL_API")
        .flag_if_supported("-march=corei7")
        .opt_level(3)
        .compile("capsule_shim");
    println!("cargo::rustc-link-lib=numa");
}
