//! Messages of the kernel's, and what another decoder made of them.

use std::fmt::Write;

use dataplane::sync::wire::{Entry, Version, Writer, read};

use crate::recorded_messages;

#[test]
fn messages_say_what_the_other_decoder_read() {
    let mut decoded = String::new();
    for (name, message) in recorded_messages() {
        for entry in read(&message, 7).expect(name) {
            writeln!(decoded, "{name} {}", described(&entry.expect(name))).expect("memory");
        }
    }
    assert_eq!(decoded, include_str!("decoded.txt"));
}

fn described(Entry { record, engine }: &Entry<'_>) -> String {
    let (client, client_port) = record.client;
    let (virtual_address, virtual_port) = record.virtual_end;
    let (real, real_port) = record.real;
    let mut options = String::new();
    if let Some(engine) = engine {
        for (kind, data) in [(2, engine.data), (3, engine.name)] {
            write!(options, "{kind:02x}{:02x}", data.len()).expect("memory");
            data.iter().for_each(|byte| write!(options, "{byte:02x}").expect("memory"));
        }
    } else {
        options.push('-');
    }
    assert_eq!(record.sequence, None, "no recording has them");
    format!(
        "proto {} flags {:04x} state {} cport {client_port} vport {virtual_port} dport {real_port} \
         fwmark {} timeout {} {client} {virtual_address} {real} opts {options}",
        record.protocol, record.flags.0, record.state, record.mark, record.timeout_s,
    )
}

#[test]
fn messages_are_written_as_they_were() {
    let mut versions = [0; 2];
    for (name, message) in recorded_messages() {
        let entries = read(&message, 0).expect(name);
        assert!(entries.trailer().is_empty(), "{name}");
        versions[usize::from(entries.version() == Version::V1)] += 1;
        let mut writer = Writer::new(entries.version(), entries.sync_id(), 1472);
        for entry in entries {
            let Entry { record, engine } = entry.expect(name);
            writer.push(&record, engine).expect(name);
        }
        assert_eq!(writer.message(), message, "{name}");
    }
    assert_eq!(versions, [1, 29]);
}

#[test]
fn writers_begin_messages_where_the_kernel_did() {
    for (scenario, max_length, lengths) in
        [("many", 1472, vec![1448, 728]), ("maxlen_group", 300, vec![296, 296, 296, 224])]
    {
        let messages = recorded_messages().filter(|(name, _)| *name == scenario);
        let messages: Vec<_> = messages.map(|(_, message)| message).collect();
        assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
        let mut writer = Writer::new(Version::V1, 7, max_length);
        let mut written = Vec::new();
        for entry in messages.iter().flat_map(|message| read(message, 7).expect(scenario)) {
            let record = entry.expect(scenario).record;
            if writer.push(&record, None).is_err() {
                written.push(writer.message().to_vec());
                writer.clear();
                writer.push(&record, None).expect("room");
            }
        }
        written.push(writer.message().to_vec());
        assert_eq!(written, messages);
    }
}
