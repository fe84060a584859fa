//! The pages of the console, in which an operator sees what is wrong and decides: views in, HTML out.
//!
//! A page is a function of its view, the [`Frame`] around it, and nothing else: no clock, no database, no request. The
//! control server makes the views and checks who may see them. The pages have no script. English and Chinese.

#![expect(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "the server fills in all of each view"
)]

mod audit;
mod day;
mod decisions;
mod frame;
mod grants;
mod labels;
mod login;
mod message;
mod notice;
mod outbox;
mod overview;
mod text;
mod webhooks;
mod workers;

pub use audit::{AuditView, audit};
pub use day::{DayView, HourView};
pub use decisions::{DecisionsView, UndecidedView, decisions};
pub use frame::{Frame, ICON, STYLE, Visitor};
pub use grants::{GrantsView, grants};
pub use login::{LoginView, login};
pub use message::{MessagePageView, message};
pub use notice::notice;
pub use outbox::{OutboxFilter, OutboxView, outbox};
pub use overview::{AppOverview, LedgerOverview, LedgerState, OverviewView, overview};
pub use webhooks::{EndpointView, WebhooksView, webhooks};
pub use workers::{WorkersView, workers};
