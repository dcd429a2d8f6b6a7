//! What fuzzing has found worth keeping.

use crate::{from_hex, property};

#[test]
fn every_input_of_the_corpus_keeps_the_properties() {
    let v0 = include_str!("../../fuzz/corpus/sync_v0.hex").lines();
    let v1 = include_str!("../../fuzz/corpus/sync_v1.hex").lines();
    let all: Vec<_> = v0.chain(v1).map(from_hex).collect();
    assert!(all.len() > 100, "{}", all.len());
    for input in all {
        property::v0(&input);
        property::v1(&input);
    }
}
