//! The sandbox over HTTP/1.1, tested with raw TCP.

#[cfg(test)]
mod client;
#[cfg(test)]
mod exchanges;
#[cfg(test)]
mod faults;
