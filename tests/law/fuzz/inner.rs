//! Requests of the inner command, as nodes send them to each other; CONTRIBUTING.md has their form.

use crate::generate::Argv;

/// The version that all nodes have.
const VERSION: u8 = 4;

/// Writes one command as a request, to be reduced by this reducer; `key_at` is where its key stands, 0 if it has none.
pub fn request(id: u64, reducer: &str, argv: &Argv, key_at: usize, is_resp3: bool) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    varint(&mut bytes, id);
    varint(&mut bytes, 1000);
    varint(&mut bytes, 1 << 30);
    bytes.push(is_resp3.into());
    // The kind of request that reduces.
    varint(&mut bytes, 0);
    let (name, arguments) = reducer.split_once(' ').unwrap_or((reducer, ""));
    string(&mut bytes, name.as_bytes());
    string(&mut bytes, arguments.as_bytes());
    varint(&mut bytes, 1);
    let args: Vec<&Vec<u8>> =
        argv.iter().enumerate().filter(|(at, _)| key_at == 0 || *at != key_at).map(|(_, word)| word).collect();
    varint(&mut bytes, args.len() as u64);
    args.iter().for_each(|arg| string(&mut bytes, arg));
    varint(&mut bytes, key_at as u64);
    bytes.push(0);
    if key_at == 0 {
        bytes.extend([0, 0]);
    } else {
        string(&mut bytes, &argv[key_at]);
        varint(&mut bytes, 1);
        varint(&mut bytes, argv[key_at].len() as u64);
    }
    varint(&mut bytes, 1);
    varint(&mut bytes, 0);
    bytes
}

fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    varint(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
