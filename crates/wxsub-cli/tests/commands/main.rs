//! The binary against a sandbox over HTTP.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod breakable;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod consent_url;
#[cfg(test)]
mod consent_verify;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interrupt;
#[cfg(test)]
mod key;
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
mod serve_sandbox;
#[cfg(test)]
mod served;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod token;
#[cfg(test)]
mod weixin;
#[cfg(test)]
mod without_secret;
#[cfg(test)]
mod wxsub;
