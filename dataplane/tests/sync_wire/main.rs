//! Sync messages: recorded ones, broken ones, and those of every record that there can be.

mod corpus;
mod hostile;
mod recorded;
mod round_trip;
mod rules;
mod samples;
mod writing;

// The same that fuzzing tries, for which it is a library.
#[expect(unreachable_pub)]
#[path = "../../fuzz/src/sync.rs"]
mod property;

/// What the kernel sent, with the name of the scenario that each message is from.
fn recorded_messages() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    include_str!("recorded.txt").lines().map(|line| {
        let (name, hex) = line.split_once(' ').expect("a name and a message");
        (name, from_hex(hex))
    })
}

fn from_hex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| {
            let digits = std::str::from_utf8(digits).expect("text");
            u8::from_str_radix(digits, 16).expect("two hex digits")
        })
        .collect()
}
