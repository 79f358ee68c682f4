//! Processes that the server has started itself.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::sleep;

/// Waits for the end of a process. The server waits for children of its own, and may be the one that learns of the end.
pub(super) async fn ended(process: &mut Child) {
    let mut pause = Duration::from_millis(1);
    while let Ok(None) = process.try_wait() {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Is a process that is the first of a group of its own. It ends with the value, and all that it has started.
pub(super) struct ProcessGroup {
    pub(super) first: Child,
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // As long as nobody has learnt of its end, nothing else has its number.
        if let Ok(None) = self.first.try_wait() {
            if let Some(pid) = i32::try_from(self.first.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = self.first.wait();
        }
    }
}
