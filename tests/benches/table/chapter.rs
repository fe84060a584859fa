//! The chapters of the table.

mod asking;
mod building;
mod file;
mod reading;
mod sending;

use crate::arguments::Arguments;
use crate::process::Server;
use crate::row::Row;

type Chapter = (&'static str, fn(&Arguments, &Server));

/// Measures everything and prints it.
pub(crate) fn print_all(arguments: &Arguments) {
    let server = Server::start();
    Row::head();
    let chapters: [Chapter; 5] = [
        ("reading", reading::print),
        ("building", building::print),
        ("sending", sending::print),
        ("file", file::print),
        ("asking", asking::print),
    ];
    for (name, print) in chapters {
        if name.contains(&arguments.only) {
            print(arguments, &server);
        }
    }
}
