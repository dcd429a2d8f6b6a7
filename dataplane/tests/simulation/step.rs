//! One step of a life: a value, so that a life can be told, played again and cut down.

use std::fmt;

use dataplane::service::{ServerSpec, ServiceKey, ServiceSpec};

use crate::model::tcp::{ACK, FIN, RST, SYN};
use crate::model::{Datagram, End, Knobs, TCP, Unreachable};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Packets that one shard takes in one burst.
    Packets {
        shard: usize,
        packets: Vec<Datagram>,
    },
    /// An ICMP error about a packet of a connection.
    Error {
        shard: usize,
        error: Unreachable,
    },
    /// Bytes that mean nothing.
    Garbage {
        shard: usize,
        port: u16,
        bytes: Vec<u8>,
    },
    /// Ticks pass; swept at every timer, or once at the end.
    Wait {
        ticks: u64,
        at_once: bool,
    },
    AddService(ServiceSpec),
    EditService(ServiceSpec),
    DeleteService(ServiceKey),
    AddServer(ServiceKey, ServerSpec),
    EditServer(ServiceKey, ServerSpec),
    DeleteServer(ServiceKey, End),
    Flush,
    /// Deleted servers are looked at.
    Forget,
    Zero(Option<ServiceKey>),
    Tune(Knobs),
}

fn end((address, port): End) -> String {
    if address.is_ipv4() { format!("{address}:{port}") } else { format!("[{address}]:{port}") }
}

fn key(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            format!("{} {}", protocol.name(), end((address, port)))
        }
        ServiceKey::Mark { family, mark } => format!("mark {mark} {family:?}"),
    }
}

fn server(spec: &ServerSpec) -> String {
    let ServerSpec { address, port, method, weight, upper_threshold, lower_threshold, .. } = spec;
    let limits = format!("{upper_threshold}/{lower_threshold}");
    format!("{} {method:?} weight {weight} thresholds {limits}", end((*address, *port)))
}

fn service(spec: &ServiceSpec) -> String {
    let mut text = format!("{} {}", key(&spec.key), spec.scheduler);
    if spec.scheduler_flags != 0 {
        text += &format!(" flags {:#x}", spec.scheduler_flags);
    }
    if let Some(seconds) = spec.persistence_s {
        text += &format!(" persistent {seconds} s {:?}", spec.client_mask);
    }
    if spec.one_packet {
        text += " one-packet";
    }
    text
}

impl fmt::Display for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(SYN, 'S'), (ACK, 'A'), (FIN, 'F'), (RST, 'R')];
        let flags: String = letters.iter().filter(|f| self.flags & f.0 != 0).map(|f| f.1).collect();
        let protocol = if self.protocol == TCP { format!("TCP {flags:<2}") } else { "UDP".into() };
        write!(f, "{protocol} {} > {}", end(self.source), end(self.destination))?;
        if self.ttl == 1 { f.write_str(" ttl 1") } else { Ok(()) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets { shard, packets } => {
                write!(f, "shard {shard}:")?;
                packets.iter().try_for_each(|packet| write!(f, " [{packet}]"))
            }
            Self::Error { shard, error } => {
                let Unreachable { source, destination, about } = error;
                write!(f, "shard {shard}: {source} to {destination}: unreachable, [{about}]")
            }
            Self::Garbage { shard, bytes, .. } => {
                write!(f, "shard {shard}: garbage of {} bytes", bytes.len())
            }
            Self::Wait { ticks, at_once } => {
                let how = if *at_once { " at once" } else { "" };
                write!(f, "wait {}.{:02} s{how}", ticks / 100, ticks % 100)
            }
            Self::AddService(spec) => write!(f, "add {}", service(spec)),
            Self::EditService(spec) => write!(f, "edit {}", service(spec)),
            Self::DeleteService(of) => write!(f, "delete {}", key(of)),
            Self::AddServer(of, spec) => write!(f, "add to {}: {}", key(of), server(spec)),
            Self::EditServer(of, spec) => write!(f, "edit of {}: {}", key(of), server(spec)),
            Self::DeleteServer(of, at) => write!(f, "delete of {}: {}", key(of), end(*at)),
            Self::Flush => f.write_str("delete all services"),
            Self::Forget => f.write_str("look at deleted servers"),
            Self::Zero(of) => write!(f, "zero {}", of.as_ref().map_or("all".into(), key)),
            Self::Tune(knobs) => write!(f, "{knobs:?}"),
        }
    }
}
