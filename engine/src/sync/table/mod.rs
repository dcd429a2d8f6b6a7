//! The whole table over TCP: a backup that starts, or has lost messages, asks its master for all
//! connections. An extension that kernels know nothing of; the port is the group's.
//!
//! The conversation: the backup says hello with a random number, the master answers with one of its
//! own, its epoch and how far it has come. With a key both prove that they have it, and every frame
//! after that ends in a code over a running number. Then frames go both ways:
//!
//! | frame | from | says |
//! |---|---|---|
//! | `Want` | backup | send me everything |
//! | `Message` | master | a sync message of version 1, as long as need be |
//! | `End` | master | that was everything: so many records |
//! | `Probe` | master | have you got all that I have sent, which is so many messages? |
//! | `Step` | backup | yes, or no |
//! | `Alive` | both | nothing, every second |

mod channel;
pub(super) mod fetch;
pub(super) mod serve;

use std::time::Duration;

/// A conversation ends when nothing is heard for this long.
const SILENCE: Duration = Duration::from_secs(5);
/// Both say something at least this often.
const ALIVE: Duration = Duration::from_secs(1);
/// How long one side of the greeting may take, and connecting.
const GREETING: Duration = Duration::from_secs(2);

/// The largest frame: the longest sync message.
const LONGEST: usize = u16::MAX as usize;
