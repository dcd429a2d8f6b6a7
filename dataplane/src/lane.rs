//! What a shard has once for each address family: connections, services and known addresses.

use alloc::boxed::Box;
use alloc::sync::Arc;
use hashbrown::HashMap;

use crate::address_set::AddressSet;
use crate::connection::RecordId;
use crate::connection::{Connection, Table};
use crate::hash::ClientHash;
use crate::packet::{Header, Network, Packet};
use crate::roster::Roster;

/// Frames in a burst, at most.
pub const BURST: usize = 32;

/// Which way a packet goes through its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    Request,
    /// From a real server behind NAT.
    Reply,
}

/// A packet between the passes over a burst.
#[derive(Clone, Copy)]
pub(crate) struct Staged<A> {
    pub(crate) packet: Packet<A>,
    pub(crate) hash: ClientHash,
    pub(crate) guess: RecordId,
    pub(crate) way: Way,
    /// Its place in the burst.
    pub(crate) place: u8,
}

/// Protocol, address and port of a virtual service.
pub(crate) type ServiceEnd<A> = (u8, A, u16);

/// One address family's part of a shard.
pub(crate) struct Lane<A> {
    pub(crate) connections: Table<A>,
    pub(crate) addresses: AddressSet<A>,
    pub(crate) services: HashMap<ServiceEnd<A>, Arc<Roster>>,
    pub(crate) staged: Box<[Staged<A>; BURST]>,
    pub(crate) staged_count: usize,
}

impl<A: Network> Lane<A> {
    pub(crate) fn new(connections: Table<A>, addresses: usize, services: usize) -> Self {
        let nothing = Staged {
            packet: Packet {
                ip: Header {
                    source: A::UNSPECIFIED,
                    destination: A::UNSPECIFIED,
                    protocol: 0,
                    ttl: 0,
                    header_length: 0,
                    total_length: 0,
                },
                source_port: 0,
                destination_port: 0,
                tcp_flags: 0,
                l3: 0,
                l4: 0,
            },
            hash: ClientHash::default(),
            guess: RecordId::NONE,
            way: Way::Request,
            place: 0,
        };
        Self {
            connections,
            addresses: AddressSet::new(addresses),
            services: HashMap::with_capacity(services),
            staged: Box::new([nothing; BURST]),
            staged_count: 0,
        }
    }

    /// Stages a packet for the later passes.
    #[inline]
    pub(crate) fn stage(&mut self, staged: Staged<A>) {
        self.staged[self.staged_count] = staged;
        self.staged_count += 1;
    }

    /// The record of a staged packet's connection.
    #[inline]
    pub(crate) fn find(&self, staged: &Staged<A>) -> Option<RecordId> {
        let packet = &staged.packet;
        match staged.way {
            Way::Request => self.find_by(staged, |connection| connection.is_request(packet)),
            Way::Reply => self.find_by(staged, |connection| connection.is_reply(packet)),
        }
    }

    #[inline]
    fn find_by(
        &self,
        staged: &Staged<A>,
        is_it: impl Fn(&Connection<A>) -> bool,
    ) -> Option<RecordId> {
        match self.connections.guessed(staged.guess) {
            Some(connection) if is_it(connection) => Some(staged.guess),
            _ => self.connections.find(staged.hash, is_it),
        }
    }
}
