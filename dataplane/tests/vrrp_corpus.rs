//! What fuzzing of VRRP advertisements has found worth keeping.

// The same that fuzzing tries, for which it is a library.
#[expect(unreachable_pub)]
#[path = "../fuzz/src/vrrp.rs"]
mod property;

#[test]
fn every_input_of_the_corpus_keeps_the_properties() {
    let inputs = include_str!("../fuzz/corpus/vrrp.hex").lines();
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a hex digit") as u8;
    for line in inputs {
        let bytes = line.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1]));
        property::advertisement(&bytes.collect::<Vec<_>>());
    }
}
