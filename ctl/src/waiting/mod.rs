//! Commands that wait for something to come about. The daemon answers at once; the waiting is the client's, which asks
//! again and again.

mod process;
mod screen;
#[cfg(test)]
pub(crate) mod script;

use std::time::Duration;

use crate::session::Reply;

pub(crate) use process::Process;
pub(crate) use screen::Screen;

/// Between two questions, at first.
pub(crate) const SHORTEST: Duration = Duration::from_millis(200);
/// Between two questions, later.
const LONGEST: Duration = Duration::from_secs(1);

/// The pause after the next question.
pub(crate) fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).min(LONGEST)
}

/// The world as a command that waits needs it.
pub(crate) trait World {
    /// Asks the daemon; the error is the reply for one that does not answer.
    fn ask(&mut self, argv: &[String]) -> Result<Reply, Reply>;
    /// Time since the start.
    fn elapsed(&self) -> Duration;
    /// Sleeps for a time, or until a signal comes; gives the signal.
    fn sleep(&mut self, time: Duration) -> Option<u8>;
    /// Shows the user a message beside the progress.
    fn say(&mut self, text: &str);
}

/// Says the daemon's warnings, each once: a step is done again and again.
pub(crate) fn warn(
    reply: &Reply,
    said: &mut Vec<String>,
    world: &mut dyn World,
    screen: &mut Screen<'_>,
) {
    for line in String::from_utf8_lossy(&reply.stderr).lines() {
        if said.iter().all(|before| before != line) {
            said.push(line.to_owned());
            screen.close();
            world.say(line);
        }
    }
}
