//! The one list of reasons for which an advertisement may be rejected.

reasons! {
    /// Why an advertisement was rejected.
    pub Rejection:
    Family "family" "Source, destination or virtual router is of another address family."
    Ttl "ttl" "Time to live or hop limit is not 255: it has crossed a router."
    Destination "destination" "Not sent to the group of all VRRP routers."
    Source "source" "Source address is no host's: loopback, group, broadcast or unspecified."
    Short "short" "Shorter than its header, its addresses and its authentication."
    Long "long" "Longer than its header, its addresses and its authentication."
    Version "version" "Version is not the virtual router's, or none that is known."
    Type "type" "Not an advertisement."
    Checksum "checksum" "Checksum is wrong."
    AddressCount "address_count" "Number of addresses is zero, or not the configured one."
    AddressList "address_list" "An address that is configured is not in it."
    AuthType "auth_type" "Type of authentication is not the configured one."
    AuthData "auth_data" "Password is wrong."
    Interval "interval" "Interval is zero, or in version 2 not the configured one."
    UnknownVrid "unknown_vrid" "No virtual router has that identifier on that interface."
    OwnSource "own_source" "Source is the router's own address: an echo, or another has it, too."
    Idle "idle" "The virtual router has not started, or is in fault."
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_numbers_are_dense() {
        let names: BTreeSet<_> = Rejection::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Rejection::COUNT);
        assert!(Rejection::ALL.iter().enumerate().all(|(n, &reason)| reason as usize == n));
    }
}
