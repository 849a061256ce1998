//! Alert rules: Prometheus takes them, and each fires when it should.

use std::path::Path;
use std::process::Command;

use gslb_tests::balancer::can;
use gslb_tests::peers;

#[test]
fn each_alert_fires() {
    let lacks =
        (!can("promtool", &["--version"])).then_some("promtool (prometheus) is not installed");
    if peers::missing(lacks) {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    for words in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let done = Command::new("promtool").args(words).current_dir(&folder).output();
        let done = done.expect("it was there a moment ago");
        assert!(done.status.success(), "{done:?}");
    }
}
