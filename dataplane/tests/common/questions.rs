//! What a laboratory can be asked: loads, traffic, connections, counters.

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::command::{Command, ConnectionInfo, ConnectionPage, Reply};
use dataplane::counters::Counters;
use dataplane::hash::owner_of;
use dataplane::roster::ServerId;
use dataplane::service::{ServerSpec, ServiceKey, Traffic};
use dataplane::shard::Shard;
use dataplane::verdict::DropReason;

use super::lab::Lab;
use super::names::end;

impl Lab {
    pub(crate) fn read(&self, id: ServerId) -> Traffic {
        sum(&self.counters, id)
    }

    /// Active and inactive connections of a server.
    pub(crate) fn load(&self, key: &ServiceKey, text: &str) -> (u32, u32) {
        let (address, port) = end(text);
        let read = |id| self.read(id);
        let view = self.director.service(key, &read).unwrap();
        let is_it = |spec: &ServerSpec| (spec.address, spec.port) == (address.into(), port);
        let server = view.servers.iter().find(|server| is_it(server.spec)).unwrap();
        (server.load.active(), server.load.inactive())
    }

    /// A server's traffic: connections, packets in and out, bytes in and out.
    pub(crate) fn traffic(&self, key: &ServiceKey, text: &str) -> [u64; 5] {
        let (address, port) = end(text);
        let read = |id| self.read(id);
        let view = self.director.service(key, &read).unwrap();
        let is_it = |spec: &ServerSpec| (spec.address, spec.port) == (address.into(), port);
        figures(view.servers.iter().find(|server| is_it(server.spec)).unwrap().traffic)
    }

    pub(crate) fn service_traffic(&self, key: &ServiceKey) -> [u64; 5] {
        let read = |id| self.read(id);
        figures(self.director.service(key, &read).unwrap().traffic)
    }

    /// All connections, read in pages of three.
    pub(crate) fn connections(&mut self) -> Vec<ConnectionInfo> {
        let mut all = Vec::new();
        for shard in &mut self.shards {
            let mut page = ConnectionPage { from: None, connections: Vec::with_capacity(3) };
            loop {
                let Reply::Connections(mut reply) =
                    shard.apply(self.now, Command::Connections(page))
                else {
                    panic!("connections were asked for")
                };
                all.append(&mut reply.connections);
                if reply.from.is_none() {
                    break;
                }
                page = reply;
            }
        }
        all
    }

    /// The only connection there is.
    pub(crate) fn connection(&mut self) -> ConnectionInfo {
        let all = self.connections();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    pub(crate) fn connection_count(&self) -> u32 {
        self.shards.iter().map(Shard::connections).sum()
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.iter().map(|counters| counters.dropped(reason)).sum()
    }

    pub(crate) fn dropped_in_all(&self) -> u64 {
        DropReason::ALL.iter().map(|&reason| self.dropped(reason)).sum()
    }

    pub(crate) fn received(&self) -> u64 {
        self.counters.iter().map(|counters| counters.received.get()).sum()
    }

    pub(crate) fn owner(&self, client: (Ipv4Addr, u16)) -> usize {
        owner_of(&self.key, client.0, client.1, self.shards.len() as u16).0.into()
    }
}

pub(super) fn sum(counters: &[Arc<Counters>], id: ServerId) -> Traffic {
    counters.iter().fold(Traffic::default(), |mut total, counters| {
        total += counters.traffic(id);
        total
    })
}

fn figures(traffic: Traffic) -> [u64; 5] {
    let Traffic { connections, in_packets, out_packets, in_bytes, out_bytes } = traffic;
    [connections, in_packets, out_packets, in_bytes, out_bytes]
}
