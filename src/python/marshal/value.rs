//! [`Value`]: what heads of frames say.

use bytes::Bytes;

/// A value of Python's, as far as heads of frames have such.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int`; those that do not fit are an error.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `bytes`.
    Bytes(Bytes),
    /// A `str`; half of a surrogate pair has become the replacement character.
    Text(String),
    /// A `tuple`.
    Tuple(Vec<Value>),
    /// A `list`.
    List(Vec<Value>),
    /// A `dict`, in its order.
    Dict(Vec<(Value, Value)>),
    /// A `set` or `frozenset`, in no order.
    Set(Vec<Value>),
}

impl Value {
    /// Makes a `str`.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Makes a `dict` whose keys are texts.
    pub(crate) fn dict<'a>(pairs: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Dict(pairs.into_iter().map(|(key, value)| (Self::text(key), value)).collect())
    }

    /// Returns the value under a text of a `dict`.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(pairs) => pairs.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns the items of a `tuple` or `list`.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) | Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns what a `str` says.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns what a `bytes` or a `str` holds.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// Returns what an `int` is.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns what an `int` is that is a number of something: not negative.
    pub(crate) fn as_count(&self) -> Option<u64> {
        self.as_int().and_then(|number| number.try_into().ok())
    }

    /// Returns what a `bool` is.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(is_true) => Some(*is_true),
            _ => None,
        }
    }
}

impl From<u64> for Value {
    /// Makes an `int` of a number of something: an execution, a context, a count. They are far below 2^63.
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<bool> for Value {
    fn from(is_true: bool) -> Self {
        Self::Bool(is_true)
    }
}
