//! HTTP/2 to servers that we did not write: gRPC's own core on both sides, nghttpd.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::wait::until;
use rustix::process::Signal;

use super::made::{Ca, Folder, Key, LEAF, Leaf};
use super::{LARGE, NAME, addresses, balancer, can, get, listens, told};

/// Debian's own, for which `python3-grpcio` is.
const PYTHON: &str = "/usr/bin/python3";

fn missing() -> Vec<&'static str> {
    let nghttpd = (!can("nghttpd", &["--version"])).then_some("nghttp2-server is not installed");
    let grpc = (!can(PYTHON, &["-c", "import grpc"])).then_some("python3-grpcio is not installed");
    nghttpd.into_iter().chain(grpc).chain(super::missing()).collect()
}

/// A folder with a CA, and what it vouches for: `front` for clients, `back` for us.
fn folder() -> Folder {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.write("ca.pem", &ca.pem);
    for (name, serial) in [("front", 1), ("back", 2)] {
        folder.certify(&ca, name, Leaf { serial, names: &[NAME], key: Key::Ecdsa, ..LEAF });
    }
    folder
}

/// A frontend within TLS for each server, of which the second is within TLS too.
fn config(folder: &Folder, fronts: [SocketAddr; 2], servers: [SocketAddr; 2]) -> String {
    let dir = folder.path().display();
    let tls = [String::new(), format!(", tls = {{ ca = \"ca.pem\", sni = \"{NAME}\" }}")];
    let part = |(number, tls): (usize, String)| {
        let (front, server) = (fronts[number], servers[number]);
        format!(
            "[frontend.f{number}]\nbind = [\"{front}\"]\npool = \"p{number}\"\ntls = {{ certificates = [\"front.pem\"] }}\n\
             access_log = {{ target = \"{dir}/access.log\" }}\n\
             [pool.p{number}]\nhttp = \"2\"\nservers = [{{ name = \"a\", address = \"{server}\"{tls} }}]\n"
        )
    };
    tls.into_iter().enumerate().map(part).collect()
}

#[test]
fn grpc_passes_as_if_nobody_stood_between() {
    if peers::missing(missing()) {
        return;
    }
    let folder = folder();
    let [front, front_to_tls, plain, tls] = addresses();
    let script = folder.write("grpc_server.py", include_str!("grpc_server.py"));
    let client = folder.write("grpc_client.py", include_str!("grpc_client.py"));
    let mut command = Command::new(PYTHON);
    command.arg(script).args([plain, tls].map(|at| at.to_string())).arg("back.pem");
    command.current_dir(folder.path()).stdin(Stdio::null());
    let mut server = Process::spawn(&mut command).unwrap();
    [plain, tls].iter().try_for_each(listens).unwrap();
    let config = config(&folder, [front, front_to_tls], [plain, tls]);
    let mut agent = balancer(&folder, &config, &[front, front_to_tls]);
    let ask = |front: SocketAddr, how: &str| {
        let mut command = Command::new(PYTHON);
        command.arg(&client).args([&front.to_string(), "ca.pem", how]).current_dir(folder.path());
        let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().unwrap();
        assert!(status.success(), "{front} {how}: {}", String::from_utf8_lossy(&stderr));
    };
    ask(front, "served");
    ask(front_to_tls, "served");
    // Of those that hung one was taken back, and of the other the time was up, which both sides may be the first to say.
    let log = until("every call is logged", || {
        let log = fs::read_to_string(folder.path().join("access.log")).unwrap();
        let hung = log.lines().filter(|line| line.contains("/t.T/Hang ")).count();
        Ok((hung == 4).then_some(log))
    })
    .unwrap();
    let (hung, others): (Vec<&str>, Vec<&str>) =
        log.lines().partition(|line| line.contains("/t.T/Hang "));
    assert!(hung.iter().filter(|line| line.contains(" CH-- ")).count() >= 2, "{hung:#?}");
    assert!(others.iter().all(|line| line.contains(" ---- ")), "{others:#?}");
    server.signal(Signal::KILL).unwrap();
    server.wait().unwrap();
    ask(front, "gone");
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
}

#[test]
fn nghttpd_serves_behind_it() {
    if peers::missing(missing()) {
        return;
    }
    let folder = folder();
    let [front, front_to_tls, plain, tls] = addresses();
    let html = folder.path().join("html");
    fs::create_dir(&html).unwrap();
    fs::write(html.join("small"), "small\n").unwrap();
    fs::write(html.join("large"), "0123456789".repeat(LARGE / 10)).unwrap();
    let nghttpd = |at: SocketAddr, tls: &[&str]| {
        let mut command = Command::new("nghttpd");
        command.arg("-a").arg(at.ip().to_string());
        command.args(["-m", "7", "--echo-upload", "--trailer", "x-sum: 7", "-d"]);
        command.arg(&html).arg(at.port().to_string()).args(tls).current_dir(folder.path());
        Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null())).unwrap()
    };
    let _servers = [nghttpd(plain, &["--no-tls"]), nghttpd(tls, &["back.pem", "back.pem"])];
    [plain, tls].iter().try_for_each(listens).unwrap();
    let config = config(&folder, [front, front_to_tls], [plain, tls]);
    let mut agent = balancer(&folder, &config, &[front, front_to_tls]);
    let ca = folder.path().join("ca.pem").display().to_string();
    let file = html.join("large").display().to_string();
    for front in [front, front_to_tls] {
        let (resolve, base) = (
            format!("{NAME}:{}:{}", front.port(), front.ip()),
            format!("https://{NAME}:{}", front.port()),
        );
        for version in ["--http1.1", "--http2"] {
            let of_ours = [version, "--resolve", &resolve, "--cacert", &ca];
            assert_eq!(get(&[&of_ours[..], &[&format!("{base}/small")]].concat()), "small\n");
            let large = get(&[&of_ours[..], &[&format!("{base}/large")]].concat());
            assert!(large.len() == LARGE && large.starts_with("0123456789"));
            // Up and down at once.
            let echoed = get(&[&of_ours[..], &["-T", &file, &format!("{base}/echo")]].concat());
            assert!(echoed == large);
        }
        let url = format!("https://{front}/small");
        let frames = told("nghttp", &["-v", &url]);
        assert!(frames.contains("x-sum: 7"), "{frames}");
        // Thousands, of which it takes seven at a time on one connection.
        let load = told("h2load", &["-n", "4000", "-c", "4", "-m", "50", &url]);
        assert!(load.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"), "{load}");
        assert!(load.contains("status codes: 4000 2xx,"), "{load}");
        let load = told("h2load", &["--h1", "-n", "2000", "-c", "20", &url]);
        assert!(load.contains("status codes: 2000 2xx,"), "{load}");
    }
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait().unwrap().success());
    until("the log is whole", || {
        let log = fs::read_to_string(folder.path().join("access.log")).unwrap();
        Ok((log.lines().count() == 2 * (6 + 1 + 6000)).then_some(()))
    })
    .unwrap();
    let log = fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert!(log.lines().all(|line| line.contains(" ---- ")));
}
