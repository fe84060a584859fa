//! The chapters of the tables.

mod operations;
mod reading;
mod refreshing;
mod sending;
mod spreading;
mod takeover;

use crate::arguments::Arguments;
use crate::folder::Folder;
use crate::row::Row;

type Chapter = (&'static str, fn(&Arguments, &Folder));

/// Measures everything and prints it.
pub(crate) fn print_all(arguments: &Arguments) {
    let folder = Folder::new();
    let one: [Chapter; 3] =
        [("reading", reading::print), ("refreshing", refreshing::print), ("sending", sending::print)];
    let several: [Chapter; 3] =
        [("operations", operations::print), ("takeover", takeover::print), ("spreading", spreading::print)];
    print(&one, arguments, &folder);
    println!();
    print(&several, arguments, &folder);
}

/// One table.
fn print(chapters: &[Chapter], arguments: &Arguments, folder: &Folder) {
    Row::head();
    for (name, print) in chapters {
        if name.starts_with(&arguments.only) {
            print(arguments, folder);
        }
    }
}
