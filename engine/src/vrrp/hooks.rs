//! Programs called when a virtual router changes, and what is said about it: on a thread of their
//! own, because a program may hang and a terminal may stand still.

use std::collections::VecDeque;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::program::{Output, Program};
use super::section::Command;
use crate::say::{complain, say};

/// Lines and calls that may wait.
const WAITING: usize = 1024;
/// How long a program may run.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the last ones may take when the daemon stops.
const LAST: Duration = Duration::from_secs(2);
/// Between two looks at a program that runs.
const PAUSE: Duration = Duration::from_millis(10);

enum Item {
    Say(String),
    Call(Vec<String>),
}

/// The way to the thread. It ends, with what waits done, when this is dropped.
pub(super) struct Hooks(Sender<Item>);

impl Hooks {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (items, queue) = bounded(WAITING);
        let run = move || Runner::default().run(&queue);
        let thread = thread::Builder::new().name("vrrp-notify".into()).spawn(run)?;
        Ok((Self(items), thread))
    }

    /// Says a line.
    pub(super) fn say(&self, line: String) {
        // Better unsaid than late.
        let _ = self.0.try_send(Item::Say(line));
    }

    /// Calls a program, after those that were called before have ended.
    pub(super) fn call(&self, command: &Command, arguments: &[&str]) {
        if command.0.is_empty() {
            return;
        }
        let words = command.0.iter().cloned();
        let words = words.chain(arguments.iter().map(|&word| word.to_owned()));
        let _ = self.0.try_send(Item::Call(words.collect()));
    }
}

#[derive(Default)]
struct Runner {
    waiting: VecDeque<Vec<String>>,
    running: Option<Program>,
    /// When everything has to be over.
    end: Option<Instant>,
}

impl Runner {
    fn run(mut self, queue: &Receiver<Item>) {
        loop {
            let is_idle = self.running.is_none() && self.waiting.is_empty();
            match (self.end, is_idle) {
                (Some(_), true) => return,
                (Some(_), false) => thread::sleep(PAUSE),
                (None, true) => self.take(queue.recv().map_err(|_| RecvTimeoutError::Disconnected)),
                (None, false) => self.take(queue.recv_timeout(PAUSE)),
            }
            self.look();
        }
    }

    fn take(&mut self, item: Result<Item, RecvTimeoutError>) {
        match item {
            Ok(Item::Say(line)) => say(line),
            Ok(Item::Call(words)) if self.waiting.len() < WAITING => self.waiting.push_back(words),
            Ok(Item::Call(words)) => {
                complain(format_args!("pollvsd: vrrp: {}: not called: too many wait", words[0]));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.end = Some(Instant::now() + LAST),
        }
    }

    /// Sees whether the program has ended, and starts the next.
    fn look(&mut self) {
        if let Some(program) = &mut self.running {
            let Some(result) = program.look(self.end) else { return };
            if let Err(why) = result {
                complain(format_args!("pollvsd: vrrp: {}: {why}", program.shown));
            }
            self.running = None;
        }
        if let Some(words) = self.waiting.pop_front() {
            match Program::start(&words, LIMIT, Output::Ours) {
                Ok(program) => self.running = Some(program),
                Err(error) => complain(format_args!("pollvsd: vrrp: {}: {error}", words[0])),
            }
        }
    }
}
