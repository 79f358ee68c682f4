//! [`HyperLogLog`]: roughly how many different hashes were taken, in 16 KiB.
//!
//! With 2^14 registers, as the server's own, and its estimator: Otmar Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches" (2017), which needs no tables. Registers take the greater of two values, so order and
//! grouping do not matter, and they travel as they are; that is why this is no crate's: those that can be sent are tied to
//! a hash of their own, or keep small sets in forms that depend on the order.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Bits of a hash that choose a register.
const INDEX_BITS: u32 = 14;
const REGISTERS: usize = 1 << INDEX_BITS;

/// Bits of a hash whose leading zeros are counted.
const COUNTED_BITS: usize = 50;

/// The standard error: `1.04 / sqrt(REGISTERS)`.
pub(super) const STANDARD_ERROR: f64 = 0.008_125;

/// Holds for each register one more than the most leading zeros that were seen.
#[derive(Serialize, Deserialize)]
pub(super) struct HyperLogLog {
    registers: ByteBuf,
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self { registers: ByteBuf::from(vec![0; REGISTERS]) }
    }
}

impl HyperLogLog {
    /// Takes a hash.
    pub(super) fn add(&mut self, hash: u128) {
        let rank = ((hash >> 64) as u64).leading_zeros().min(COUNTED_BITS as u32) as u8 + 1;
        if let Some(register) = self.registers.get_mut(hash as usize % REGISTERS) {
            *register = rank.max(*register);
        }
    }

    /// Takes all that others have taken; damaged ones of another length count as far as they go.
    pub(super) fn merge(&mut self, other: &Self) {
        for (register, &rank) in self.registers.iter_mut().zip(&*other.registers) {
            *register = rank.min(COUNTED_BITS as u8 + 1).max(*register);
        }
    }

    /// Returns how many different hashes there were, more or less.
    pub(super) fn estimate(&self) -> u64 {
        let mut counts = [0.0_f64; COUNTED_BITS + 2];
        self.registers.iter().for_each(|&rank| counts[usize::from(rank)] += 1.0);
        let all = REGISTERS as f64;
        let mut sum = all * tau((all - counts[COUNTED_BITS + 1]) / all);
        for rank in (1..=COUNTED_BITS).rev() {
            sum = (sum + counts[rank]) * 0.5;
        }
        sum += all * sigma(counts[0] / all);
        (all * all / (2.0 * std::f64::consts::LN_2) / sum).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * y;
        y += y;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        y *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * y;
        if sum == before {
            return sum / 3.0;
        }
    }
}
