//! `show info`: of HAProxy's fields those that are known here.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::View;
use crate::worker::Traffic;

pub fn info(view: &View<'_>) -> String {
    let process = view.process;
    let uptime = view.now.saturating_sub(process.started).as_secs();
    let (minutes, seconds) = (uptime / 60, uptime % 60);
    let (hours, days) = (minutes / 60, minutes / 60 / 24);
    let sum = |of: &dyn Fn(&Traffic) -> &AtomicU64| -> u64 {
        view.frontends.iter().map(|(_, traffic)| of(traffic).load(Relaxed)).sum()
    };
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name}: {value}");
    };
    line("Name", "site-agent".to_owned());
    line("Version", process.version.to_owned());
    line("Nbthread", process.threads.to_string());
    line("Nbproc", "1".to_owned());
    line("Process_num", "1".to_owned());
    line("Pid", process.pid.to_string());
    line("Uptime", format!("{days}d {}h{:02}m{seconds:02}s", hours % 24, minutes % 60));
    line("Uptime_sec", uptime.to_string());
    line("CurrConns", sum(&|traffic| &traffic.current).to_string());
    line("CumConns", sum(&|traffic| &traffic.connections).to_string());
    line("CumReq", sum(&|traffic| &traffic.requests).to_string());
    if let Some(node) = &process.node {
        line("node", node.to_string());
    }
    line("TotalBytesOut", sum(&|traffic| &traffic.sent).to_string());
    line("Start_time_sec", process.started_at.to_string());
    text
}
