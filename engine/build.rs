//! Compiles the C shim against Debian's libdpdk, when the `dpdk` feature is on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    dpdk();
}

#[cfg(feature = "dpdk")]
fn dpdk() {
    const SHIM: &str = "src/port/dpdk/shim.c";
    println!("cargo::rerun-if-changed={SHIM}");
    let library = match pkg_config::Config::new().atleast_version("22.11").probe("libdpdk") {
        Ok(library) => library,
        Err(error) => {
            println!(
                "cargo::error=libdpdk 22.11 or later is needed: apt-get install libdpdk-dev \
                 pkg-config, or build with --no-default-features for a daemon without ports"
            );
            println!("cargo::warning={error}");
            return;
        }
    };
    // rte_config.h and the instruction set are what Debian built the library with.
    cc::Build::new()
        .file(SHIM)
        .includes(&library.include_paths)
        .flag("-include")
        .flag("rte_config.h")
        .flag("-D_GNU_SOURCE")
        .flag("-DALLOW_EXPERIMENTAL_API")
        .flag_if_supported("-march=corei7")
        .opt_level(3)
        .warnings(true)
        .compile("pollvs_shim");
}
