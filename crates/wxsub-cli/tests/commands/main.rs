//! The binary against a sandbox over HTTP.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod control_server;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod explain;
#[cfg(test)]
#[path = "../../../../tests/free_port.rs"]
mod free_port;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interrupt;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod send_file;
#[cfg(test)]
mod send_one;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod served;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod token;
#[cfg(test)]
mod weixin;
#[cfg(test)]
mod wxsub;
