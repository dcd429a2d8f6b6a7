//! Connections: the record of one, the table of all, and the states they go through.

mod record;
pub mod state;
mod table;
mod tags;

pub use record::{Connection, Flags};
pub use table::{RecordId, Table, TableSize};
