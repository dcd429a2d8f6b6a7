//! `pollvsadm drain`: a real server gets weight 0, and is waited for until its connections are gone.
//!
//! The daemon does single steps, each at once. The waiting is the client's, which asks for a step again and again.

mod report;
mod wait;
mod words;

use std::net::IpAddr;

use dataplane::service::{ServerSpec, ServiceKey};
use dataplane::settings::Settings;

use crate::backend::{Backend, ServerRow, ServiceRow};
use crate::command::Change;
use crate::names::Names;
use crate::refusal::{Operation, Refusal};
use crate::session::{REFUSED, Reply};

use report::Report;
pub(crate) use wait::wait;
pub(crate) use words::Order;
use words::Words;

/// A step of draining a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The service that has the server.
    pub service: ServiceKey,
    /// Real address.
    pub address: IpAddr,
    /// Real port.
    pub port: u16,
    /// The weight that the server had before the first step; `None` in the first one, which gives it weight 0.
    pub weight_before: Option<i64>,
    /// Delete the server if no connection is left.
    pub remove: bool,
}

/// Where a server stands after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The server, as it was last.
    pub server: ServerRow,
    /// Its weight before the first step.
    pub weight_before: i64,
    /// Whether persistence lets go of a server with weight 0: `expire_quiescent_template`.
    pub templates_expire: bool,
    /// Whether it has been deleted.
    pub is_removed: bool,
}

impl State {
    /// What is waited for. A template sends its client here, whatever the weight, unless it expires for that; the
    /// connections made by it are counted by themselves.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let ServerRow { active, inactive, persistent, .. } = self.server;
        let templates = if self.templates_expire { 0 } else { persistent };
        [active, inactive, templates].into_iter().map(u64::from).sum()
    }

    fn is_drained(&self) -> bool {
        self.server.spec.weight == 0 && self.remaining() == 0
    }
}

impl Step {
    /// Does the step on something that has services and settings and takes changes.
    ///
    /// Nothing may change the server between the questions and the changes: all of its attributes but the weight
    /// have to stay what they are.
    ///
    /// # Errors
    /// When there is no such service or server, or a change is refused.
    pub fn take<T: ?Sized>(
        &self,
        it: &mut T,
        mut service: impl FnMut(&mut T, &ServiceKey) -> Result<ServiceRow, Refusal>,
        settings: impl FnOnce(&mut T) -> Result<Settings, Refusal>,
        mut change: impl FnMut(&mut T, Change) -> Result<(), Refusal>,
    ) -> Result<State, Refusal> {
        let Self { service: key, address, port, .. } = *self;
        let mut server = self.find(&service(it, &key)?)?;
        let weight_before = self.weight_before.unwrap_or(server.spec.weight);
        if self.weight_before.is_none() {
            let quiet = ServerSpec { weight: 0, ..server.spec };
            change(it, Change::EditServer { service: key, server: quiet })?;
            // Counted again: until now it was given connections.
            server = self.find(&service(it, &key)?)?;
        }
        let templates_expire = settings(it)?.expire_quiescent_template != 0;
        let mut state = State { server, weight_before, templates_expire, is_removed: false };
        if self.remove && state.is_drained() {
            change(it, Change::DeleteServer { service: key, address, port })?;
            state.is_removed = true;
        }
        Ok(state)
    }

    fn find(&self, row: &ServiceRow) -> Result<ServerRow, Refusal> {
        let is_it =
            |row: &&ServerRow| (row.spec.address, row.spec.port) == (self.address, self.port);
        row.servers.iter().find(is_it).copied().ok_or(Refusal::NoSuchServer)
    }
}

/// Does the step that the words after `drain` ask for, and tells how far it is.
pub(crate) fn answer(
    words: &[String],
    is_json: bool,
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    let step = match Words::new(words).and_then(|words| words.step(names)) {
        Ok(step) => step,
        Err(reply) => return reply,
    };
    match backend.drain(&step) {
        Ok(state) => Report::new(&step, &state).reply(is_json),
        Err(refusal) => Reply::failure(REFUSED, Operation::Server.message(refusal)),
    }
}
