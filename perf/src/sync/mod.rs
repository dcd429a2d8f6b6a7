//! Connection sync: what it costs the packet path, how fast the master sends, how fast a backup
//! takes in, and how fast a whole table goes over.

mod cost;
mod rates;
mod table;

use anyhow::Result;

use crate::options::Options;
use crate::output::{Output, progress};

const ABOUT: &str = "\
sync: connections told to a backup, every 50 packets of each (sync_threshold 3 50)
  cost         ns per packet of the dataplane that tells, beside one that does not, in turn
  master sends records a second from a worker's ring through the master daemon into the network
  taken live   records a second that a backup daemon took of multicast messages, what was lost taken
               off, as fast as they could be sent (root)
  whole table  records a second of a table fetched over TCP by a daemon that starts late (root)
  pings        round trips to the port of the director that serves the table, before and meanwhile";

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let defaults = Options { repeats: 7, connections: Some(vec![1 << 20]), ..Options::default() };
    let options = defaults.parse(&["packets", "repeats", "connections"], words)?;
    let mut output = Output::start(options.is_json, ABOUT)?;
    cost::measure(&options, &mut output)?;
    rates::measure(&options, &mut output)?;
    if let Err(lack) = table::measure(&options, &mut output) {
        progress(&format!("sync: no rows of whole tables: {lack:#}"));
    }
    Ok(())
}
