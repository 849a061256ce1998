//! Several routers on one link, under a clock and a bus that are made up: adverts are lost, late, out of order and cut
//! off, routers stall, die and come back. What happens follows from a seed, which a failure names.

mod bus;
mod walks;
