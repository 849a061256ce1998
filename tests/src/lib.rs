//! Whole worlds: what several tests need to build one, ask it and read what it says.
//!
//! world ─▶ server (process, wait) ◀─ resolver ◀─ asking  the real binary, asked over real sockets
//! zone_only                                          one zone in process
//! pki, control                                   a CA, a control listener, and producers that tell it
//! probe, backend                                     the real probe, and what it looks at
//! balancer                                           the real balancer
//! loopback                                           addresses that nobody has
//! faketime                                           clocks that are set wrong
//! machine                                            systemd and what it starts, on a network of netns
//! whole: stories (account, fleet, clients, ground)   all of it at once: what clients see when something fails
//! netns, disk                                        machines and paths that can be cut, disks that can be filled
//! tls, quic                                      a certificate, and clients that believe it
//! internet, gdnsd                                    the country database of Debian, and the peer

pub mod asking;
pub mod backend;
pub mod balancer;
pub mod control;
pub mod dice;
pub mod disk;
pub mod faketime;
pub mod gdnsd;
pub mod internet;
pub mod loopback;
pub mod machine;
pub mod netns;
pub mod peers;
pub mod pki;
pub mod probe;
pub mod process;
pub mod quic;
pub mod resolver;
pub mod server;
pub mod tls;
pub mod wait;
pub mod whole;
pub mod world;
pub mod zone_only;
