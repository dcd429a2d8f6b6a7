# Each target says what it changes on the machine. Builds go to target/.

BUILD_PACKAGES = libdpdk-dev pkg-config
LAB_PACKAGES = iproute2 ethtool nginx-light curl apache2-utils
BENCH_PACKAGES = dpdk-dev $(LAB_PACKAGES) nftables haproxy libnginx-mod-stream
# Clients of ipvsadm and a router of VRRP, run as they are, and what reads manuals with care.
CLIENT_PACKAGES = ipvsadm ldirectord mon keepalived mandoc
# What building the oracle needs: the real kernel in user mode (ORACLE, ../shared/ipvs-oracle).
ORACLE_PACKAGES = debootstrap cpio kmod

.PHONY: help demo demo-ha test oracle bench guard lint clean install uninstall

help:
	@echo 'make demo    real HTTP through NAT, tunnel and direct routing, in network namespaces'
	@echo 'make demo-ha two directors: kill -9, failback and handover while connections go on'
	@echo 'make test    all tests; as root also the end-to-end ones'
	@echo 'make oracle SEED=n  random scenes in the real kernel, replayed here and compared'
	@echo 'make bench   all benchmarks, and a report of them: perf/results/report.md'
	@echo 'make guard   instructions per packet against the baseline (perf/guard --help)'
	@echo 'make lint    formatting and lints'
	@echo 'make clean   removes target/'
	@echo 'make install, make uninstall  to and from PREFIX (/usr/local) in DESTDIR'
	@echo 'demo, demo-ha, test, bench and guard install the Debian packages they need, and say which.'

# Needs root. Makes network namespaces and removes them again.
demo:
	@[ "$$(id -u)" = 0 ] || { echo 'make demo: needs root, for network namespaces' >&2; exit 1; }
	@tests/packages $(BUILD_PACKAGES) $(LAB_PACKAGES)
	@echo 'demo: building pollvs (target/)'
	@cargo build --locked --quiet -p engine -p ctl -p tests
	@target/debug/demo

# Needs root. The same, with two directors.
demo-ha:
	@[ "$$(id -u)" = 0 ] || { echo 'make demo-ha: needs root, for network namespaces' >&2; exit 1; }
	@tests/packages $(BUILD_PACKAGES) $(LAB_PACKAGES)
	@echo 'demo-ha: building pollvs (target/)'
	@cargo build --locked --quiet -p engine -p ctl -p tests
	@$(or $(CARGO_TARGET_DIR),target)/debug/demo-ha

# Without root, or without packages, runs what can run and counts the rest as skipped.
test:
	@tests/packages $(BUILD_PACKAGES) $(LAB_PACKAGES) || true
	@tests/packages $(CLIENT_PACKAGES) || true
	@! tests/oracle-build --find 2>/dev/null || \
	    { tests/packages $(ORACLE_PACKAGES) && tests/oracle-build; } || true
	@tests/all

# Needs root and the oracle.
SEED ?= 1
COUNT ?= 200
oracle:
	@tests/packages $(ORACLE_PACKAGES)
	@tests/oracle '$(SEED)' '$(COUNT)'

# Takes about 15 minutes; as root also the benchmarks that make network namespaces.
bench:
	@tests/packages $(BUILD_PACKAGES) $(BENCH_PACKAGES)
	@perf/bench

guard:
	@tests/packages $(BUILD_PACKAGES) valgrind
	@perf/guard

lint:
	@tests/packages $(BUILD_PACKAGES)
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items --quiet

clean:
	cargo clean

# Files go below $(DESTDIR)$(PREFIX). What is there already and not from here is never replaced, and
# nothing is put into $(SYSCONFDIR). BINARIES=target/debug installs what is there, without a build.
PREFIX ?= /usr/local
DESTDIR ?=
SBINDIR ?= $(PREFIX)/sbin
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/pollvs
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
BASHDIR ?= $(DATADIR)/bash-completion/completions
ZSHDIR ?= $(DATADIR)/zsh/site-functions
FISHDIR ?= $(DATADIR)/fish/vendor_completions.d
RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
BINARIES ?= $(RELEASE)
FOLDERS = DESTDIR='$(DESTDIR)' SBINDIR='$(SBINDIR)' MANDIR='$(MANDIR)' DOCDIR='$(DOCDIR)' \
	SYSCONFDIR='$(SYSCONFDIR)' UNITDIR='$(UNITDIR)' BASHDIR='$(BASHDIR)' ZSHDIR='$(ZSHDIR)' \
	FISHDIR='$(FISHDIR)' BINARIES='$(BINARIES)'

# Builds only when it must: root, who installs, may have no toolchain.
install:
	@fresh() { [ -x "$$1" ] && [ -z "$$(find Cargo.* $$2 -newer "$$1" -type f -print -quit)" ]; }; \
	if [ '$(BINARIES)' = '$(RELEASE)' ] && ! { \
	    fresh '$(RELEASE)/pollvsadm' 'dataplane/src ctl/src' && \
	    fresh '$(RELEASE)/pollvsd' 'dataplane/src ctl/src engine/src'; }; then \
	    echo 'install: building pollvs ($(RELEASE))'; \
	    cargo build --locked --quiet --release -p engine -p ctl; \
	fi
	@$(FOLDERS) ctl/scripts/install install

uninstall:
	@$(FOLDERS) ctl/scripts/install uninstall
