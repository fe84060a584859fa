//! The pages of the console, in which an operator sees what is wrong and decides: views in, HTML out.
//!
//! A page is a function of its view, the [`Frame`] around it, and nothing else: no clock, no database, no request. The
//! control server makes the views and checks who may see them. The pages have no script. English and Chinese.

mod frame;
mod labels;
mod login;
mod notice;
mod overview;
mod text;

pub use frame::{Frame, ICON, STYLE, Visitor};
pub use login::{LoginView, login};
pub use notice::notice;
pub use overview::{AppOverview, OverviewView, overview};
