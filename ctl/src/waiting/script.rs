//! A world for tests.

use std::collections::VecDeque;
use std::time::Duration;

use super::World;
use crate::session::Reply;

/// A daemon that says what was written for it. Time passes in sleep alone.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) answers: VecDeque<Result<Reply, Reply>>,
    pub(crate) asked: Vec<String>,
    pub(crate) now: Duration,
    pub(crate) sleeps: Vec<u128>,
    /// When a signal comes.
    pub(crate) signal_at: Option<Duration>,
    pub(crate) said: Vec<String>,
}

impl World for Script {
    fn ask(&mut self, argv: &[String]) -> Result<Reply, Reply> {
        self.asked.push(argv.join(" "));
        assert!(self.asked.len() < 100, "it asks without end");
        // The last answer holds.
        let last = self.answers.len() == 1;
        if last { self.answers[0].clone() } else { self.answers.pop_front().expect("an answer") }
    }

    fn elapsed(&self) -> Duration {
        self.now
    }

    fn sleep(&mut self, time: Duration) -> Option<u8> {
        self.sleeps.push(time.as_millis());
        self.now += time;
        self.signal_at.filter(|&at| self.now >= at).map(|_| 2)
    }

    fn say(&mut self, text: &str) {
        self.said.push(text.to_owned());
    }
}

/// A daemon with these answers.
pub(crate) fn script(answers: impl IntoIterator<Item = Result<Reply, Reply>>) -> Script {
    Script { answers: answers.into_iter().collect(), ..Script::default() }
}
