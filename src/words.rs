//! An enum whose variants are words of a text: each word stands once, for reading and for writing.

/// Gives a unit-only enum `as_str`, `named`, `WORDS` and `ALL`.
///
/// ```text
/// words!(pub(super) Colour { Red = "red", Blue = "blue" });
/// Colour::Red.as_str() == "red";  Colour::named("blue") == Some(Colour::Blue);  Colour::WORDS == ["red", "blue"]
/// ```
macro_rules! words {
    ($visibility:vis $type:ty { $($variant:ident = $word:literal),* $(,)? }) => {
        #[allow(dead_code, reason = "not every word is both read and written")]
        impl $type {
            /// Returns the word.
            $visibility const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Returns the value of a word, spelled as it is in [`WORDS`](Self::WORDS).
            $visibility fn named(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }

            /// The words, in the order of the variants.
            $visibility const WORDS: &'static [&'static str] = &[$($word),*];

            /// The variants, in the order of the words.
            $visibility const ALL: &'static [Self] = &[$(Self::$variant),*];
        }
    };
}

pub(crate) use words;
