//! Time passes: timers fire in their order.

use super::{Model, SECOND};

/// How long a template that controls connections is kept on.
const REARM: u64 = 60 * SECOND;

impl Model {
    /// When the next timer fires.
    pub(crate) fn next_event(&self) -> Option<u64> {
        let connections = self.connections.iter().map(|connection| connection.expires);
        let templates = self.templates.iter().map(|template| template.expires);
        connections.chain(templates).chain(self.nodest_sweep).min()
    }

    /// Lets time pass up to a moment.
    pub(crate) fn advance(&mut self, to: u64) {
        while let Some(next) = self.next_event().filter(|&next| next <= to) {
            self.now = next;
            self.fire();
        }
        self.now = to;
    }

    fn fire(&mut self) {
        let now = self.now;
        while let Some(place) = self.connections.iter().position(|c| c.expires <= now) {
            self.remove(place);
        }
        if self.nodest_sweep.is_some_and(|at| at <= now) {
            self.nodest_sweep = None;
            self.remove_nodest();
        }
        while let Some(place) = self.templates.iter().position(|t| t.expires <= now) {
            if self.controlled(self.templates[place].number) > 0 {
                self.events.push("template kept on");
                // The field stays what it is now, whatever the service says.
                self.templates[place].timeout = REARM;
                self.templates[place].expires = now + REARM;
            } else {
                self.remove_template(place);
            }
        }
    }

    fn remove_template(&mut self, place: usize) {
        let gone = self.templates.remove(place);
        self.unbound(gone.server);
    }

    /// Removes connections whose server is gone, and templates that control nothing any more.
    fn remove_nodest(&mut self) {
        let gone = |model: &Self, server| !model.is_available(server);
        while let Some(place) = self.connections.iter().position(|c| gone(self, c.server)) {
            self.remove(place);
        }
        let is_over = |model: &Self, t: &super::Template| {
            gone(model, t.server) && model.controlled(t.number) == 0
        };
        while let Some(place) = self.templates.iter().position(|t| is_over(self, t)) {
            self.remove_template(place);
        }
    }
}
