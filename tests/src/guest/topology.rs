//! Two directors on the same networks.
//!
//! The clients' network is a switch here, `br1`, and there is one more for sync messages, `br2`. A
//! virtual address or a gateway is at the director whose MAC address its neighbours know: the
//! entries are permanent, so no ARP of either director changes them. Taking over means to change
//! them.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::guest::{Director, Echo, Guest};
use crate::lab::{CLIENT, DIRECTOR_INSIDE, DIRECTOR_IPV6, Lab, Method, plug};
use crate::server::RealServer;

/// The kernel's group for sync messages.
pub const SYNC_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 81);
/// And its port.
pub const SYNC_PORT: u16 = 8848;
/// Who listens to them.
pub(super) const LISTENER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

/// A network that a director has a leg in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// The clients'.
    Outside,
    /// The servers'.
    Inside,
}

/// The lab with room for two directors. Its servers, in order: one by NAT, one by direct routing,
/// one by tunnel, each with an [`Echo`].
#[derive(Debug)]
pub struct Crossing<'lab> {
    lab: &'lab Lab,
    tunnel: RealServer,
    _echoes: Vec<Echo>,
}

impl<'lab> Crossing<'lab> {
    /// The virtual addresses by method; the fourth is another one for direct routing.
    pub const VIPS: [&'static str; 4] = ["10.9.255.1", "10.9.255.2", "10.9.255.3", "10.9.255.4"];
    /// The virtual address of IPv6.
    pub const VIP6: &'static str = "2001:db8:9::100";
    /// The address of the NAT server of IPv6.
    pub const SERVER6: &'static str = "2001:db8:1::1";

    /// Connects everything but guests, which [`Guest::join`].
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn new(lab: &'lab Lab) -> Result<Self> {
        let (client, switch, director) = (lab.client(), lab.switch(), lab.director());
        for bridge in ["br1", "br2"] {
            let options = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0";
            switch.ip(&format!("link add {bridge} {options}"))?;
            switch.ip(&format!("link set {bridge} up"))?;
        }
        switch.ip(&format!("addr add {LISTENER}/24 dev br2"))?;
        // In the place of the cable between them.
        client.ip("link del c0")?;
        plug(switch, "br1", "to-c0", client, "c0")?;
        plug(switch, "br1", "to-d0", director, "d0")?;
        plug(switch, "br2", "to-s0", director, "s0")?;
        client.ip(&format!("addr add {CLIENT}/16 dev c0"))?;
        client.enable_ipv6("c0", "2001:db8:9::7/64")?;
        director.ip("addr add 10.77.0.1/24 dev s0")?;
        director.enable_ipv6("s0", "fd77::1/64")?;

        let tunnel = lab.add_server("rs3", Ipv4Addr::new(10, 1, 0, 3), Method::Tunnel)?;
        let [nat, direct] = lab.servers() else { anyhow::bail!("not two servers") };
        nat.set_method(Method::Nat, &lab.logs())?;
        direct.set_method(Method::Direct, &lab.logs())?;
        nat.namespace().enable_ipv6("eth0", &format!("{}/64", Self::SERVER6))?;
        nat.namespace().ip(&format!("-6 route replace default via {}", DIRECTOR_IPV6.1))?;
        for (server, vip) in
            [(direct, Self::VIPS[1]), (direct, Self::VIPS[3]), (&tunnel, Self::VIPS[2])]
        {
            server.namespace().ip(&format!("addr add {vip}/32 dev lo"))?;
        }
        let mut echoes = Vec::new();
        for server in [nat, direct, &tunnel] {
            echoes.push(Echo::start(server.namespace())?);
        }
        Ok(Self { lab, tunnel, _echoes: echoes })
    }

    /// The lab that it is made of.
    #[must_use]
    pub fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// The server by address translation.
    #[must_use]
    pub fn nat(&self) -> &RealServer {
        &self.lab.servers()[0]
    }

    /// The server by direct routing.
    #[must_use]
    pub fn direct(&self) -> &RealServer {
        &self.lab.servers()[1]
    }

    /// The server by tunnel.
    #[must_use]
    pub fn tunnel(&self) -> &RealServer {
        &self.tunnel
    }

    /// Moves virtual addresses to a director.
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn move_addresses(&self, vips: &[&str], director: &dyn Director) -> Result<()> {
        let mac = director.mac(Leg::Outside)?;
        for vip in vips {
            let family = if vip.contains(':') { "-6" } else { "-4" };
            self.lab
                .client()
                .ip(&format!("{family} neigh replace {vip} lladdr {mac} dev c0 nud permanent"))?;
        }
        Ok(())
    }

    /// Moves the gateway of a server by NAT to a director.
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn move_gateway(&self, server: &RealServer, director: &dyn Director) -> Result<()> {
        let mac = director.mac(Leg::Inside)?;
        for (family, gateway) in
            [("-4", DIRECTOR_INSIDE.to_string()), ("-6", DIRECTOR_IPV6.1.into())]
        {
            // A server without IPv6 takes the entry all the same.
            server.namespace().ip(&format!(
                "{family} neigh replace {gateway} lladdr {mac} dev eth0 nud permanent"
            ))?;
        }
        Ok(())
    }

    /// Moves everything to a director: it takes over.
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn take_over(&self, director: &dyn Director) -> Result<()> {
        self.move_addresses(&Self::VIPS, director)?;
        self.move_addresses(&[Self::VIP6], director)?;
        self.move_gateway(self.nat(), director)
    }

    /// Leaves beside the lab's logs what a guest knows, for a case that fails.
    pub fn note(&self, guest: &Guest) {
        let told = guest.run("ipvsadm -Ln; ipvsadm -Lnc; ipvsadm -L --daemon; dmesg | tail -n 5");
        if let Ok((_, text)) = told {
            let file = format!("guest-{}.out", guest.number());
            // A note that cannot be written is no reason for a case to fail.
            let _ = std::fs::write(self.lab.logs().join(file), text);
        }
    }
}
