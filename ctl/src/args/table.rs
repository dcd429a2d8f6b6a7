//! The grammar as tables: switches, the options that messages name, and which command takes which.

/// A command, by the switch that starts the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    Restore,
    Save,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Zero,
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// An option as messages and the matrix know it. The order is the order in which the matrix is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Method,
    Weight,
    Upper,
    Lower,
    Interface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    Nosort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    SchedFlags,
    Group,
    McastPort,
    Ttl,
    MaxLength,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

impl Opt {
    /// Every option with its name, in matrix order.
    pub(crate) const NAMES: [(Self, &'static str); 34] = [
        (Self::Numeric, "numeric"),
        (Self::Connection, "connection"),
        (Self::Service, "service-address"),
        (Self::Scheduler, "scheduler"),
        (Self::Persistent, "persistent"),
        (Self::Netmask, "netmask"),
        (Self::Server, "real-server"),
        (Self::Method, "forwarding-method"),
        (Self::Weight, "weight"),
        (Self::Upper, "u-threshold"),
        (Self::Lower, "l-threshold"),
        (Self::Interface, "mcast-interface"),
        (Self::Timeout, "timeout"),
        (Self::Daemon, "daemon"),
        (Self::Stats, "stats"),
        (Self::Rate, "rate"),
        (Self::Thresholds, "thresholds"),
        (Self::PersistentConn, "persistent-conn"),
        (Self::Nosort, "nosort"),
        (Self::SyncId, "syncid"),
        (Self::Exact, "exact"),
        (Self::OnePacket, "ops"),
        (Self::Engine, "pe"),
        (Self::SchedFlags, "sched-flags"),
        (Self::Group, "mcast-group"),
        (Self::McastPort, "mcast-port"),
        (Self::Ttl, "mcast-ttl"),
        (Self::MaxLength, "sync-maxlen"),
        (Self::TunInfo, "tun-info"),
        (Self::TunType, "tun-type"),
        (Self::TunPort, "tun-port"),
        (Self::TunNocsum, "tun-nocsum"),
        (Self::TunCsum, "tun-csum"),
        (Self::TunRemcsum, "tun-remcsum"),
    ];

    /// The name that messages use.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }
}

/// A set of options.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OptSet(u64);

impl OptSet {
    pub(crate) fn has(self, opt: Opt) -> bool {
        self.0 & (1 << opt as u32) != 0
    }

    pub(crate) fn has_any(self, opts: &[Opt]) -> bool {
        opts.iter().any(|&opt| self.has(opt))
    }

    pub(crate) fn insert(&mut self, opt: Opt) {
        self.0 |= 1 << opt as u32;
    }
}

/// Whether a switch takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Value,
    /// The next word, unless that looks like a switch.
    MaybeValue,
}

/// What a switch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    Command(Verb),
    /// Sets an option that no other switch sets.
    Option(Opt),
    Tcp,
    Udp,
    Sctp,
    Mark,
    Gatewaying,
    Ipip,
    Masquerading,
    /// `-6`: no option of its own, may be repeated.
    Ipv6,
    /// `--sort`: accepted anywhere without effect.
    Sort,
}

impl Means {
    /// The option that the switch sets.
    pub(crate) fn opt(self) -> Option<Opt> {
        match self {
            Self::Option(opt) => Some(opt),
            Self::Tcp | Self::Udp | Self::Sctp | Self::Mark => Some(Opt::Service),
            Self::Gatewaying | Self::Ipip | Self::Masquerading => Some(Opt::Method),
            Self::Command(_) | Self::Ipv6 | Self::Sort => None,
        }
    }
}

/// A switch of the grammar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) takes: Takes,
    pub(crate) means: Means,
}

const fn switch(short: Option<char>, long: &'static str, takes: Takes, means: Means) -> Switch {
    Switch { short, long, takes, means }
}

use Takes::{MaybeValue, Nothing, Value};

/// Every switch.
pub(crate) const SWITCHES: &[Switch] = &[
    switch(Some('A'), "add-service", Nothing, Means::Command(Verb::AddService)),
    switch(Some('E'), "edit-service", Nothing, Means::Command(Verb::EditService)),
    switch(Some('D'), "delete-service", Nothing, Means::Command(Verb::DeleteService)),
    switch(Some('C'), "clear", Nothing, Means::Command(Verb::Flush)),
    switch(Some('R'), "restore", Nothing, Means::Command(Verb::Restore)),
    switch(Some('S'), "save", Nothing, Means::Command(Verb::Save)),
    switch(Some('a'), "add-server", Nothing, Means::Command(Verb::AddServer)),
    switch(Some('e'), "edit-server", Nothing, Means::Command(Verb::EditServer)),
    switch(Some('d'), "delete-server", Nothing, Means::Command(Verb::DeleteServer)),
    switch(Some('L'), "list", Nothing, Means::Command(Verb::List)),
    switch(Some('l'), "list", Nothing, Means::Command(Verb::List)),
    switch(Some('Z'), "zero", Nothing, Means::Command(Verb::Zero)),
    switch(None, "set", Nothing, Means::Command(Verb::Set)),
    switch(None, "start-daemon", Value, Means::Command(Verb::StartDaemon)),
    switch(None, "stop-daemon", Value, Means::Command(Verb::StopDaemon)),
    switch(Some('h'), "help", Nothing, Means::Command(Verb::Help)),
    switch(Some('v'), "version", Nothing, Means::Command(Verb::Version)),
    switch(Some('t'), "tcp-service", Value, Means::Tcp),
    switch(Some('u'), "udp-service", Value, Means::Udp),
    switch(None, "sctp-service", Value, Means::Sctp),
    switch(Some('f'), "fwmark-service", Value, Means::Mark),
    switch(Some('6'), "ipv6", Nothing, Means::Ipv6),
    switch(Some('s'), "scheduler", Value, Means::Option(Opt::Scheduler)),
    switch(Some('b'), "sched-flags", Value, Means::Option(Opt::SchedFlags)),
    switch(Some('p'), "persistent", MaybeValue, Means::Option(Opt::Persistent)),
    switch(Some('M'), "netmask", Value, Means::Option(Opt::Netmask)),
    switch(None, "pe", Value, Means::Option(Opt::Engine)),
    switch(Some('o'), "ops", Nothing, Means::Option(Opt::OnePacket)),
    switch(Some('r'), "real-server", Value, Means::Option(Opt::Server)),
    switch(Some('g'), "gatewaying", Nothing, Means::Gatewaying),
    switch(Some('i'), "ipip", Nothing, Means::Ipip),
    switch(Some('m'), "masquerading", Nothing, Means::Masquerading),
    switch(None, "tun-type", Value, Means::Option(Opt::TunType)),
    switch(None, "tun-port", Value, Means::Option(Opt::TunPort)),
    switch(None, "tun-nocsum", Nothing, Means::Option(Opt::TunNocsum)),
    switch(None, "tun-csum", Nothing, Means::Option(Opt::TunCsum)),
    switch(None, "tun-remcsum", Nothing, Means::Option(Opt::TunRemcsum)),
    switch(Some('w'), "weight", Value, Means::Option(Opt::Weight)),
    switch(Some('x'), "u-threshold", Value, Means::Option(Opt::Upper)),
    switch(Some('y'), "l-threshold", Value, Means::Option(Opt::Lower)),
    switch(Some('n'), "numeric", Nothing, Means::Option(Opt::Numeric)),
    switch(Some('c'), "connection", Nothing, Means::Option(Opt::Connection)),
    switch(None, "timeout", Nothing, Means::Option(Opt::Timeout)),
    switch(None, "daemon", Nothing, Means::Option(Opt::Daemon)),
    switch(None, "stats", Nothing, Means::Option(Opt::Stats)),
    switch(None, "rate", Nothing, Means::Option(Opt::Rate)),
    switch(None, "thresholds", Nothing, Means::Option(Opt::Thresholds)),
    switch(None, "persistent-conn", Nothing, Means::Option(Opt::PersistentConn)),
    switch(None, "tun-info", Nothing, Means::Option(Opt::TunInfo)),
    switch(None, "sort", Nothing, Means::Sort),
    switch(None, "nosort", Nothing, Means::Option(Opt::Nosort)),
    switch(Some('X'), "exact", Nothing, Means::Option(Opt::Exact)),
    switch(None, "mcast-interface", Value, Means::Option(Opt::Interface)),
    switch(None, "syncid", Value, Means::Option(Opt::SyncId)),
    switch(None, "sync-maxlen", Value, Means::Option(Opt::MaxLength)),
    switch(None, "mcast-group", Value, Means::Option(Opt::Group)),
    switch(None, "mcast-port", Value, Means::Option(Opt::McastPort)),
    switch(None, "mcast-ttl", Value, Means::Option(Opt::Ttl)),
];

/// Which options go with a command, or with a tunnel type. What is in no list is illegal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) required: &'static [Opt],
    pub(crate) optional: &'static [Opt],
    /// At most one of these.
    pub(crate) exclusive: &'static [Opt],
}

const fn rules(
    required: &'static [Opt],
    optional: &'static [Opt],
    exclusive: &'static [Opt],
) -> Rules {
    Rules { required, optional, exclusive }
}

/// The options of tunnels, in the order in which they are checked.
pub(crate) const TUNNEL_OPTS: [Opt; 4] =
    [Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum];

/// Rules of IP in IP.
pub(crate) const IPIP_RULES: Rules = rules(&[], &[], &[]);
/// Rules of GUE.
pub(crate) const GUE_RULES: Rules =
    rules(&[Opt::TunPort], &[], &[Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum]);
/// Rules of GRE.
pub(crate) const GRE_RULES: Rules = rules(&[], &[], &[Opt::TunNocsum, Opt::TunCsum]);

impl Verb {
    /// The name that messages use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Flush => "flush",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::AddServer => "add-server",
            Self::EditServer => "edit-server",
            Self::DeleteServer => "delete-server",
            Self::List => "list",
            Self::Zero => "zero",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Help => "help",
            Self::Version => "version",
        }
    }

    /// The options that go with the command.
    pub(crate) fn rules(self) -> Rules {
        use Opt::*;
        match self {
            Self::AddService | Self::EditService => rules(
                &[Service],
                &[Scheduler, Persistent, Netmask, OnePacket, Engine, SchedFlags],
                &[],
            ),
            Self::DeleteService => rules(&[Service], &[], &[]),
            Self::AddServer | Self::EditServer => rules(
                &[Service, Server],
                &[Method, Weight, Upper, Lower, TunType, TunPort, TunNocsum, TunCsum, TunRemcsum],
                &[],
            ),
            Self::DeleteServer => rules(&[Service, Server], &[], &[]),
            Self::List => rules(
                &[],
                &[Numeric, Stats, Rate, Thresholds, PersistentConn, TunInfo, Nosort, Exact, SyncId],
                &[Service, Connection, Timeout, Daemon],
            ),
            Self::StartDaemon => {
                rules(&[], &[SyncId, Interface, Group, McastPort, Ttl, MaxLength], &[])
            }
            Self::StopDaemon => rules(&[], &[SyncId], &[]),
            Self::Save => rules(&[], &[Numeric], &[]),
            Self::Zero => rules(&[], &[Service], &[]),
            Self::Flush | Self::Restore | Self::Set | Self::Help | Self::Version => {
                rules(&[], &[], &[])
            }
        }
    }
}
