//! Replies to the server's client, in the types that its protocol has.

use std::ffi::CString;

use crate::error::Error;
use crate::module::server::context::ReplyTo;
use crate::number::double_text;
use crate::reply::Reply;

/// The place where a reply goes, and the protocol that the client understands.
#[derive(Clone, Copy)]
pub(crate) struct ReplyWriter<'a> {
    pub(crate) to: ReplyTo<'a>,
    pub(crate) is_resp3: bool,
}

impl ReplyWriter<'_> {
    /// Sends a result. Together with all that it nests, it is one reply.
    pub(crate) fn send(self, result: &Result<Reply, Error>) {
        match result {
            Ok(reply) => self.reply(reply),
            Err(error) => self.error(error.to_line()),
        }
    }

    fn reply(self, reply: &Reply) {
        match reply {
            Reply::Null => self.to.null(),
            Reply::NullArray => self.to.null_array(),
            Reply::Integer(integer) => self.to.integer(*integer),
            Reply::Double(double) => self.double(*double),
            Reply::Boolean(boolean) => self.to.boolean(*boolean),
            Reply::Simple(text) => match CString::new(&text[..]) {
                Ok(text) => self.to.simple(&text),
                // A zero byte would end the text early; a bulk string carries it.
                Err(_) => self.to.bulk(text),
            },
            Reply::Bulk(bytes) => self.to.bulk(bytes),
            Reply::Verbatim { format, text } => match CString::new(format) {
                Ok(format) => self.to.verbatim(text, &format),
                Err(_) => self.to.bulk(text),
            },
            Reply::BigNumber(digits) => self.to.big_number(digits),
            Reply::Error(message) => self.error(message.to_vec()),
            Reply::Array(elements) => {
                self.to.array(elements.len());
                elements.iter().for_each(|element| self.reply(element));
            }
            Reply::Set(elements) => {
                self.to.set(elements.len());
                elements.iter().for_each(|element| self.reply(element));
            }
            Reply::Map(pairs) => {
                self.to.map(pairs.len());
                self.pairs(pairs);
            }
            Reply::Attributed { attributes, reply } => {
                // RESP2 has no attributes: the reply goes without.
                if self.is_resp3 {
                    self.to.attribute(attributes.len());
                    self.pairs(attributes);
                }
                self.reply(reply);
            }
        }
    }

    fn pairs(self, pairs: &[(Reply, Reply)]) {
        for (key, value) in pairs {
            self.reply(key);
            self.reply(value);
        }
    }

    /// Redis 7.0 prints doubles with 17 digits (0.1 as 0.10000000000000001), and clients of its time cannot read a
    /// NaN; where a string will do, the shortest one that reads back the same is sent.
    fn double(self, double: f64) {
        if self.is_resp3 && !double.is_nan() {
            self.to.double(double);
        } else {
            self.to.bulk(double_text(double).as_bytes());
        }
    }

    fn error(self, mut line: Vec<u8>) {
        line.retain(|byte| *byte != 0);
        self.to.error(&CString::new(line).unwrap_or_default());
    }
}
