//! The sandbox on the wire: plain HTTP/1.1 over TCP, by hand.

#[cfg(test)]
mod client;
#[cfg(test)]
mod exchanges;
#[cfg(test)]
mod faults;
