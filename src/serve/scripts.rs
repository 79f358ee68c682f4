//! Scripts that clients have shown: a node that lacks one gets it, as a single server would still have it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The most that is kept, in bytes of text.
const MOST_BYTES: usize = 64 << 20;

/// Texts by their SHA-1, in small letters.
#[derive(Default)]
pub(super) struct KeptScripts {
    kept: Mutex<KeptTexts>,
}

#[derive(Default)]
struct KeptTexts {
    by_sha1: HashMap<String, Bytes>,
    bytes: usize,
}

impl KeptScripts {
    /// Keeps a text. When too much is kept all of it is forgotten: clients answer a node that lacks a script by themselves.
    pub(super) fn keep(&self, body: &[u8]) {
        let sha1 = sha1_smol::Sha1::from(body).digest().to_string();
        let mut kept = self.locked();
        if kept.by_sha1.contains_key(&sha1) {
            return;
        }
        if kept.bytes + body.len() > MOST_BYTES {
            *kept = KeptTexts::default();
        }
        if body.len() <= MOST_BYTES {
            kept.bytes += body.len();
            kept.by_sha1.insert(sha1, Bytes::copy_from_slice(body));
        }
    }

    /// Returns the text of this SHA-1, in any letters.
    pub(super) fn get(&self, sha1: &[u8]) -> Option<Bytes> {
        let sha1 = std::str::from_utf8(sha1).ok()?.to_ascii_lowercase();
        self.locked().by_sha1.get(&sha1).cloned()
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        *self.locked() = KeptTexts::default();
    }

    fn locked(&self) -> MutexGuard<'_, KeptTexts> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_their_digest() {
        let scripts = KeptScripts::default();
        scripts.keep(b"return 2");
        let sha1 = b"7F923F79FE76194C868D7E1D0820DE36700EB649";
        assert_eq!(scripts.get(sha1).as_deref(), Some(&b"return 2"[..]));
        assert_eq!((scripts.get(b"x"), scripts.get(b"\xff")), (None, None));
        scripts.keep(&vec![b' '; MOST_BYTES - 4]);
        assert_eq!(scripts.get(sha1), None, "too much: all is forgotten");
        scripts.forget();
        assert_eq!(scripts.locked().bytes, 0);
    }
}
