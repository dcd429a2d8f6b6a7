//! What a shard has once for each address family: connections, services and known addresses.

use alloc::sync::Arc;
use hashbrown::HashMap;

use crate::address_set::AddressSet;
use crate::connection::RecordId;
use crate::connection::{Connection, Table};
use crate::hash::ClientHash;
use crate::packet::{Network, Packet};
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
}

impl<A: Network> Lane<A> {
    pub(crate) fn new(connections: Table<A>, addresses: usize, services: usize) -> Self {
        Self {
            connections,
            addresses: AddressSet::new(addresses),
            services: HashMap::with_capacity(services),
        }
    }

    /// The record of a staged packet's connection.
    #[inline(always)]
    pub(crate) fn find(&self, staged: &Staged<A>) -> Option<RecordId> {
        let packet = &staged.packet;
        match staged.way {
            Way::Request => self.find_by(staged, |connection| connection.is_request(packet)),
            Way::Reply => self.find_by(staged, |connection| connection.is_reply(packet)),
        }
    }

    #[inline(always)]
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
