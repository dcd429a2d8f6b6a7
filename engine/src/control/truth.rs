//! All that commands can configure, and what a change of it means for the workers.

use std::sync::Arc;

use ctl::backend::{DaemonRow, Table};
use ctl::command::{Change, SettingChange, Timeouts};
use ctl::{mark, print};
use dataplane::command::Command;
use dataplane::connection::state::State;
use dataplane::director::{Director, ReadTraffic};
use dataplane::mark::MarkRule;
use dataplane::refusal::Refusal;
use dataplane::settings::{ALL, Settings};

use super::daemons::SyncDaemons;

/// What a saved table begins with.
const SAVED_HEAD: &str = "\
# The table of pollvsd, as commands of pollvsadm: written at every change, read at its start.
";

/// The truth; changes are judged here.
pub(super) struct Truth {
    pub(super) director: Director,
    pub(super) settings: Settings,
    pub(super) marks: Arc<[MarkRule]>,
    daemons: SyncDaemons,
}

impl Truth {
    pub(super) fn new(director: Director) -> Self {
        Self {
            director,
            settings: Settings::default(),
            marks: Arc::default(),
            daemons: SyncDaemons::default(),
        }
    }

    /// Makes a change, wholly or not at all. What the workers are to be told of it goes to `tell`.
    pub(super) fn change(
        &mut self,
        change: Change,
        read: ReadTraffic<'_>,
        tell: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let director = &mut self.director;
        let command = match change {
            Change::AddService(spec) => director.add_service(spec)?,
            Change::EditService(spec) => director.edit_service(spec)?,
            Change::DeleteService(key) => director.delete_service(&key)?,
            Change::Flush => {
                tell.extend(director.flush());
                return Ok(());
            }
            Change::AddServer { service, server } => {
                if !self.daemons.rows().is_empty() {
                    director.judge_family(&service, &server)?;
                }
                let mut added = director.add_server(&service, server, read);
                if matches!(added, Err(Refusal::NoMemory)) {
                    // Deleted servers keep their slots for a while; now the slots are worth more.
                    self.reclaim(tell);
                    added = self.director.add_server(&service, server, read);
                }
                added?
            }
            Change::EditServer { service, server } => {
                if !self.daemons.rows().is_empty() {
                    director.judge_family(&service, &server)?;
                }
                director.edit_server(&service, server)?
            }
            Change::DeleteServer { service, address, port } => {
                director.delete_server(&service, address, port, read)?
            }
            Change::Zero(service) => return director.zero(service.as_ref(), read),
            Change::SetTimeouts(Timeouts { tcp_s, tcp_fin_s, udp_s }) => {
                self.settings.timeouts.set(tcp_s, tcp_fin_s, udp_s)?;
                Command::PutSettings(self.settings)
            }
            Change::Settings(changes) => {
                SettingChange::apply(&changes, &mut self.settings)?;
                Command::PutSettings(self.settings)
            }
            Change::StartDaemon(spec) => {
                if director.has_mixed_families() {
                    return Err(Refusal::InvalidOperation);
                }
                self.daemons.start(spec)?;
                Command::PutSync(self.daemons.roles())
            }
            Change::StopDaemon { role, .. } => {
                self.daemons.stop(role)?;
                Command::PutSync(self.daemons.roles())
            }
        };
        if !matches!(command, Command::Deferred) {
            tell.push(command);
        }
        Ok(())
    }

    /// Frees the slots of deleted servers without connections.
    fn reclaim(&mut self, tell: &mut Vec<Command>) {
        let was_batch = self.director.is_batch();
        tell.extend(self.director.end_batch());
        tell.extend(self.director.forget_idle());
        if was_batch {
            self.director.begin_batch();
        }
    }

    /// A copy to try changes on. It has no connections, and at most as much room.
    pub(super) fn draft(&self) -> Self {
        Self {
            director: self.director.draft(),
            settings: self.settings,
            marks: Arc::clone(&self.marks),
            daemons: self.daemons.clone(),
        }
    }

    /// Commands that make this truth out of the configured one.
    pub(super) fn saved_text(
        &self,
        configured: &Settings,
        configured_marks: &[MarkRule],
        table: &Table,
    ) -> String {
        let mut text = SAVED_HEAD.to_owned();
        for setting in ALL {
            let value = setting.read(&self.settings);
            if value != setting.read(configured) {
                // Words of a line are divided by blanks.
                let value = value.replace('\t', ",");
                text += &format!("--sysctl {}={value}\n", setting.name);
            }
        }
        if *self.marks != *configured_marks {
            text += "mark -F\n";
            for rule in &*self.marks {
                text += &mark::command(rule);
                text.push('\n');
            }
        }
        let timeouts = self.timeouts();
        let is_set = timeouts != timeouts_of(configured);
        text + &print::complete(table, is_set.then_some(&timeouts), self.daemons())
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        timeouts_of(&self.settings)
    }

    pub(super) fn daemons(&self) -> &[DaemonRow] {
        self.daemons.rows()
    }
}

fn timeouts_of(settings: &Settings) -> Timeouts {
    let seconds = |state| settings.timeouts.seconds(state);
    Timeouts {
        tcp_s: seconds(State::Established),
        tcp_fin_s: seconds(State::FinWait),
        udp_s: seconds(State::Udp),
    }
}
