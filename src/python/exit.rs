//! Says in words how a worker has ended. The words stand in the errors of executions.

use super::marshal::Value;

/// The text about a worker whose template has ended before it could tell.
pub(super) const WITH_TEMPLATE: &str = "the Python process has ended together with the one that had forked it";

/// Says in words how a worker has ended, from the head of EXITED.
pub(super) fn described_end(head: &Value) -> String {
    let number = |name: &str| head.get(name).and_then(Value::as_int);
    match (number("code"), number("signal")) {
        (Some(0), _) => "the Python process has ended".into(),
        (Some(code), _) => format!("the Python process has ended itself with exit status {code}"),
        (_, Some(signal)) => {
            let peak = number("peak").unwrap_or(0) >> 20;
            format!("the Python process was ended by signal {signal}{} (it had {peak} MiB)", meaning(signal))
        }
        _ => "the Python process has ended in a way that nobody knows".into(),
    }
}

fn meaning(signal: i64) -> &'static str {
    match signal {
        4 => ", an illegal instruction: code that Python called has crashed",
        6 => ", abort: code that Python called has given up",
        7 | 11 => ", a segmentation fault: code that Python called has crashed",
        9 => ", as when the system has no memory left",
        15 => ", terminate",
        24 => ", too much processor time",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: Value, signal: Value) -> String {
        described_end(&Value::dict([
            ("pid", 7_u64.into()),
            ("code", code),
            ("signal", signal),
            ("peak", Value::Int(20 << 20)),
        ]))
    }

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(text(Value::Int(7), Value::None), "the Python process has ended itself with exit status 7");
        assert!(
            text(Value::None, Value::Int(9))
                .contains("signal 9, as when the system has no memory left (it had 20 MiB)")
        );
        assert!(text(Value::None, Value::Int(11)).contains("segmentation fault"));
        assert_eq!(text(Value::Int(0), Value::None), "the Python process has ended");
    }
}
