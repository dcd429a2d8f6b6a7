//! The lists of reasons for which sync messages, or their entries, are not taken or not made.

reasons! {
    /// Why a received message, the rest of one, or an entry was dropped.
    pub Reject:
    Short "short" "Shorter than a message header."
    Size "size" "Size field is not the length of the datagram."
    SyncId "sync_id" "Sync id of another group."
    Version "version" "Of no known version, or of version 0 without an entry."
    EntryCut "entry_cut" "Message ends before the entries that it counts do."
    EntryVersion "entry_version" "Entry of an unknown version; the rest of the message is dropped."
    EntryType "entry_type" "Entry of neither address family; the rest of the message is dropped."
    EntrySize "entry_size" "Entry shorter than its addresses; the rest of the message is dropped."
    OptionCut "option_cut" "Entry ends within an option; the rest of the message is dropped."
    OptionLength "option_length" "Option of a wrong length; the rest of the message is dropped."
    OptionTwice "option_twice" "Option given twice; the rest of the message is dropped."
    OptionUnknown "option_unknown" "Entry with an unknown option that may not be skipped."
    OnePacket "one_packet" "Connection for one packet, which is never sent."
    TemplatePort "template_port" "Template whose client port is to be learnt: templates have none."
    Protocol "protocol" "Connection of a protocol that is not balanced."
    State "state" "State number that the protocol, or a template, does not have."
    EngineName "engine_name" "Persistence data without the name of their engine."
    EngineUnknown "engine_unknown" "Persistence data of an engine that is not here."
}

impl Reject {
    /// Whether the rest of the message goes too: what follows cannot be trusted, or found.
    #[must_use]
    pub fn ends_message(self) -> bool {
        !matches!(
            self,
            Self::OptionUnknown
                | Self::OnePacket
                | Self::TemplatePort
                | Self::Protocol
                | Self::State
                | Self::EngineName
                | Self::EngineUnknown
        )
    }
}

reasons! {
    /// Why a record was not put into a message.
    pub Unsent:
    Full "full" "The message has no room for it: send that, and try again."
    OnePacket "one_packet" "Connection for one packet, which is never sent."
    Families "families" "Its addresses are not all of one family."
    Version0Ipv6 "version_0_ipv6" "Version 0 has no IPv6."
    Version0Mark "version_0_mark" "Version 0 has no firewall marks."
    Version0Engine "version_0_engine" "Version 0 has no persistence engines."
    EngineLength "engine_length" "Engine data not of 1 to 255 bytes, or its name not of 1 to 16."
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_numbers_are_dense() {
        let names: BTreeSet<_> = Reject::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reject::COUNT);
        assert!(Reject::ALL.iter().enumerate().all(|(n, &reason)| reason as usize == n));
        let names: BTreeSet<_> = Unsent::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Unsent::COUNT);
    }

    #[test]
    fn texts_tell_what_else_is_dropped() {
        for reason in Reject::ALL {
            let says_rest = reason.text().contains("the rest of the message");
            assert!(!says_rest || reason.ends_message(), "{reason:?}");
        }
    }
}
