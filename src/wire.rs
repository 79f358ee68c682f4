//! [`Wire`]: the bytes of a command, which are few as a rule.

/// Bytes that are only added to. Up to 62 of them stand in the value itself: a map of a thousand short commands then
/// costs no thousand allocations.
#[derive(Clone)]
pub(crate) enum Wire {
    Short { length: u8, bytes: [u8; 62] },
    Long(Vec<u8>),
}

impl Wire {
    pub(crate) const EMPTY: Self = Self::Short { length: 0, bytes: [0; 62] };

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }

    /// Adds the pieces, one behind the other; gives the length that there is then.
    pub(crate) fn append(&mut self, pieces: [&[u8]; 5]) -> usize {
        let added: usize = pieces.iter().map(|piece| piece.len()).sum();
        if let Self::Short { length, bytes } = self {
            let mut at = usize::from(*length);
            if at + added <= bytes.len() {
                for piece in pieces {
                    bytes[at..at + piece.len()].copy_from_slice(piece);
                    at += piece.len();
                }
                *length = at as u8;
                return at;
            }
        }
        let mut long = match std::mem::replace(self, Self::EMPTY) {
            Self::Long(long) => long,
            Self::Short { length, bytes } => bytes[..usize::from(length)].to_vec(),
        };
        long.reserve(added);
        pieces.iter().for_each(|piece| long.extend_from_slice(piece));
        let length = long.len();
        *self = Self::Long(long);
        length
    }
}

/// However they are kept.
impl PartialEq for Wire {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Wire {}
