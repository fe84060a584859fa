//! `wxsub token refresh`: another token, whatever the present one is worth.

use clap::Args;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::token::{Generation, Issued, TokenEndpoint};
use wxsub_core::transport::{Outgoing, Stage, TransportError};
use wxsub_proto::Refusal;
use wxsub_proto::codec::{Reply, Unreadable};
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenReply, TokenRequest};

use super::{Look, served};
use crate::app::App;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::send_error::refusal_told;
use crate::talk;
use crate::way::Way;
use crate::wrong_usage::WrongUsage;

/// Have Weixin issue another access token, which ends the present one for everybody.
///
/// Asks once. With stable_token this is a forced refresh, of which Weixin allows 20 a day. With WXSUB_SERVER it tells the
/// control server that the present token no longer works, and shows the one that it then hands out.
#[derive(Debug, Args)]
pub(super) struct Refresh {
    #[command(flatten)]
    look: Look,
}

impl Refresh {
    /// Does it.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut usage = WrongUsage::default();
        let way = Way::read(self.look.appid.as_deref(), &mut usage);
        let app = match usage.end(way)? {
            Way::Weixin(app) => app,
            Way::Server(server) => return served::refresh(&self.look, &server).await,
        };
        app.announce_fetch();
        if app.endpoint == TokenEndpoint::StableToken {
            talk::warning(
                "a forced refresh ends the access token that other processes use; Weixin allows 20 a day",
            );
        }
        let clock = SystemClock::new();
        let asked = clock.now();
        let reply = fetch(&app).await?;
        let generation = Generation::default().next(asked.wall);
        let issued = Issued::new(reply.access_token, generation, asked, reply.expires_in);
        Ok(self.look.print(&app.appid, app.endpoint.as_str(), &issued, clock.now()))
    }
}

/// The one exchange.
async fn fetch(app: &App) -> Result<TokenReply, Failure> {
    let (appid, secret) = (app.appid.clone(), app.secret.clone());
    let outgoing = match app.endpoint {
        TokenEndpoint::Token => Outgoing::new(&app.base, TokenRequest::new(appid, secret).encode()),
        TokenEndpoint::StableToken => {
            Outgoing::new(&app.base, StableTokenRequest::new(appid, secret).forced().encode())
        }
    };
    let exchange = app.transport.exchange(outgoing.map_err(|error| broken(&error))?);
    let raw = exchange.await.map_err(|error| broken(&error))?;
    match TokenReply::read(raw.status, &raw.body).map_err(|error| unreadable(&error))? {
        Reply::Done(reply) => Ok(reply),
        Reply::Refused(refusal) => Err(refused(&refusal.without(app.secret.expose()))),
    }
}

fn broken(error: &TransportError) -> Failure {
    match error.stage() {
        Stage::BeforeSending => Failure::new(Exit::NotSent, format_args!("{error}; it is safe to try again")),
        Stage::MaybeSent => maybe_done(error),
    }
}

fn unreadable(error: &Unreadable) -> Failure {
    maybe_done(format_args!("unreadable reply: {error}"))
}

fn maybe_done(why: impl std::fmt::Display) -> Failure {
    let line =
        format_args!("{why}; another token may have been issued all the same: look before repeating this");
    Failure::new(Exit::MaybeSent, line)
}

fn refused(refusal: &Refusal) -> Failure {
    Failure::new(Exit::Refused, refusal_told(refusal))
}
