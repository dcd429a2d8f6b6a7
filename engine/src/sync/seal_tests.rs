use super::*;

fn sealed(key: &Key) -> Vec<u8> {
    let sealer = Sealer::new(key.clone(), 7);
    let mut message = vec![0, 5, 0, 8, 0, 1, 0, 0];
    sealer.seal(&mut message);
    message
}

#[test]
fn a_sealed_message_is_opened_with_its_key_only() {
    let key = Key::new(b"secret");
    let message = sealed(&key);
    assert_eq!(message.len(), usize::from(u16::from_be_bytes([message[2], message[3]])));
    assert_eq!(open(&key, &message), Ok(Sealed { epoch: 7, number: 1 }));
    assert_eq!(open(&Key::new(b"other"), &message), Err(SealReject::Forged));
}

#[test]
fn every_change_and_every_truncation_is_noticed() {
    let key = Key::new(b"secret");
    let message = sealed(&key);
    for place in 0..message.len() {
        let mut changed = message.clone();
        changed[place] ^= 0x40;
        assert!(open(&key, &changed).is_err(), "byte {place}");
        assert!(open(&key, &message[..place]).is_err(), "{place} bytes");
    }
}

#[test]
fn a_number_is_taken_once_and_late_ones_within_the_window() {
    let mut window = Window::new(7, 10);
    let mut take = |epoch, number| window.take(Sealed { epoch, number });
    assert_eq!(take(8, 11), Err(SealReject::Epoch));
    assert_eq!(take(7, 10), Err(SealReject::Replayed), "what came before the proof");
    assert_eq!(take(7, 11), Ok(()));
    assert_eq!(take(7, 11), Err(SealReject::Replayed));
    assert_eq!(take(7, 500), Ok(()));
    assert_eq!(take(7, 12), Ok(()), "late");
    assert_eq!(take(7, 12), Err(SealReject::Replayed));
    assert_eq!(take(7, 500 + WINDOW), Ok(()));
    assert_eq!(take(7, 500), Err(SealReject::Replayed), "out of the window");
    assert_eq!(take(7, 501), Ok(()));
    assert_eq!(take(7, u64::MAX), Ok(()));
    assert_eq!(take(7, u64::MAX), Err(SealReject::Replayed));
}
